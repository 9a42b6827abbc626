"""Attack readers with hostile files, commands with bad input, and writers with faults; print a table each.

Every attack runs in a fork of its own with 2 GiB of memory and a limit of time. A bomb is a small file made to stop
the machine: the command that reads it must end within 5 CPU s and 1 GiB, with a sentence that names the file. A fault
breaks a tool off at one of its file operations (Linux, with a C compiler); then the same command runs again and is
compared with an unbroken run.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from smilfit.apis.shipped_configs import configs_folder
from tests.hostile import (
    bad_inputs,
    fault_shim,
    hostile_checkpoints,
    hostile_readers,
    hostile_rigs,
    hostile_scans,
    hostile_videos,
)
from tests.hostile.bombs import Bomb, costs
from tests.hostile.command_runs import faults as faults_of_command
from tests.hostile.everyday_costs import everyday_costs
from tests.hostile.fault_tools import TOOLS
from tests.hostile.faults import Fault, inject
from tests.hostile.hostile_annotations import hostile_annotations, write_orders
from tests.hostile.hostile_models import hostile_models
from tests.hostile.hostile_outputs import hostile_outputs
from tests.hostile.hostile_pages import hostile_pages
from tests.hostile.hostile_pickles import hostile_pickles
from tests.hostile.hostile_smilify import hostile_smilify_files
from tests.hostile.hostile_stores import hostile_stores
from tests.hostile.judges import judge_annotation, judge_model, judge_store
from tests.hostile.sandbox import Outcome, run_cases
from tests.hostile.small_inputs import make_inputs

CALLS = 'tests.hostile.reading_calls'
LIMIT_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.reliability', description=__doc__)
    parts = ('all', 'files', 'bombs', 'commands', 'faults', 'costs')
    parser.add_argument('what', nargs='?', default='all', choices=parts, help='what is tried (default: all)')
    parser.add_argument('--count', type=int, default=60, help='faults a tool')
    parser.add_argument(
        '--tools', nargs='+', choices=tuple(TOOLS), default=tuple(TOOLS), help='tools to break off'
    )
    arguments = parser.parse_args(argv)
    console, wrong = Console(width=150), 0
    with tempfile.TemporaryDirectory(prefix='reliability_') as name:
        folder = Path(name)
        if arguments.what in ('all', 'files'):
            wrong += _files(console, folder)
        if arguments.what in ('all', 'bombs'):
            wrong += _bombs(console, folder)
        if arguments.what in ('all', 'costs'):
            wrong += _costs(console)
        if arguments.what in ('all', 'commands'):
            wrong += _commands(console, folder)
        if arguments.what in ('all', 'faults'):
            wrong += _faults(console, folder, arguments.tools, arguments.count)
    console.print(f'{wrong} wrong')
    return int(wrong > 0)


def _files(console: Console, folder: Path) -> int:
    table = _table(
        'hostile files', 'set', 'files', 'refused', 'entry left out', 'read, harmless', 'wrong', 's', 'MiB'
    )
    wrong = 0
    for title, attack in ATTACKS.items():
        (folder / title).mkdir()
        found, judged = attack(folder / title)
        kinds = Counter(outcome.outcome for outcome in found.values())
        left_out = sum(bool(_skipped(outcome)) for outcome in found.values())
        faulty = {name: fault for name, fault in judged.items() if fault}
        wrong += len(faulty)
        slowest, most = (max(getattr(o, k) for o in found.values()) for k in ('seconds', 'peak_mib'))
        harmless = kinds['accepted'] - left_out
        row = (len(found), kinds['refused'], left_out, harmless, len(faulty), f'{slowest:.1f}', f'{most:.0f}')
        table.add_row(title, *map(str, row))
        for name, fault in faulty.items():
            console.print(f'{title}, {name}: {fault}', markup=False)
    console.print(table)
    return wrong


def _skipped(outcome: Outcome) -> bool:
    return isinstance(outcome.value, dict) and bool(outcome.value.get('skipped'))


def _pickles(folder: Path) -> tuple[dict[str, Outcome], dict[str, str]]:
    files = {}
    for name, content in hostile_pickles().items():
        files[name] = folder / f'{name}.pkl'
        files[name].write_bytes(content)
    found = run_cases(f'{CALLS}:read_model', files, seconds=LIMIT_S)
    return found, {name: judge_model(outcome, files[name], '') for name, outcome in found.items()}


def _read(
    make: Callable[[Path], Mapping[str, Path]],
    call: str,
    whole: str,
    judge: Callable[[Outcome, Path, str], str],
) -> Callable[[Path], tuple[dict[str, Outcome], dict[str, str]]]:
    """Make an attack of a set whose whole file lies beside the hostile ones."""

    def attack(folder: Path) -> tuple[dict[str, Outcome], dict[str, str]]:
        files = make(folder)
        found = run_cases(f'{CALLS}:{call}', {'whole': folder / whole, **files}, seconds=LIMIT_S)
        reference = found.pop('whole')
        return found, {name: judge(outcome, files[name], reference.value) for name, outcome in found.items()}

    return attack


def _annotations(folder: Path) -> tuple[dict[str, Outcome], dict[str, str]]:
    given = hostile_annotations(folder)
    orders = write_orders(given, folder / 'orders')
    found = run_cases('tests.hostile.annotation_calls:read_case', orders, seconds=LIMIT_S)
    return found, {name: judge_annotation(outcome, given[name]) for name, outcome in found.items()}


BOMBS: dict[str, Callable[[Path], Mapping[str, Bomb]]] = {
    'rigs': hostile_rigs.bombs,
    'scans': hostile_scans.bombs,
    'checkpoints': hostile_checkpoints.bombs,
    'tables': hostile_readers.bombs,
    'videos': hostile_videos.bombs,
}
ATTACKS = {
    'pickles': _pickles,
    'models (json, npz)': _read(hostile_models, 'read_model', 'whole.npz', judge_model),
    'dataset files': _read(hostile_stores, 'read_store', 'whole.h5', judge_store),
    'SMILify files': _read(hostile_smilify_files, 'read_smilify', 'whole.h5', judge_store),
    'annotations, images, videos': _annotations,
}
if os.name == 'posix':
    ATTACKS['results of others'] = hostile_outputs
if find_spec('viser') is not None:
    ATTACKS['the page of a model'] = hostile_pages


def _bombs(console: Console, folder: Path) -> int:
    """Show what each small file costs that was made to stop the machine."""
    if sys.platform != 'linux':
        console.print('bombs are not measured: that needs Linux')
        return 0
    table = _table('bombs', 'file', 'bytes', 'exit code', 'CPU s', 'MiB', 'wrong')
    wrong = 0
    for title, make in BOMBS.items():
        place = folder / f'bombs_{title}'
        place.mkdir()
        bombs = make(place)
        for name, cost in costs(bombs, place).items():
            bomb = bombs[name]
            fault = cost.fault(bomb)
            size = str(bomb.named.stat().st_size) if bomb.named.is_file() else '-'
            row = (size, str(cost.code), f'{cost.cpu_s:.2f}', f'{cost.mib:.0f}', '*' * bool(fault))
            table.add_row(f'{title}: {name}', *row)
            wrong += bool(fault)
            if fault:
                console.print(f'{title}, {name}: {fault}', markup=False)
    console.print(table)
    return wrong


def _costs(console: Console) -> int:
    """Show what users wait for before anything is done: imports, helps, and the look at cameras."""
    table = _table('costs before the work', 'what', 'CPU s', 'at most', 'wrong')
    rows = everyday_costs()
    for row in rows:
        table.add_row(row.what, f'{row.cpu_s:.2f}', f'{row.most_s:.2f}', '*' * (row.cpu_s > row.most_s))
    console.print(table)
    return sum(row.cpu_s > row.most_s for row in rows)


def _commands(console: Console, folder: Path) -> int:
    outcomes, changed = bad_inputs.run_cases(bad_inputs.CASES, folder / 'commands')
    faulty = {case.name: faults_of_command(case, outcomes[case.name]) for case in bad_inputs.CASES}
    faulty = {name: found for name, found in faulty.items() if found}
    table = _table('bad command lines', 'command', 'cases', 'refused in a sentence', 'wrong')
    by_command = Counter(_command(case.name) for case in bad_inputs.CASES)
    bad = Counter(map(_command, faulty))
    for command, count in sorted(by_command.items()):
        table.add_row(command, str(count), str(count - bad[command]), str(bad[command]))
    console.print(table)
    for name in [*faulty, *changed]:
        console.print(f'{name}: {faulty.get(name, "an input was changed")}', markup=False)
    return len(faulty) + len(changed)


def _command(name: str) -> str:
    return name.replace(',', ' ').replace(':', ' ').split()[0]


def _faults(console: Console, folder: Path, tools: Sequence[str], count: int) -> int:
    reason = fault_shim.unavailable()
    if reason is not None:
        console.print(f'faults are not injected: {reason}')
        return 0
    inputs = make_inputs(folder / 'inputs', configs_folder() / 'train' / 'multiview_demo.py')
    found: list[Fault] = []
    table = _table('faults', 'tool', *fault_shim.MODES, 'in all', 'wrong after the same command again')
    for tool in tools:
        mine = inject([tool], inputs, folder / 'work', count)
        modes = Counter(fault.mode for fault in mine)
        bad = sum(bool(fault.problems) for fault in mine)
        table.add_row(tool, *(str(modes[mode]) for mode in fault_shim.MODES), str(len(mine)), str(bad))
        found += mine
    console.print(table)
    faulty = [fault for fault in found if fault.problems]
    for fault in faulty:
        console.print(
            f'{fault.tool}, {fault.mode} at {fault.operation} {fault.at}: {fault.problems}', markup=False
        )
    return len(faulty)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify='left' if column == columns[0] else 'right')
    return table


if __name__ == '__main__':
    raise SystemExit(main())
