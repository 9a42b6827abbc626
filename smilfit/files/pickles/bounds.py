"""Refuse values that hold themselves, nest too deep, or are far larger written out than their file."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from smilfit.files.pickles.errors import UnsafePickleError
from smilfit.files.pickles.nodes import is_leaf, parts

MAX_DEPTH = 64
# What a file may grow to when everything shared is written out wherever it is reached, in bytes: so many times
# its size and a little more, for short files of labels that share long names. Real models stay below 2 times.
MAX_EXPANSION = 8
SPARE_EXPANSION_BYTES = 16 << 20
SLOT_BYTES = 8


def check_size(root: Any, file_bytes: int) -> None:
    """Check depth and expansion of what a pickle made; the work is that of visiting every node once.

    Raises:
        UnsafePickleError: a value holds itself, is deeper than `MAX_DEPTH`, or expands beyond the limit.
    """
    limit = MAX_EXPANSION * file_bytes + SPARE_EXPANSION_BYTES
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    for node in inner_first(root, parts):
        size, depth = SLOT_BYTES, 1
        for part in parts(node):
            if is_leaf(part):
                size += _leaf_bytes(part)
            else:
                size += sizes[id(part)]
                depth = max(depth, 1 + depths[id(part)])
        if size > limit:
            raise UnsafePickleError(
                f'a pickle must not hold more than {limit} bytes when shared values are written out; got more'
            )
        if depth > MAX_DEPTH:
            raise _too_deep()
        sizes[id(node)], depths[id(node)] = size, depth


def inner_first(root: Any, parts_of: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """Return every node that holds others once, after what it holds; without recursion.

    Raises:
        UnsafePickleError: a value holds itself, or lies deeper than `MAX_DEPTH`.
    """
    if is_leaf(root):
        return
    # False while its parts are visited, True after.
    done = {id(root): False}
    waiting = [(root, iter(parts_of(root)))]
    while waiting:
        node, rest = waiting[-1]
        for part in rest:
            if is_leaf(part):
                continue
            seen = done.get(id(part))
            if seen is None:
                done[id(part)] = False
                if len(waiting) >= MAX_DEPTH:
                    raise _too_deep()
                waiting.append((part, iter(parts_of(part))))
                break
            if not seen:
                raise UnsafePickleError('a value must not hold itself; got one that does')
        else:
            waiting.pop()
            done[id(node)] = True
            yield node


def _too_deep() -> UnsafePickleError:
    return UnsafePickleError(f'values must nest at most {MAX_DEPTH} deep; got more')


def _leaf_bytes(leaf: Any) -> int:
    if isinstance(leaf, (str, memoryview)):
        return SLOT_BYTES + len(leaf)
    return SLOT_BYTES
