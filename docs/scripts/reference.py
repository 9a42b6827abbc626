"""The reference of public names as pages, from signatures and docstrings, without another tool to install."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

# Pages: name of the file, heading, the module, and the rooms of the names that stand there (None: all others).
PAGES = (
    ('fitting', 'Fits', 'smilfit', ('registrants', 'solvers', 'renderers', 'tracking', 'registry')),
    ('handlers', 'Handlers and inputs', 'smilfit', ('handlers',)),
    ('losses', 'Losses and priors', 'smilfit', ('losses',)),
    ('bodies', 'Bodies, cameras, keypoints, results', 'smilfit', ('body_models', 'structures')),
    ('data', 'Recordings, datasets, networks', 'smilfit', None),
    ('apis', 'What the commands call', 'smilfit.apis', None),
)
_SECTION = re.compile(r'^(Args|Attributes|Returns|Raises|Yields):$')
_ITEM = re.compile(r'^(\*{0,2}\w[\w, ]*): (.*)$')
_LONG = 88


def reference_pages() -> Iterator[tuple[str, str]]:
    """Give the pages: path among the pages, markdown."""
    taken = {room for _, _, _, rooms in PAGES if rooms for room in rooms}
    for name, heading, module_name, rooms in PAGES:
        module = import_module(module_name)
        lines = [f'# {heading}', '', f'`import {module_name}`', '']
        for public in sorted(module.__all__, key=str.lower):
            found = getattr(module, public)
            # A function with its registry filled in.
            found = getattr(found, 'func', found)
            home = getattr(found, '__module__', None) or ''
            if not callable(found) or not home.startswith('smilfit.'):
                continue
            room = home.split('.')[1]
            if room in rooms if rooms else module_name != 'smilfit' or room not in taken:
                lines += entry(public, found)
        yield f'reference/{name}.md', '\n'.join(lines) + '\n'


def entry(name: str, found: Any) -> list[str]:
    """Describe a class or function."""
    lines = [f'## {name}', '', '```python', signature(name, found), '```', '']
    lines += [*docstring(inspect.getdoc(found) or ''), '']
    if inspect.isclass(found):
        own = [
            (key, value)
            for key, value in inspect.getmembers(found)
            if not key.startswith('_') and _is_ours(value) and inspect.getdoc(value)
        ]
        lines += ['**Methods and properties**', ''] if own else []
        for key, value in own:
            end = '' if isinstance(value, property) else '()'
            lines.append(f'* `{key}{end}`: {plain((inspect.getdoc(value) or "").splitlines()[0])}')
        lines.append('')
    return lines


def signature(name: str, found: Any) -> str:
    """Write a call, defaults without types; a line an argument where it is long."""
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        return f'{name}(...)'
    parts, keyword_only = [], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not keyword_only and not any(q.startswith('*') for q in parts):
            parts.append('*')
        keyword_only = keyword_only or p.kind is p.KEYWORD_ONLY
        stars = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '')
        default = '' if p.default is p.empty else f'={_shown(p.default)}'
        parts.append(f'{stars}{p.name}{default}')
    line = f'{name}({", ".join(parts)})'
    if len(line) <= _LONG:
        return line
    return '\n'.join([f'{name}(', *(f'    {part},' for part in parts), ')'])


def docstring(text: str) -> list[str]:
    """Turn a docstring of Google's form into markdown: sections become lists."""
    lines, in_section, code = [], False, False
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            in_section = True
            lines += ['', f'**{section[1]}**', '']
        elif in_section and line.startswith('    ') and not line.startswith('     '):
            item = _ITEM.match(line.strip())
            lines.append(f'* `{item[1]}`: {plain(item[2])}' if item else f'* {plain(line.strip())}')
        elif in_section and line.startswith('     '):
            lines.append(f'  {plain(line.strip())}')
        else:
            in_section = in_section and not line
            if line.startswith('    ') and not code:
                lines.append('')
            code = line.startswith('    ')
            lines.append(line if code else plain(line))
    return lines


def plain(text: str) -> str:
    """Keep what stands outside of backticks from being read as markup."""
    parts = text.split('`')
    return '`'.join(
        part if i % 2 else re.sub(r'([\[\]*_|])', r'\\\1', part).replace('<', '&lt;')
        for i, part in enumerate(parts)
    )


def _shown(value: Any) -> str:
    text = repr(value)
    if callable(value) and not inspect.isclass(value):
        return getattr(value, '__name__', '...')
    return text if len(text) < 60 and ' at 0x' not in text else '...'


def _is_ours(value: Any) -> bool:
    if isinstance(value, property):
        value = value.fget
    return inspect.isroutine(value) and (getattr(value, '__module__', None) or '').startswith('smilfit')
