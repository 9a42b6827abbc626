"""`calibrate`: find cameras by boards, or one camera against the others."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.command import add_import, add_traceback, run_command


def build_parser(prog: str | None = 'calibrate') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Calibrate cameras. Writes calibration.toml as anipose does, and a report; a calibration that is '
        'there is never replaced.',
    )
    ways = made.add_subparsers(dest='way', required=True, metavar='WAY')
    _add_camera(ways)
    return made


def _add_camera(ways: argparse._SubParsersAction) -> None:
    made = ways.add_parser(
        'camera',
        help='one camera against the others, which stay as they are',
        description='Calibrate one camera of a session against the others, which keep every bit, by the labelled '
        'points of the animal. The other cameras place the points; the camera is moved until it sees them '
        'where they are labelled. The report says how well it is known: a small animal in one place tells little '
        'of the focal length.',
    )
    made.add_argument(
        'session', type=Path, metavar='SESSION', help='folder with calibration.toml and a folder a camera'
    )
    made.add_argument('--camera', required=True, metavar='NAME', help='the camera to be calibrated')
    _add_out(made)
    made.add_argument(
        '--free',
        choices=('pose', 'focal', 'lens', 'all'),
        default='focal',
        help='what may change: pose (rotation and place), focal (and focal length), lens (and lens coefficients), '
        'all (and principal point) (default: focal)',
    )
    made.add_argument(
        '--points',
        choices=('placed', 'given'),
        default='placed',
        help="3D points: placed by the other cameras, or given by the session's points3d.h5, where those are known "
        'to be right (default: placed)',
    )
    made.add_argument(
        '--no-mates',
        action='store_true',
        help='expect no focal length and lens like those of cameras with the same image size',
    )
    made.add_argument(
        '--exclude-cameras', nargs='+', default=(), metavar='NAME', help='further cameras that take no part'
    )
    made.add_argument(
        '--unit', metavar='UNIT', help='world unit of the calibration, such as mm, where it does not say'
    )
    add_traceback(made)
    add_import(made)


def _add_out(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder for calibration.toml, report.html and figures.json',
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command: 0 done, 1 a bad input, 2 a bad command line."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.apis.calibrating import calibrate_camera

    done = calibrate_camera(
        arguments.session,
        arguments.camera,
        arguments.out,
        free=arguments.free,
        points=arguments.points,
        like_mates=not arguments.no_mates,
        unit=arguments.unit,
        exclude_cameras=tuple(arguments.exclude_cameras),
    )
    for sentence in done.sentences:
        print(sentence)
    print(f'calibration: {done.calibration}')
    print(f'report: {done.report}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
