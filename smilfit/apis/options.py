"""Calls take a class of options as keywords: signature and docstring follow from its fields."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import TypeVar

from smilfit.options.fields import sentence_of, with_arguments

R = TypeVar('R')


def with_options(
    kind: type, positional: Sequence[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Make a decorator: the fields of a class of options become keywords of a function that takes an instance.

    Args:
        kind: the class; the decorated function has one parameter of this type.
        positional: fields that may be given by place, too, after the function's own arguments.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function)
        (taken,) = (p.name for p in own.parameters.values() if p.annotation is kind)
        first = [p for p in own.parameters.values() if p.name != taken]
        places = [p for p in first if p.kind is p.POSITIONAL_OR_KEYWORD]
        by_name = {f.name: _parameter(f, f.name in positional) for f in fields(kind)}
        places += [by_name[name] for name in positional]
        others = [p for name, p in by_name.items() if name not in positional]
        others += [p for p in first if p.kind is p.KEYWORD_ONLY]
        signature = own.replace(parameters=[*places, *others])

        @functools.wraps(function)
        def call(*args: object, **keywords: object) -> R:
            given = signature.bind(*args, **keywords).arguments
            options = kind(**{name: given.pop(name) for name in by_name if name in given})
            return function(**given, **{taken: options})

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__doc__ = with_arguments(function.__doc__ or '', {f.name: sentence_of(f) for f in fields(kind)})
        return call

    return decorate


def _parameter(of: Field, by_place: bool) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if by_place else inspect.Parameter.KEYWORD_ONLY
    default = of.default if of.default is not MISSING else inspect.Parameter.empty
    return inspect.Parameter(of.name, kind, default=default, annotation=of.type)
