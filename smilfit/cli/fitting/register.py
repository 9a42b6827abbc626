"""Register a rigged body, or a template mesh, to scanned meshes."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilfit.apis.model_options import RegisterOptions
from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.errors import BAD_INPUT
from smilfit.cli.next_step import measure_step
from smilfit.cli.parser import keywords_of
from smilfit.cli.terminal import print_table, progress_bar
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.scans.register import RegistrationRun

# Characters of the table beside the names.
_OTHER_COLUMNS = 72
STOPPED = 'Stopped. The same command goes on after the last whole specimen.'


@dataclass(frozen=True, kw_only=True)
class Arguments(RegisterOptions):
    """A command line of `register`."""

    config: str = option(help="a MeshRegistrant's config, such as configs/register/scans.py", positional=True)
    scans: Sequence[str] = option(
        help='meshes (.obj, .ply, .stl, .off, .glb), or folders of them; NAME.landmarks.json beside a scan holds '
        'named points, {"name": [x, y, z]}, in its unit',
        metavar='FILE|DIR',
    )
    out: Path = option(help='folder for the results', metavar='DIR')
    no_progress: bool = option(False, 'show no progress bar')


@command(
    Arguments,
    'register',
    (
        f'{__doc__} Finds pose, place, scale, joint scales and shape, then moves vertices of the rest pose. The '
        'scan keeps its place and unit. Writes per scan registration.npz (parameters, vertices), registration.json '
        '(figures), registered.ply (the surface) and registration.jpg, and registrations.html of all. A scan that '
        'is registered the same way already is not registered again; one that cannot be is told of and skipped.'
    ),
    exit_codes(
        'all scans are registered',
        'done, but a scan failed or a registration is not believable (registrations.html says why)',
    ),
    stopped=STOPPED,
)
def main(options: Arguments) -> int:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.scans.register import register

    with progress_bar(not options.no_progress and sys.stderr.isatty()) as bar:
        inputs = (options.config, options.scans, options.out)
        done = register(*inputs, **keywords_of(options, RegisterOptions, progress=bar))
    return 0 if done is None else show(done, options.unit)


def show(done: 'RegistrationRun', unit: str | None) -> int:
    """Print what came out; gives the exit code."""
    if done.records:
        print_table(
            'distance between scan and registered surface, % of the extent',
            ('scan', f'extent, {unit or "unit"}', 'median', '95 %', 'body to scan', 'absent joints', 's'),
            [_row(name, record, name in done.skipped) for name, record in done.records.items()],
            text=('scan',),
            # Names of specimens are read whole: where the window is narrower, lines are wrapped by it.
            least_width=_OTHER_COLUMNS + max(map(len, done.records)),
        )
    for record in done.records.values():
        for sentence in record['warnings']:
            print(sentence)
    if done.failed:
        # Why was said when it happened, and stands on the page.
        print(f'not registered: {", ".join(done.failed)}')
    if done.skipped:
        print(f'{len(done.skipped)} were registered already.')
    print(f'page: {done.page}')
    if not done.records:
        return BAD_INPUT
    print(f'next: {measure_step(done.page.parent)}')
    doubted = any(record['doubts'] for record in done.records.values())
    return INCOMPLETE if done.failed or doubted else 0


def _row(name: str, record: Mapping[str, Any], is_old: bool) -> tuple[object, ...]:
    to_body, to_scan = record['distance_scan_to_body'], record['distance_body_to_scan']
    shares = (to_body['median_share'], to_body['percentile_95_share'], to_scan['median_share'])
    cells = [f'{record["scan_extent"]:.4g}', *(f'{100 * share:.2f}' for share in shares)]
    return name, *cells, len(record['absent']), None if is_old else f'{record["seconds"]["all"]:.0f}'
