"""The checker of type hints under test: beartype, where an int may stand for a float as everywhere in Python.

jaxtyping takes some 0.1 ms a call, which was half the time of the tests. All that it looks at in an array is its
kind, type of numbers and shape, so that calls which look the same to it are checked once (`once_a_look`).
"""

import dataclasses
import functools
import inspect
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

# Larger and deeper containers are checked each time, which is sooner done than looking at them.
_MOST_ELEMENTS, _DEEPEST = 16, 3
# With torch's, as soon as something is decorated: processes that tests start import this package without torch.
_ARRAYS: set[type] = {np.ndarray}
# A hint may name values of these; none names a text as long as a file.
_BY_VALUE = {str, bool, int, type(None)}
_LONGEST_TEXT = 64
# A function whose calls look so many ways forgets them: what is remembered stays small.
_MOST_LOOKS = 2_000
_OPEN = (type, Sequence, Mapping, Set)
# Kinds whose values are all alike, as far as they have been met.
_alike: set[type] = set()


class Unlike(Exception):
    """The value must be looked at each time."""


def look(value: Any, depth: int = 0) -> Hashable:
    """Return what a check of hints can tell values apart by.

    Raises:
        Unlike: that is not known.
    """
    kind = type(value)
    if kind in _alike:
        return kind
    if kind in _ARRAYS:
        return kind, value.dtype, value.shape
    if kind in _BY_VALUE:
        return kind if kind is str and len(value) > _LONGEST_TEXT else (kind, value)
    if isinstance(value, type):
        return value
    if isinstance(value, (tuple, list, set, frozenset, dict)) and len(value) <= _MOST_ELEMENTS:
        if depth > _DEEPEST:
            raise Unlike
        elements = value.items() if isinstance(value, dict) else value
        return kind, tuple([look(element, depth + 1) for element in elements])
    if isinstance(value, (*_ARRAYS, *_OPEN)):
        raise Unlike
    _alike.add(kind)
    return kind


def remember(seen: Hashable, known: set[Hashable]) -> None:
    """Add a look to what is known, which does not grow without end."""
    if len(known) >= _MOST_LOOKS:
        known.clear()
    known.add(seen)


def once_a_look(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """Make of jaxtyping's decorator one that checks calls, and what they give, once where they look the same.

    Args:
        jaxtyped: jaxtyping's, which checks every call.
    """
    import torch

    _ARRAYS.update({torch.Tensor, torch.nn.Parameter})

    def decorator(*, typechecker: Any) -> Callable[[Any], Any]:
        check_each = jaxtyped(typechecker=typechecker)

        def decorate(found: Any) -> Any:
            if isinstance(found, (classmethod, staticmethod)):
                return type(found)(decorate(found.__func__))
            if isinstance(found, property):
                return property(*(part and decorate(part) for part in (found.fget, found.fset, found.fdel)))
            if not isinstance(found, type):
                return _Remembering(found, check_each).call()
            if dataclasses.is_dataclass(found) and not hasattr(found.__init__, 'is_checked'):
                found.__init__ = _Remembering(found.__init__, check_each).call()
            return found

        return decorate

    return decorator


class _Remembering:
    """A function with the looks of its calls that were right."""

    def __init__(self, function: Callable[..., Any], check_each: Callable[..., Any]) -> None:
        self.function, self._check_each = function, check_each
        signature = inspect.signature(function)
        parameters = signature.parameters.values()
        stated = [p.annotation is not p.empty for p in parameters]
        # Of the first arguments those that nothing is stated of, such as `self`, do not count.
        self.first = stated.index(True) if any(stated) else len(stated)
        self.gives = signature.return_annotation is not signature.empty
        self.states_nothing = not any(stated) and not self.gives
        self._answer = threading.local()

    def call(self) -> Callable[..., Any]:
        """Return the function that checks what it has not seen."""
        function, first, gives = self.function, self.first, self.gives
        taken: set[Hashable] = set()
        given_back: set[Hashable] = set()
        if self.states_nothing:
            return function

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            try:
                given: Hashable = tuple(map(look, args[first:] if first else args))
                if kwargs:
                    given = given, look(kwargs)
            except Unlike:
                return self.checked(*args, **kwargs)
            if given not in taken:
                result = self.checked(*args, **kwargs)
                remember(given, taken)
                return result
            result = function(*args, **kwargs)
            if not gives:
                return result
            try:
                both = given, look(result)
            except Unlike:
                self.check_answer(result, args, kwargs)
                return result
            if both not in given_back:
                self.check_answer(result, args, kwargs)
                remember(both, given_back)
            return result

        call.is_checked = True
        return call

    def check_answer(self, found: Any, args: Any, kwargs: Any) -> None:
        """Check what a call gave."""
        self._answer.value = found
        try:
            self._checked_answer(*args, **kwargs)
        finally:
            del self._answer.value

    @functools.cached_property
    def checked(self) -> Callable[..., Any]:
        """The function that checks each call; made at the first one, as most functions have none in a process."""
        return self._check_each(self.function)

    @functools.cached_property
    def _checked_answer(self) -> Callable[..., Any]:
        @functools.wraps(self.function)
        def give_answer(*args: Any, **kwargs: Any) -> Any:
            return self._answer.value

        return self._check_each(give_answer)
