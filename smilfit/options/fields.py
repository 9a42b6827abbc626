"""An option is facts once: a field of a dataclass, from which signature, docstring and command line follow."""

import functools
import inspect
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar, overload

from smilfit.registry.spelling import did_you_mean

T = TypeVar('T')

# What started the processes of a distributed run.
LAUNCHERS = ('none', 'pytorch', 'slurm')
# Units of lengths.
UNITS = ('mm', 'cm', 'm', 'um')
AXES = ('+x', '-x', '+y', '-y', '+z', '-z')
# How a stored image is cut.
CROP_MODES = ('default', 'centred', 'bbox_crop')
MESH_FORMATS = ('obj', 'ply', 'glb')

_KEYS = {
    'choices', 'low', 'high', 'above', 'unit', 'metavar', 'flag', 'off', 'kind', 'many', 'const', 'either',
    'positional', 'typed', 'hidden', 'notebook',
}  # fmt: skip

# A field of a dataclass, where the class is made; to a type checker the value of the option.
FieldValue = Any


@overload
def option(*, help: str, **facts: object) -> Any: ...


@overload
def option(default: T, help: str = '', **facts: object) -> T: ...


def option(default: object = MISSING, help: str = '', **facts: object) -> object:
    """Make a field of a class of options; `heading` of the class, if it has one, stands above them in help.

    Args:
        default: of the notebook and of the command line.
        help: what it is, from the notebook's side; a flag of something that is on by default is `do not <help>`.
        facts: `choices`; `low`, `high` and `above` (the lowest is left out) of a number; `unit`; `metavar` of the
            value; `flag`, the option's string where it is not the name's (several are aliases); `off`, the help of a
            flag that switches off; `kind` of a value, a reader of `cli/argument_types.py` by name; `many`, 'append'
            for an option that may be given several times, 'pairs' for NAME=VALUE; `const`, the value of an option
            that is given without one; `either`, a word that options which exclude each other share; `positional`;
            `typed`, the default of the command line where it is another; `hidden`; `notebook`, a sentence that
            docstrings alone have.
    """
    assert not facts.keys() - _KEYS, facts
    return field(default=default, metadata={'help': help, **facts})


@overload
def reported(help: str, default: T) -> T: ...


@overload
def reported(help: str) -> None: ...


def reported(help: str, default: object = None) -> object:
    """Make a field that only a notebook gives, such as who hears of progress."""
    return field(default=default, metadata={'notebook': help})


def other_body_model(named_by: str) -> FieldValue:
    """Make the option of a body model in place of the one that a dataset or a training names."""
    help = f'body model file, or quadruped or insect, instead of the one that the {named_by} names'
    return option(None, help, metavar='FILE|NAME')


def launched_by(shared: str) -> FieldValue:
    """Make the option of the program that started the processes."""
    help = f'what started the processes {shared}: python -m torch.distributed.run (pytorch) or srun (slurm)'
    return option('none', help, choices=LAUNCHERS)


def documented(kind: type[T]) -> type[T]:
    """Add the descriptions of its fields to the docstring of a class that a notebook builds itself."""
    described = {f.name: sentence_of(f) for f in fields(kind)}  # type: ignore[arg-type]
    kind.__doc__ = with_arguments(kind.__doc__ or '', described)
    return kind


def sentence_of(of: Field) -> str:
    """Describe a field as a docstring does."""
    facts = of.metadata
    choices = f' ({words(facts["choices"])})' if 'choices' in facts else ''
    sentences = [f'{facts["help"]}{choices}'] if 'help' in facts else []
    return '. '.join([*sentences, *([facts['notebook']] if 'notebook' in facts else [])]) + '.'


def words(choices: Sequence[object]) -> str:
    """List choices."""
    *most, last = (repr(choice) for choice in choices)
    return f'{", ".join(most)} or {last}' if most else last


def with_arguments(docstring: str, more: dict[str, str]) -> str:
    """Add descriptions to the `Args:` of a docstring."""
    lines = inspect.cleandoc(docstring).splitlines()
    heads = [i for i, line in enumerate(lines) if line in ('Args:', 'Returns:', 'Raises:')]
    fill = functools.partial(textwrap.wrap, width=110, initial_indent=' ' * 4, subsequent_indent=' ' * 8)
    added = [line for name, text in more.items() for line in fill(f'{name}: {text}')]
    if heads and lines[heads[0]] == 'Args:':
        at = next((i for i in range(heads[0] + 1, len(lines)) if not lines[i].startswith(' ')), len(lines))
        return '\n'.join([*lines[:at], *added, *lines[at:]])
    at = heads[0] if heads else len(lines)
    before = lines[:at] if heads else [*lines, '']
    return '\n'.join([*before, 'Args:', *added, '', *lines[at:]]).rstrip()


def check_values(options: object) -> None:
    """Check the numbers and choices of an instance against what its fields say.

    Raises:
        ValueError: a value that cannot work.
    """
    for one in fields(options):  # type: ignore[arg-type]
        facts, value = one.metadata, getattr(options, one.name)
        where = f'{type(options).__name__}: {one.name} must be'
        if 'low' in facts and value is not None:
            values = value if isinstance(value, tuple) else (value,)
            if not all(_is_within(number, facts) for number in values):
                raise ValueError(f'{where} {range_of(facts)}; got {value}.')
        elif isinstance(value, str) and value not in (one.default, *facts.get('choices', (value,))):
            near = did_you_mean(value, facts['choices'])
            raise ValueError(f'{where} one of {facts["choices"]}; got {value!r}. {near}')


def _is_within(number: float, facts: Mapping[str, Any]) -> bool:
    low, high = facts['low'], facts.get('high', math.inf)
    return low <= number <= high and math.isfinite(number) and not (facts.get('above') and number == low)


def range_of(facts: Mapping[str, Any]) -> str:
    """Describe the numbers that an option may be."""
    if facts.get('above'):
        return f'above {facts["low"]:g}'
    return f'from {facts["low"]:g} to {facts["high"]:g}' if 'high' in facts else f'at least {facts["low"]:g}'
