"""Write a config file."""

from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 100
# What a config file says, by name; and what it is made of: a JSON, or a config that is changed.
Plain = dict[str, Any]
Stated = Mapping[str, Any]


def config_text(values: Stated, header: Sequence[str] = ()) -> str:
    """Write a config file.

    Args:
        values: what the config says, by name; plain values.
        header: lines of comment that it begins with.

    Raises:
        TypeError: a value that a config file cannot say.
    """
    lines = [f'# {line}'.rstrip() for line in header]
    lines += [f'{name} = {_source(value, 0, len(name) + 3)}' for name, value in values.items()]
    return '\n'.join(lines) + '\n'


def _source(value: object, indent: int, taken: int) -> str:
    """Write a value; `taken` characters of its first line are another's."""
    flat = _flat(value)
    if len(flat) + indent + taken <= _WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        return flat
    inner = ' ' * (indent + 4)
    if isinstance(value, Mapping):
        named = _named(value)
        begins = [f'{key}=' if named else f'{key!r}: ' for key in value]
        entries = [b + _source(v, indent + 4, len(b) + 1) for b, v in zip(begins, value.values())]
        opening, closing = ('dict(', ')') if named else ('{', '}')
    else:
        entries = [_source(item, indent + 4, 1) for item in value]
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
    return opening + '\n' + ''.join(f'{inner}{entry},\n' for entry in entries) + ' ' * indent + closing


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        if _named(value):
            return 'dict(' + ', '.join(f'{key}={_flat(item)}' for key, item in value.items()) + ')'
        return '{' + ', '.join(f'{key!r}: {_flat(item)}' for key, item in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(map(_flat, value)) + ']'
    if isinstance(value, tuple):
        return '(' + ', '.join(map(_flat, value)) + (',)' if len(value) == 1 else ')')
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    raise TypeError(f'config_text: a config holds plain values; got {type(value).__name__}. Leave it out.')


def _named(value: Mapping) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)
