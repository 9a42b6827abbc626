"""What users hold on to stays, exactly: public names, registries, commands, configs, what stands in files.

After a change that is meant, and stands in CHANGELOG.md: `python -m tests.test_contract --write`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract_lists import PARTS, write

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / 'contract'


@pytest.fixture(scope='module')
def current(tmp_path_factory):
    # In a process of its own: other tests register classes of theirs, and pytest decorates functions.
    folder = tmp_path_factory.mktemp('contract')
    command = [sys.executable, '-m', 'tests.contract_lists', str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def differences(before: object, after: object, where: str = '') -> Iterator[str]:
    """Return which names went, came or are otherwise now."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            at = f'{where} > {key}' if where else key
            if key not in after:
                yield f'went: {at}'
            elif key not in before:
                yield f'came: {at}'
            else:
                yield from differences(before[key], after[key], at)
    elif isinstance(before, list) and isinstance(after, list) and before != after:
        yield from (f'went: {where} > {name}' for name in before if name not in after)
        yield from (f'came: {where} > {name}' for name in after if name not in before)
        if sorted(before) == sorted(after):
            yield f'other order: {where}: {before} -> {after}'
    elif before != after:
        yield f'changed: {where}: {before} -> {after}'


@pytest.mark.parametrize('part', PARTS)
def test_what_users_hold_on_to_is_there(part, current):
    golden = json.loads((GOLDEN / f'{part}.json').read_text(encoding='utf-8'))
    now = json.loads((current / f'{part}.json').read_text(encoding='utf-8'))
    result = list(differences(golden, now))
    assert not result, '\n'.join([f'{part}: {len(result)} differences', *result])


def test_differences_are_told_by_name():
    before = {'fit': {'--data': 'Store', '--out': 'Store'}, 'f': ['a', 'b = 1']}
    after = {'fit': {'--data': 'Store required', '--to': 'Store'}, 'f': ['a', 'b = 2']}
    assert list(differences(before, after)) == [
        'went: f > b = 1',
        'came: f > b = 2',
        'changed: fit > --data: Store -> Store required',
        'went: fit > --out',
        'came: fit > --to',
    ]
    assert list(differences({'f': ['a', 'b']}, {'f': ['b', 'a']})) == [
        "other order: f: ['a', 'b'] -> ['b', 'a']"
    ]
    assert not list(differences(before, before))


if __name__ == '__main__':
    if sys.argv[1:] != ['--write']:
        sys.exit('usage: python -m tests.test_contract --write')
    write(GOLDEN)
