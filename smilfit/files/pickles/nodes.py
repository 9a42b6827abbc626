"""What a pickle's steps are collected in before anything is made of them; nothing here does anything.

Lists, tuples, texts, numbers, truth values and None stand for themselves, bytes are a view of the file's. The
rest are these: none hashes, compares or prints what it holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False, repr=False, slots=True)
class Name:
    """An allowed name: what it stands for (`pickles.names`), and how the file writes it."""

    kind: str
    origin: str


@dataclass(eq=False, repr=False, slots=True)
class Pairs:
    """A dict's keys and values in order, not hashed."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False, repr=False, slots=True)
class Members:
    """A set's members, not hashed."""

    items: list[Any] = field(default_factory=list)


@dataclass(eq=False, repr=False, slots=True)
class Made:
    """What a named thing was called with, the state that was given to it, and the items of an ordered dict."""

    name: Name
    arguments: tuple[Any, ...]
    state: Any = None
    has_state: bool = False
    items: list[tuple[Any, Any]] = field(default_factory=list)


def parts(node: Any) -> Iterable[Any]:
    """Return what a node holds; nothing for a leaf."""
    if isinstance(node, (list, tuple)):
        return node
    if isinstance(node, Pairs):
        return [part for pair in node.items for part in pair]
    if isinstance(node, Members):
        return node.items
    if isinstance(node, Made):
        return [*node.arguments, node.state, *(part for pair in node.items for part in pair)]
    return ()


def is_leaf(node: Any) -> bool:
    """Check whether a node holds no others."""
    return type(node) not in _INNER


_INNER = {list, tuple, Pairs, Members, Made}
