"""A command's parser, made of its class of options (`smilfit.apis.options`)."""

import argparse
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from functools import partial
from inspect import get_annotations
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from smilfit.cli import argument_types
from smilfit.cli.argument_types import KeyValues, float_from, int_from
from smilfit.cli.command import add_import, add_traceback


def make_parser(
    kind: type, prog: str | None, about: str, epilog: str | None = None, imports: bool = True, **further: Any
) -> argparse.ArgumentParser:
    """Make the parser of a command: its options, `--traceback` and `--import`.

    Args:
        kind: the class of options.
        prog: the command's name.
        about: what it does.
        epilog: such as its exit codes.
        imports: whether it takes `--import`.
        further: as of `argparse.ArgumentParser`; `made_by` makes another kind of parser.
    """
    made = further.pop('made_by', argparse.ArgumentParser)
    parser = made(prog=prog, description=about, epilog=epilog, **further)
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
    **defaults: Any,
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
    groups: dict[str, Any] = {}
    # What must be given comes first.
    for one in sorted(fields(kind), key=lambda f: f.default is not MISSING):
        said = one.metadata
        if 'help' not in said or one.name in without:
            continue
        where: Any = parser
        if (title := heading or _heading(kind, one.name)) is not None:
            where = groups[title] = groups.get(title) or parser.add_argument_group(title)
        if (either := said.get('either')) is not None:
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


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Gather what a command line says of the fields of a class; several values are a tuple."""
    result = {f.name: getattr(arguments, f.name) for f in fields(kind) if hasattr(arguments, f.name)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in result.items()}


def _heading(kind: type, name: str) -> str | None:
    """Find what the class that a field comes from is called in help."""
    owner = next(c for c in kind.__mro__ if name in get_annotations(c))
    return owner.__dict__.get('heading')


def _described(one: Field, hint: Any, defaults: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return how argparse reads an option: its strings, and arguments of `add_argument`."""
    said, kinds = one.metadata, _members(hint)
    required = one.default is MISSING
    default = defaults.get(one.name, said.get('typed', None if required else one.default))
    result: dict[str, Any] = {} if said.get('positional') else {'dest': one.name}
    help = said['help']
    if kinds[0] is bool and 'kind' not in said:
        result['action'] = 'store_false' if one.default is True else 'store_true'
        help = said.get('off', f'do not {help}') if one.default is True else help
    else:
        help += _remark(said, default)
        result |= {'default': default} | _values(said, kinds[0], required)
    result['help'] = argparse.SUPPRESS if said.get('hidden') else help.replace('%', '%%')
    if said.get('positional'):
        if required:
            result.pop('default', None)
        else:
            result.setdefault('nargs', '?')
        return [one.name], result
    if required:
        result['required'] = True
    usual = f'--{"no-" if one.default is True else ""}{one.name}'.replace('_', '-')
    flags = said.get('flag', usual)
    return [flags] if isinstance(flags, str) else list(flags), result


def _values(said: Mapping[str, Any], kind: Any, required: bool) -> dict[str, Any]:
    """Return how the values of an option are read, and what stands for them in help."""
    result: dict[str, Any] = {}
    if get_origin(kind) in (tuple, Sequence):
        of = get_args(kind)
        kind = _members(of[0])[0]
        several = len(of) == 1 or of[1] is Ellipsis
        if 'many' in said:
            # Of a list, argparse makes a copy before it appends.
            result |= {'action': said['many'], 'default': []}
        elif several or 'kind' not in said:
            several_of = '*' if said.get('positional') and not required else '+'
            result['nargs'] = several_of if several else len(of)
    if 'const' in said:
        result |= {'nargs': '?', 'const': said['const']}
    if 'choices' in said:
        result['choices'] = tuple(said['choices'])
    if 'kind' in said:
        result['type'] = getattr(argument_types, said['kind'])
    elif get_origin(kind) is Mapping:
        result |= {'nargs': '+'} | ({} if said.get('many') == 'pairs' else {'action': KeyValues})
    elif kind in (int, float) and 'low' in said:
        read = int_from if kind is int else partial(float_from, above=said.get('above', False))
        result['type'] = read(said['low'], said.get('high'))
    elif kind in (int, float, Path):
        result['type'] = kind
    if 'metavar' in said or 'unit' in said:
        result['metavar'] = said['metavar'] if 'metavar' in said else said['unit'].upper()
    return result


def _remark(said: Mapping[str, Any], default: Any) -> str:
    """Report the limits and the default of an option, where it has any."""
    parts = [f'{said["low"]:g} to {said["high"]:g}'] if 'high' in said and not said.get('above') else []
    if default is not None and default not in ((), '', {}) and 'default: ' not in said['help']:
        shown = ' '.join(map(str, default)) if isinstance(default, tuple) else default
        parts.append(f'default: {shown}')
    return f' ({"; ".join(parts)})' if parts else ''


def _members(hint: Any) -> list[Any]:
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
