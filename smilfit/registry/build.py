"""Turn config dicts into objects, innermost first.

A dict with a `type` becomes an object of the class registered under that name; dicts, lists and tuples
inside it are walked first. What is already an object stays as it is, so the config door and the notebook
door meet here. The caller's dict is never changed.

A name belongs to one registry only (a test holds us to it), so a nested dict needs no hint of which
registry its type is in.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mmengine.registry import Registry

from smilfit.registry import registries as reg
from smilfit.registry.spelling import UnknownNameError, did_you_mean

_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def build(cfg: object, registry: Registry | None = None, **defaults: object) -> Any:
    """Build an object, and all that is nested in its config, innermost first.

    Args:
        cfg: a dict with `type`, or an object that is already built (returned unchanged), or None.
        registry: where the outermost type must be registered; None looks in all of them.
        defaults: arguments used where the config does not give them.

    Raises:
        KeyError: no `type`, or a type that is not registered; names the near ones.
        TypeError: an argument that the class does not take; names the near ones.
        ValueError: a class that fails on its arguments in a way of its own; names it.
    """
    if not isinstance(cfg, Mapping):
        return cfg
    if 'type' not in cfg:
        kind = 'an object' if registry is None else f'a {registry.name}'
        raise UnknownNameError(
            f'build: the config of {kind} must have a key "type"; got the keys {list(cfg)}.'
        )
    cls = find_class(cfg['type'], registry)
    arguments = {key: _walk(value) for key, value in cfg.items() if key != 'type'}
    for key, value in defaults.items():
        arguments.setdefault(key, value)
    _check_arguments(cls, arguments)
    return _made(cls, arguments)


def _made(cls: Callable[..., object], arguments: Mapping[str, object]) -> object:
    """Call a class. Values of a wrong kind fail in it anywhere; the message then names the class."""
    try:
        return cls(**arguments)
    except (TypeError, AttributeError, AssertionError, IndexError, ArithmeticError) as error:
        name = getattr(cls, '__name__', str(cls))
        message = ' '.join(str(error)[:1000].split()) or type(error).__name__
        if isinstance(error, FloatingPointError) or message.startswith(name):
            raise
        unknown = _UNEXPECTED.search(message)
        if isinstance(error, TypeError) and unknown is not None and unknown[1] in arguments:
            # Handed on to a class that it inherits from.
            raise TypeError(
                f'{name}: unknown argument {unknown[1]!r}. {did_you_mean(unknown[1], accepted_arguments(cls))}'
            ) from error
        kind = TypeError if isinstance(error, TypeError) else ValueError
        given = ', '.join(arguments) or 'none'
        raise kind(
            f'{name}: its arguments ({given}) must be of the kinds that it takes; got {type(error).__name__}: '
            f'{message}. Correct them in the config.'
        ) from error


def accepted_arguments(cls: Callable[..., object]) -> set[str]:
    """Collect the arguments of a class and, where it passes others on, of those it inherits from."""
    names: set[str] = set()
    for ancestor in cls.__mro__ if inspect.isclass(cls) else (cls,):
        if ancestor is object:
            break
        parameters = inspect.signature(ancestor).parameters.values()
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def build_from_name(name: str, registry: Registry, **arguments: object) -> Any:
    """Build an object of a registered name from arguments that are objects already."""
    return find_class(name, registry)(**arguments)


def find_class(name: str | type, registry: Registry | None = None) -> Any:
    """Find a registered class by name, in one registry or in all.

    Raises:
        KeyError: not registered; the message names the near ones and how to register a plugin.
    """
    if not isinstance(name, str):
        return name
    searched = (registry,) if registry is not None else reg.REGISTRIES
    for candidate in searched:
        if name in candidate.module_dict:
            return candidate.module_dict[name]
    # What is not there may be in a parent registry, or in a module that is not imported yet.
    for candidate in searched:
        cls = candidate.get(name)
        if cls is not None:
            return cls
    options = [option for candidate in searched for option in candidate.module_dict]
    elsewhere = [r.name for r in reg.REGISTRIES if registry is not None and name in r.module_dict]
    where = f'the {registry.name} registry' if registry is not None else 'any registry'
    hint = f' It is registered as a {elsewhere[0]}.' if elsewhere else ''
    raise UnknownNameError(
        f'build: type {name!r} is not in {where}.{hint} {did_you_mean(name, options)} '
        f'A class of your own needs its file in the config: '
        f'custom_imports = dict(imports=["my_module"], allow_failed_imports=False), or --import FILE.'
    )


def _walk(value: object) -> object:
    if isinstance(value, Mapping):
        if 'type' in value:
            return build(value)
        return {key: _walk(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_walk(item) for item in value)
    return value


def _check_arguments(cls: Callable[..., object], arguments: Mapping[str, object]) -> None:
    """Name an argument that the class does not take, or one that it misses, before calling it."""
    parameters = inspect.signature(cls).parameters
    name = getattr(cls, '__name__', str(cls))
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for key in arguments:
            if key not in parameters:
                raise TypeError(f'{name}: unknown argument {key!r}. {did_you_mean(key, parameters)}')
    missing = [
        key
        for key, p in parameters.items()
        if p.default is p.empty
        and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        and key not in arguments
    ]
    if missing:
        raise TypeError(f'{name}: missing argument{"s" * (len(missing) > 1)} {", ".join(missing)}.')


build_body_model = partial(build, registry=reg.BODY_MODELS)
build_loss = partial(build, registry=reg.LOSSES)
build_solver = partial(build, registry=reg.SOLVERS)
build_registrant = partial(build, registry=reg.REGISTRANTS)
build_renderer = partial(build, registry=reg.RENDERERS)
build_session = partial(build, registry=reg.SESSIONS)
build_annotations = partial(build, registry=reg.ANNOTATIONS)
build_segmenter = partial(build, registry=reg.SEGMENTERS)
build_input = partial(build, registry=reg.INPUTS)
build_model = partial(build, registry=reg.MODELS)
build_backbone = partial(build, registry=reg.MODELS)
build_head = partial(build, registry=reg.MODELS)
build_dataset = partial(build, registry=reg.DATASETS)
build_transform = partial(build, registry=reg.TRANSFORMS)
build_metric = partial(build, registry=reg.METRICS)
build_hook = partial(build, registry=reg.HOOKS)


def build_handler(cfg: object, **defaults: object) -> Any:
    """Build a handler or an Input: the two sides of one `handler_key`, so one door serves both."""
    is_input = isinstance(cfg, Mapping) and isinstance(cfg.get('type'), str) and reg.INPUTS.get(cfg['type'])
    return build(cfg, registry=reg.INPUTS if is_input else reg.HANDLERS, **defaults)
