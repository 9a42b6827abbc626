"""Register a rigged body, or a template mesh, to scanned meshes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from smilfit.cli.argument_types import KeyValues, int_from
from smilfit.cli.command import add_import, add_traceback, run_command
from smilfit.cli.next_step import measure_step
from smilfit.cli.progress_bar import progress_bar

if TYPE_CHECKING:
    from smilfit.apis.registering import RegistrationRun

LAUNCHERS = ('none', 'pytorch', 'slurm')
UNITS = ('mm', 'cm', 'm', 'um')
EXIT_INCOMPLETE = 3
# Characters of the table beside the names.
_OTHER_COLUMNS = 72
STOPPED = 'Stopped. The same command goes on after the last whole specimen.'


def build_parser(prog: str | None = 'register') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__
        + ' Finds pose, place, scale, joint scales and shape, then moves vertices of the rest pose. The scan keeps '
        'its place and unit. Writes per scan registration.npz (parameters, vertices), registration.json (figures), '
        'registered.ply (the surface) and registration.jpg, and registrations.html of all. A scan that is registered '
        'the same way already is not registered again; one that cannot be is told of and skipped.',
        epilog='Exit codes: 0 all scans are registered; 1 nothing could be done; 2 a bad command line; 3 done, but a '
        'scan failed or a registration is not believable (registrations.html says why).',
    )
    parser.add_argument('config', help="a MeshRegistrant's config, such as configs/register/scans.py")
    parser.add_argument(
        '--scans',
        nargs='+',
        required=True,
        metavar='FILE|DIR',
        help='meshes (.obj, .ply, .stl, .off, .glb), or folders of them; NAME.landmarks.json beside a scan holds '
        'named points, {"name": [x, y, z]}, in its unit',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the results')
    parser.add_argument(
        '--body-model',
        metavar='FILE|NAME',
        help="body model file, quadruped or insect, or a template mesh without a skeleton; instead of the config's",
    )
    parser.add_argument(
        '--unit',
        choices=UNITS,
        help="of the scans' coordinates; without it lengths are in the files' own unit, and are not called mm",
    )
    parser.add_argument(
        '--threads', type=int_from(1, 1024), default=1, help='CPU threads (default: %(default)s)'
    )
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes that share the scans: python -m torch.distributed.run (pytorch) or srun '
        '(slurm) (default: %(default)s)',
    )
    parser.add_argument('--overwrite', action='store_true', help='register again what is registered already')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        default={},
        metavar='KEY=VALUE',
        help="override the config's values, such as n_starts=6",
    )
    parser.add_argument('--no-progress', action='store_true', help='show no progress bar')
    add_traceback(parser)
    add_import(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = 'register') -> int:
    """Run the command."""
    return run_command(_register, build_parser, argv, prog, STOPPED)


def _register(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.apis.registering import register

    with progress_bar(not arguments.no_progress and sys.stderr.isatty()) as bar:
        done = register(
            arguments.config,
            arguments.scans,
            arguments.out,
            body_model=arguments.body_model,
            unit=arguments.unit,
            cfg_options=arguments.cfg_options,
            threads=arguments.threads,
            overwrite=arguments.overwrite,
            launcher=arguments.launcher,
            progress=bar,
        )
    return 0 if done is None else show(done, arguments.unit)


def show(done: 'RegistrationRun', unit: str | None) -> int:
    """Print what came out; gives the exit code."""
    # Names of specimens are read whole: where the window is narrower, lines are wrapped by it.
    console = Console()
    console.width = max(console.width, _OTHER_COLUMNS + max((len(name) for name in done.records), default=0))
    table = Table(title='distance between scan and registered surface, % of the extent')
    for column in (
        'scan',
        f'extent, {unit or "unit"}',
        'median',
        '95 %',
        'body to scan',
        'absent joints',
        's',
    ):
        table.add_column(column, justify='left' if column == 'scan' else 'right', overflow='fold')
    for name, record in done.records.items():
        there, back = record['distance_scan_to_body'], record['distance_body_to_scan']
        shares = (there['median_share'], there['percentile_95_share'], back['median_share'])
        cells = [f'{record["scan_extent"]:.4g}', *(f'{100 * share:.2f}' for share in shares)]
        seconds = '-' if name in done.skipped else f'{record["seconds"]["all"]:.0f}'
        table.add_row(name, *cells, str(len(record['absent'])), seconds)
    if done.records:
        console.print(table)
    for record in done.records.values():
        for sentence in record['warnings']:
            console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    for name, why in done.failed.items():
        console.print(f'error: {name}: not registered: {why}', highlight=False, soft_wrap=True, markup=False)
    if done.skipped:
        console.print(f'{len(done.skipped)} were registered already.', highlight=False)
    console.print(f'page: {done.page}', highlight=False, soft_wrap=True, markup=False)
    if not done.records:
        return 1
    console.print(f'next: {measure_step(done.page.parent)}', highlight=False, soft_wrap=True, markup=False)
    doubted = any(record['doubts'] for record in done.records.values())
    return EXIT_INCOMPLETE if done.failed or doubted else 0


if __name__ == '__main__':
    sys.exit(main())
