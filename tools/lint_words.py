"""Check the words of the package: `python tools/lint_words.py [FILE or FOLDER ...]`; part of `make lint`.

Names that are made in the code (functions, classes, arguments, variables, fields) must not hold the words of WORDS,
each of which stands for several things at once; names that users hold on to (`tests/contract`) keep theirs.
Docstrings begin with what a function does (Return, Check, Read, Write, ...), and say more than its name does.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Word -> what it stood for.
WORDS = {
    'found': 'result, values, matches',
    'tell': 'report, describe, warn',
    'told': 'report, messages, notes',
    'say': 'report, describe',
    'said': 'report, messages, stated',
    'there': 'valid, known, present',
    'seen': 'observations, visible',
    'turn': 'rotation, rotate',
    'turned': 'rotated',
    'turns': 'rotations',
    'middle': 'centre',
    'middles': 'centres',
    'apart': 'separate, outliers, distance',
    'doubt': 'uncertainty, ambiguity',
    'doubts': 'uncertainties, ambiguities, suspects',
    'picture': 'image',
    'pictures': 'images',
}
FIRST_WORDS = {
    'Give': 'Return',
    'Gives': 'Return',
    'Say': 'Check or Report',
    'Says': 'Check or Report',
    'Tell': 'Report',
    'Tells': 'Report',
}
# Words of a docstring that add nothing to a name.
EMPTY = frozenset(
    re.findall(
        r'\w+', 'a an and are as by for from in is it its of on one return returns self that the their'
    )
)


# Names that are given: keys of files that were written, options of configs, standard interfaces, and plain English.
KEPT = frozenset(
    ('n_pictures', 'points_seen', 'seen2d', 'seen3d', 'apart', 'tell', '_not_found', 'ModelNotFoundError')
)


def contract_names(folder: Path) -> frozenset[str]:
    """Return the names in the lists of what users hold on to: keys, dotted names, `name = default`."""
    text = ''.join(file.read_text(encoding='utf-8') for file in sorted(folder.glob('*.json')))
    stated = re.findall(r'"-{0,2}([A-Za-z_][\w.-]*)(?: = [^"]*)?"', text)
    return frozenset(part.replace('-', '_') for name in stated for part in name.split('.'))


def made_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that a module defines or assigns."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


def banned_words(name: str) -> list[str]:
    """Return the words of a name that stand in WORDS."""
    return [w for w in (part.lower() for part in re.findall(r'[A-Z]?[a-z]+', name)) if w in WORDS]


def _stem(word: str) -> str:
    word = word.lower()
    for end in ('ing', 'ies', 'ed', 'es', 's', 'e', 'y'):
        if word.endswith(end) and len(word) > len(end) + 2:
            return word[: -len(end)]
    return word


def docstring_fault(name: str, text: str) -> str | None:
    """Return what is wrong with a docstring, None where nothing is."""
    first = text.split(maxsplit=1)[0].strip('`.,:') if text.strip() else ''
    if first in FIRST_WORDS:
        return f'begins with {first!r}: write {FIRST_WORDS[first]}'
    parts = {_stem(part) for part in re.findall(r'[A-Z]?[a-z0-9]+', name)}
    words = {_stem(word) for word in re.findall(r'[A-Za-z0-9]+', text) if word.lower() not in EMPTY}
    if words <= parts and '\n' not in text:
        return f'repeats the name ({text!r}): delete it, or write what the name does not hold'
    return None


def faults(path: Path, allowed: frozenset[str]) -> Iterator[str]:
    """Yield the faults of one file as `file:line: what`."""
    tree = ast.parse(path.read_text(encoding='utf-8'), filename=str(path))
    done = set()
    for line, name in made_names(tree):
        if name not in done | allowed | KEPT:
            done.add(name)
            for word in banned_words(name):
                yield f'{path}:{line}: {name}: name a thing without {word!r} ({WORDS[word]})'
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node)
            why = docstring_fault(node.name, text) if text is not None else None
            if why:
                yield f'{path}:{node.lineno}: {node.name}: docstring {why}'


def main() -> int:
    """Print the faults of files and folders; return 1 where there are some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'places', nargs='*', type=Path, default=[ROOT / 'smilfit'], help='the package if not given'
    )
    places = parser.parse_args().places
    files = [f for place in places for f in (sorted(place.rglob('*.py')) if place.is_dir() else [place])]
    allowed = contract_names(ROOT / 'tests/contract')
    n = 0
    for fault in (f for file in files for f in faults(file, allowed)):
        print(fault)
        n += 1
    print(f'{len(files)} files, {n} faults of words.' if n else f'{len(files)} files: no fault of words.')
    return 1 if n else 0


if __name__ == '__main__':
    sys.exit(main())
