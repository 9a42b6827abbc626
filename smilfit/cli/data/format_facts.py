"""What help says of the formats of `preprocess`: written down beside this file, because their readers bring torch.

`format_facts.json` says what the readers and the shipped maps say of themselves. A test holds them
against each other; `python -m smilfit.cli.data.format_facts` writes it anew.
"""

import argparse
import inspect
import json
import types
import typing
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from smilfit.cli.parser import Keywords
from smilfit.registry import ANNOTATIONS

FILE = Path(__file__).with_name('format_facts.json')
_OF_ALL_READERS = ('images', 'allow_outside_images')
_KINDS: dict[str, type] = {'float': float, 'int': int, 'Path': Path, 'str': str}


class ValueKind(TypedDict):
    """The type of a value by name, its choices, and whether there are several."""

    kind: str
    choices: list[str]
    many: bool


class ReaderArgument(ValueKind):
    """An argument of a reader's constructor: what argparse needs to know."""

    required: bool
    default: object
    help: str


class FormatFacts(TypedDict):
    """Shipped maps, formats of sessions, and of each format's reader a line and its arguments."""

    keypoint_maps: list[str]
    session_formats: list[str]
    summaries: dict[str, str]
    readers: dict[str, dict[str, ReaderArgument]]


@lru_cache
def format_facts() -> FormatFacts:
    """Read what was written down."""
    return json.loads(FILE.read_text(encoding='utf-8'))


def gather_facts() -> FormatFacts:
    """Ask those who know: this imports them all."""
    from smilfit.apis.preprocessing.data_source import annotation_readers, session_formats
    from smilfit.io import available_keypoint_maps

    shipped = {n: reader for n, reader in annotation_readers().items() if _is_shipped(reader)}
    facts: FormatFacts = {
        'keypoint_maps': list(available_keypoint_maps()),
        'session_formats': [n for n in session_formats() if n in shipped or n == 'sleap'],
        'summaries': {n: (reader.__doc__ or '').strip().partition('\n')[0] for n, reader in shipped.items()},
        'readers': {name: describe_reader(reader) for name, reader in shipped.items()},
    }
    return json.loads(json.dumps(facts))


def arguments_of_format(name: str) -> dict[str, ReaderArgument] | None:
    """Return the arguments of a format's reader; None of a format that has no reader of annotated images."""
    own = ANNOTATIONS.module_dict.get(name)
    if own is not None and not _is_shipped(own):
        return describe_reader(own)
    return format_facts()['readers'].get(name)


def describe_reader(reader: type) -> dict[str, ReaderArgument]:
    """Describe each argument of a reader's constructor by its type, default and docstring."""
    # A reader that has another's constructor need not describe it again.
    docstrings = [describe_arguments(cls.__doc__ or '') for cls in reversed(reader.__mro__)]
    described = {name: text for docstring in docstrings for name, text in docstring.items()}
    result: dict[str, ReaderArgument] = {}
    for name, parameter in reader_arguments(reader).items():
        required = parameter.default is inspect.Parameter.empty
        hint = str if parameter.annotation is inspect.Parameter.empty else parameter.annotation
        result[name] = {
            **_kind_of(hint),
            'required': required,
            'default': None if required else parameter.default,
            'help': described.get(name, 'see the reader'),
        }
    return result


def parser_arguments(argument: ReaderArgument) -> Keywords:
    """Return how argparse reads an argument of a reader."""
    required, default = argument['required'], argument['default']
    result: Keywords = {'required': True} if required else {'default': default}
    if argument['kind'] == 'bool':
        result['action'] = argparse.BooleanOptionalAction
    elif argument['choices']:
        result['choices'] = tuple(argument['choices'])
    else:
        result |= {'type': _KINDS[argument['kind']], 'metavar': argument['kind'].upper()}
        result |= {'nargs': '+'} if argument['many'] else {}
    shown = '' if default in (None, False, (), []) else f' (default: {default})'
    # argparse formats help by %: a docstring may hold one.
    return result | {'help': f'{argument["help"]}{shown}'.replace('%', '%%')}


def reader_arguments(reader: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of a reader's constructor by name, those aside that all readers have."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    result = inspect.signature(reader, eval_str=True).parameters
    return {n: p for n, p in result.items() if n not in _OF_ALL_READERS and p.kind not in kinds}


def _is_shipped(reader: type) -> bool:
    return reader.__module__.startswith('smilfit.')


def _kind_of(hint: object) -> ValueKind:
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = [member for member in members if member is not type(None)]
    for kind in kinds:
        if typing.get_origin(kind) is typing.Literal:
            return {'kind': 'str', 'choices': list(typing.get_args(kind)), 'many': False}
        if typing.get_origin(kind) in (tuple, list, set, Sequence, typing.get_origin(Sequence[str])):
            (of, *_) = typing.get_args(kind)
            return {'kind': of.__name__, 'choices': [], 'many': True}
    if bool in kinds:
        return {'kind': 'bool', 'choices': [], 'many': False}
    return {'kind': next((k for k in _KINDS if _KINDS[k] in kinds), 'str'), 'choices': [], 'many': False}


def describe_arguments(docstring: str) -> dict[str, str]:
    """Read the `Args:` of a docstring: name -> text."""
    lines = iter(inspect.cleandoc(docstring).splitlines())
    result: dict[str, str] = {}
    name, indent = '', 0
    for line in lines:
        if line.strip() == 'Args:':
            break
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if not line.strip() or depth == 0:
            break
        head, colon, text = line.strip().partition(':')
        if colon and head.isidentifier() and (not indent or depth == indent):
            name, indent = head, depth
            result[name] = text.strip()
        elif name:
            result[name] += f' {line.strip()}'
    return result


if __name__ == '__main__':
    FILE.write_text(json.dumps(gather_facts(), indent=1) + '\n', encoding='utf-8')
