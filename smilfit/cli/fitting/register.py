"""Register a rigged body, or a template mesh, to scanned meshes."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from smilfit.apis.model_options import RegisterOptions
from smilfit.cli.command import run_command
from smilfit.cli.next_step import measure_step
from smilfit.cli.parser import given, make_parser
from smilfit.cli.progress_bar import progress_bar
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.scans.register import RegistrationRun

EXIT_INCOMPLETE = 3
# Characters of the table beside the names.
_OTHER_COLUMNS = 72
STOPPED = 'Stopped. The same command goes on after the last whole specimen.'


@dataclass(frozen=True, kw_only=True)
class Command(RegisterOptions):
    """What a command line says."""

    config: str = option(help="a MeshRegistrant's config, such as configs/register/scans.py", positional=True)
    scans: Sequence[str] = option(
        help='meshes (.obj, .ply, .stl, .off, .glb), or folders of them; NAME.landmarks.json beside a scan holds '
        'named points, {"name": [x, y, z]}, in its unit',
        metavar='FILE|DIR',
    )
    out: Path = option(help='folder for the results', metavar='DIR')
    no_progress: bool = option(False, 'show no progress bar')


def build_parser(prog: str | None = 'register') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        f'{__doc__} Finds pose, place, scale, joint scales and shape, then moves vertices of the rest pose. The '
        'scan keeps its place and unit. Writes per scan registration.npz (parameters, vertices), registration.json '
        '(figures), registered.ply (the surface) and registration.jpg, and registrations.html of all. A scan that '
        'is registered the same way already is not registered again; one that cannot be is told of and skipped.'
    )
    codes = (
        'Exit codes: 0 all scans are registered; 1 nothing could be done; 2 a bad command line; 3 done, but a scan '
        'failed or a registration is not believable (registrations.html says why).'
    )
    return make_parser(Command, prog, about, codes)


def main(argv: Sequence[str] | None = None, prog: str | None = 'register') -> int:
    """Run the command."""
    return run_command(_register, build_parser, argv, prog, STOPPED)


def _register(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.scans.register import register

    with progress_bar(not arguments.no_progress and sys.stderr.isatty()) as bar:
        inputs = (arguments.config, arguments.scans, arguments.out)
        done = register(*inputs, **given(arguments, RegisterOptions), progress=bar)
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
        valid, back = record['distance_scan_to_body'], record['distance_body_to_scan']
        shares = (valid['median_share'], valid['percentile_95_share'], back['median_share'])
        cells = [f'{record["scan_extent"]:.4g}', *(f'{100 * share:.2f}' for share in shares)]
        seconds = '-' if name in done.skipped else f'{record["seconds"]["all"]:.0f}'
        table.add_row(name, *cells, str(len(record['absent'])), seconds)
    if done.records:
        console.print(table)
    for record in done.records.values():
        for sentence in record['warnings']:
            console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    if done.failed:
        # Why was said when it happened, and stands on the page.
        names = ', '.join(done.failed)
        console.print(f'not registered: {names}', highlight=False, soft_wrap=True, markup=False)
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
