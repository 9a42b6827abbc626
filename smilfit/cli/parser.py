"""A command's parser, made of its class of options (`smilfit.options`), and the options back from what it read."""

import argparse
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from functools import partial
from inspect import get_annotations
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from smilfit.cli import argument_types
from smilfit.cli.argument_types import KeyValues, float_from, int_from

IMPORT = '--import'

T = TypeVar('T')
# Arguments of a call that is checked where it is made, such as `add_argument`.
Keywords = dict[str, Any]
# What a field of options states of itself (`options/fields.py`).
Facts = Mapping[str, Any]


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import` to a parser, for its help; it was read before there was a parser."""
    parser.add_argument(
        IMPORT,
        action='append',
        dest='imports',
        metavar='FILE_OR_MODULE',
        help='run a python file of yours (a path that ends in .py, or the dotted name of a module in the working '
        'directory or installed) before all else, so that the classes that it registers are known; may be given '
        'several times',
    )


def add_traceback(parser: argparse._ActionsContainer) -> None:
    """Add `--traceback` to a parser or group, where a command that extends this one has not added it."""
    if '--traceback' not in parser._option_string_actions:
        parser.add_argument('--traceback', action='store_true', help='show where in the code an error arose')


def make_parser(
    kind: type,
    prog: str | None,
    about: str,
    epilog: str | None = None,
    imports: bool = True,
    made_by: type[argparse.ArgumentParser] = argparse.ArgumentParser,
    formatter: type[argparse.HelpFormatter] = argparse.HelpFormatter,
) -> argparse.ArgumentParser:
    """Make the parser of a command: its options, `--traceback` and `--import`.

    Args:
        kind: the class of options.
        prog: the command's name.
        about: what it does.
        epilog: such as its exit codes.
        imports: whether it takes `--import`.
        made_by: another kind of parser.
        formatter: of its help.
    """
    parser = made_by(prog=prog, description=about, epilog=epilog, formatter_class=formatter)
    add_options(parser, kind, imports=imports)
    return parser


def add_options(
    parser: argparse.ArgumentParser,
    kind: type,
    without: Sequence[str] = (),
    underscored: bool = False,
    imports: bool | None = None,
    required: bool = True,
    heading: str | None = None,
    **defaults: object,
) -> None:
    """Add the options of a class to a parser.

    Args:
        parser: of a command.
        kind: the class; its fields that are made by `option` are added.
        without: names of those to leave out.
        underscored: read `--like_this` as `--like-this`; help shows the latter.
        imports: whether `--import` follows, after `--traceback`; neither if None.
        required: whether options without a default must be given.
        heading: stands above all of them in help.
        defaults: by name, instead of the fields' own.
    """
    hints = get_type_hints(kind)
    groups: dict[str, argparse._ArgumentGroup] = {}
    # What must be given comes first.
    for one in sorted(fields(kind), key=lambda f: f.default is not MISSING):
        facts = one.metadata
        if 'help' not in facts or one.name in without:
            continue
        where: argparse._ActionsContainer = parser
        if (title := heading or _heading(kind, one.name)) is not None:
            where = groups[title] = groups.get(title) or parser.add_argument_group(title)
        if (either := facts.get('either')) is not None:
            where = groups[either] = groups.get(either) or where.add_mutually_exclusive_group()
        flags, arguments = _described(one, hints[one.name], defaults)
        if not required:
            arguments.pop('required', None)
        action = where.add_argument(*flags, **arguments)
        if underscored and flags:
            both_spellings(parser, action, flags)
    if imports is not None:
        add_traceback(parser)
        if imports:
            add_import(parser)


def both_spellings(parser: argparse.ArgumentParser, action: argparse.Action, flags: Sequence[str]) -> None:
    """Let options be read as `--like_this`, too: argparse has no word for a spelling that is not shown."""
    parser._option_string_actions.update({f'--{flag[2:].replace("-", "_")}': action for flag in flags})


def given(arguments: argparse.Namespace, kind: type) -> Keywords:
    """Gather what a command line says of the fields of a class; several values are a tuple, pairs a dict.

    Raises:
        ValueError: NAME=VALUE that is none, or a name twice.
    """
    result = {}
    for one in fields(kind):
        if hasattr(arguments, one.name):
            value = getattr(arguments, one.name)
            if one.metadata.get('many') == 'pairs' and value is not None:
                value = _pairs(f'--{one.name}', value)
            result[one.name] = tuple(value) if isinstance(value, list) else value
    return result


def keywords_of(options: object, kind: type | None = None, **others: object) -> Keywords:
    """Return the fields of an instance by name, those of a class that it derives from; `others` beside or instead."""
    return {f.name: getattr(options, f.name) for f in fields(kind or type(options))} | others


def part_of(options: object, kind: type[T], **others: object) -> T:
    """Make an instance of a class that the options derive from; as of `keywords_of`."""
    return kind(**keywords_of(options, kind, **others))


def _pairs(flag: str, values: Sequence[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition('=')
        if not equals or not name or not text or name in result:
            raise ValueError(f'{flag}: must be pairs NAME=VALUE, each name once; got {value!r}.')
        result[name] = text
    return result


def _heading(kind: type, name: str) -> str | None:
    """Find what the class that a field comes from is called in help."""
    owner = next(c for c in kind.__mro__ if name in get_annotations(c))
    return owner.__dict__.get('heading')


def _described(one: Field, hint: object, defaults: Mapping[str, object]) -> tuple[list[str], Keywords]:
    """Return how argparse reads an option: its strings, and arguments of `add_argument`."""
    facts, kinds = one.metadata, _members(hint)
    required = one.default is MISSING
    default = defaults.get(one.name, facts.get('typed', None if required else one.default))
    result: Keywords = {} if facts.get('positional') else {'dest': one.name}
    help = facts['help']
    if kinds[0] is bool and 'kind' not in facts:
        result['action'] = 'store_false' if one.default is True else 'store_true'
        help = facts.get('off', f'do not {help}') if one.default is True else help
    else:
        help += _remark(facts, default)
        result |= {'default': default} | _values(facts, kinds[0], required)
    result['help'] = argparse.SUPPRESS if facts.get('hidden') else help.replace('%', '%%')
    if facts.get('positional'):
        if required:
            result.pop('default', None)
        else:
            result.setdefault('nargs', '?')
        return [one.name], result
    if required:
        result['required'] = True
    usual = f'--{"no-" if one.default is True else ""}{one.name}'.replace('_', '-')
    flags = facts.get('flag', usual)
    return [flags] if isinstance(flags, str) else list(flags), result


def _values(facts: Facts, kind: object, required: bool) -> Keywords:
    """Return how the values of an option are read, and what stands for them in help."""
    result: Keywords = {}
    if get_origin(kind) in (tuple, Sequence):
        of = get_args(kind)
        kind = _members(of[0])[0]
        several = len(of) == 1 or of[1] is Ellipsis
        if 'many' in facts:
            # Of a list, argparse makes a copy before it appends.
            result |= {'action': facts['many'], 'default': []}
        elif several or 'kind' not in facts:
            several_of = '*' if facts.get('positional') and not required else '+'
            result['nargs'] = several_of if several else len(of)
    if 'const' in facts:
        result |= {'nargs': '?', 'const': facts['const']}
    if 'choices' in facts:
        result['choices'] = tuple(facts['choices'])
    if 'kind' in facts:
        result['type'] = getattr(argument_types, facts['kind'])
    elif get_origin(kind) is Mapping:
        result |= {'nargs': '+'} | ({} if facts.get('many') == 'pairs' else {'action': KeyValues})
    elif kind in (int, float) and 'low' in facts:
        read = int_from if kind is int else partial(float_from, above=facts.get('above', False))
        result['type'] = read(facts['low'], facts.get('high'))
    elif kind in (int, float, Path):
        result['type'] = kind
    if 'metavar' in facts or 'unit' in facts:
        result['metavar'] = facts['metavar'] if 'metavar' in facts else facts['unit'].upper()
    return result


def _remark(facts: Facts, default: object) -> str:
    """Report the limits and the default of an option, where it has any."""
    parts = [f'{facts["low"]:g} to {facts["high"]:g}'] if 'high' in facts and not facts.get('above') else []
    if default is not None and default not in ((), '', {}) and 'default: ' not in facts['help']:
        shown = ' '.join(map(str, default)) if isinstance(default, tuple) else default
        parts.append(f'default: {shown}')
    return f' ({"; ".join(parts)})' if parts else ''


def _members(hint: object) -> list[object]:
    """List the types of a union, None aside."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [member for member in members if member is not type(None)]


class LaterParser(argparse.ArgumentParser):
    """A parser that describes itself when it first parses or is shown.

    Args:
        fill: adds its arguments, and may set its description.
        further: as of `argparse.ArgumentParser`.
    """

    def __init__(self, *, fill: Callable[[argparse.ArgumentParser], None], **further: Any) -> None:
        super().__init__(**further)
        self._fill: Callable[[argparse.ArgumentParser], None] | None = fill

    def filled(self) -> 'LaterParser':
        """Add the arguments, once."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return self

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, as argparse does a subcommand."""
        self.filled()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """Return the help text."""
        self.filled()
        return super().format_help()
