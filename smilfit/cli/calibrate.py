"""`calibrate`: find cameras by boards, or one camera against the others."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.argument_types import int_from
from smilfit.cli.command import add_import, add_traceback, run_command

if TYPE_CHECKING:
    from smilfit.apis.calibrating import CalibrationRun
    from smilfit.calibration.boards import Board

_EXIT_CODES = (
    'Exit codes: 0 calibrated; 1 a bad input, and nothing is written; 2 a bad command line; 3 calibrated and '
    'written, but not to be trusted, for the reasons that are printed.'
)


def build_parser(prog: str | None = 'calibrate') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Calibrate cameras. Writes calibration.toml as anipose does, and a report; a calibration that is '
        'there is never replaced.',
        epilog=_EXIT_CODES,
    )
    ways = made.add_subparsers(dest='way', required=True, metavar='WAY')
    _add_boards(ways)
    _add_camera(ways)
    return made


def _add_boards(ways: argparse._SubParsersAction) -> None:
    made = ways.add_parser(
        'boards',
        help='all cameras by recordings of a board',
        description='Calibrate all cameras by recordings of a flat board with known squares, taken by all cameras at '
        'the same time: lenses, places, and a floor if asked. The world is in mm.',
        epilog=_EXIT_CODES,
    )
    made.add_argument(
        'folder',
        type=Path,
        metavar='FOLDER',
        help='holds a subfolder for each camera, called after it, with one video or with images; images of one '
        'moment have the same number at the end of their names',
    )
    _add_board(made)
    _add_out(made)
    made.add_argument(
        '--floor-frame',
        type=int_from(0),
        metavar='FRAME',
        help="number of a frame in which the board lies on the floor: the world's z = 0, z up, origin at the board's "
        "corner (without: the first camera's frame)",
    )
    made.add_argument(
        '--lens',
        type=int,
        choices=(1, 2, 5),
        default=2,
        help='lens coefficients: 1 (k1), 2 (k1, k2), 5 (k1, k2, p1, p2, k3) (default: 2)',
    )
    made.add_argument(
        '--middle', action='store_true', help="keep principal points in the images' middles, as anipose does"
    )
    made.add_argument(
        '--against', type=Path, metavar='FILE', help='a calibration.toml to compare with: scale and angles'
    )
    add_traceback(made)
    add_import(made)


def _add_board(made: argparse._ActionsContainer, required: bool = True) -> None:
    made.add_argument(
        '--board',
        choices=('charuco', 'chessboard', 'apriltag'),
        required=required,
        help='kind of board; apriltag is a grid of tags with white between',
    )
    made.add_argument(
        '--squares',
        type=_squares,
        required=required,
        metavar='COLUMNSxROWS',
        help='squares along and down, the outer ones too, such as 8x11; of apriltag the tags',
    )
    made.add_argument(
        '--square-mm',
        type=float,
        required=required,
        metavar='MM',
        help="side of a square, mm; of apriltag from one tag's edge to the next one's",
    )
    made.add_argument(
        '--marker-mm',
        type=float,
        metavar='MM',
        help='side of a marker inside its square, or of a tag, mm (default: 0.75, of apriltag 0.8 of --square-mm)',
    )
    made.add_argument(
        '--dictionary',
        metavar='NAME',
        help="OpenCV's name of the markers (default: 4X4_50 or as many as there are; APRILTAG_36H11)",
    )
    made.add_argument('--legacy', action='store_true', help='a charuco board printed by OpenCV before 4.6')
    made.add_argument(
        '--most-frames',
        type=int_from(1),
        default=300,
        metavar='N',
        help='frames to search in each video, evenly spread (default: 300)',
    )


def _squares(text: str) -> tuple[int, int]:
    columns, x, rows = text.lower().partition('x')
    if not (x and columns.isdigit() and rows.isdigit()):
        raise argparse.ArgumentTypeError(f'must be COLUMNSxROWS such as 8x11; got {text!r}')
    return int(columns), int(rows)


def _add_camera(ways: argparse._SubParsersAction) -> None:
    made = ways.add_parser(
        'camera',
        help='one camera against the others, which stay as they are',
        description='Calibrate one camera against the others, which keep every bit. By labels of the animal '
        '(--from keypoints): the other cameras place the points, and the camera is moved until it sees them where '
        'they are labelled; the report says how well it is known, for a small animal in one place tells little of '
        'the focal length. By recordings of a board (--from boards), which is better.',
        epilog=_EXIT_CODES,
    )
    made.add_argument(
        'session',
        type=Path,
        metavar='SESSION',
        help='folder with calibration.toml and labels of each camera, or a project; with --from boards the '
        'calibration.toml is enough',
    )
    made.add_argument('--camera', required=True, metavar='NAME', help='the camera to be calibrated')
    made.add_argument(
        '--from',
        dest='source',
        choices=('keypoints', 'boards'),
        default='keypoints',
        help='what it is calibrated by (default: keypoints)',
    )
    _add_out(made)
    made.add_argument(
        '--free',
        choices=('pose', 'focal', 'lens', 'all'),
        help='what may change: pose (rotation and place), focal (and focal length), lens (and lens coefficients), '
        'all (and principal point) (default: focal by keypoints, all by boards)',
    )
    made.add_argument(
        '--unit', metavar='UNIT', help='world unit of the calibration, such as mm, where it does not say'
    )
    labels = made.add_argument_group('by keypoints')
    labels.add_argument(
        '--format',
        choices=('sleap', 'anipose', 'dlc', 'lightningpose'),
        default='sleap',
        help='how the session is labelled (default: sleap, folders of cameras or a .slp of several)',
    )
    labels.add_argument(
        '--points',
        choices=('placed', 'given'),
        default='placed',
        help="3D points: placed by the other cameras, or given by the session's own, where those are known to be "
        'right (default: placed)',
    )
    labels.add_argument(
        '--no-mates',
        action='store_true',
        help='expect no focal length and lens like those of cameras with the same image size',
    )
    labels.add_argument(
        '--exclude-cameras', nargs='+', default=(), metavar='NAME', help='further cameras that take no part'
    )
    boards = made.add_argument_group('by boards')
    boards.add_argument(
        '--recordings',
        type=Path,
        metavar='FOLDER',
        help='holds a subfolder for the camera and for others that see the board with it, as for calibrate boards',
    )
    _add_board(boards, required=False)
    made.set_defaults(complain=made.error)
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
    """Run the command: 0 done, 1 a bad input, 2 a bad command line, 3 done but not to be trusted."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    done = _boards(arguments) if arguments.way == 'boards' else _camera(arguments)
    for sentence in done.sentences:
        print(sentence)
    for doubt in done.doubts:
        print(f'not to be trusted: {doubt}')
    print(f'calibration: {done.calibration}')
    print(f'report: {done.report}')
    return 3 if done.doubts else 0


def _boards(arguments: argparse.Namespace) -> 'CalibrationRun':
    from smilfit.apis.calibrating import calibrate_boards

    return calibrate_boards(
        arguments.folder,
        _board_of(arguments),
        arguments.out,
        n_lens=arguments.lens,
        floor_frame=arguments.floor_frame,
        free_centre=not arguments.middle,
        most_frames=arguments.most_frames,
        against=arguments.against,
        on_camera=_tell_camera,
    )


def _camera(arguments: argparse.Namespace) -> 'CalibrationRun':
    from smilfit.apis.calibrating import calibrate_camera, calibrate_camera_by_boards

    if arguments.source == 'boards':
        needed = ('recordings', 'board', 'squares', 'square_mm')
        missing = [f'--{name.replace("_", "-")}' for name in needed if getattr(arguments, name) is None]
        if missing:
            arguments.complain(f'--from boards needs {", ".join(missing)} too')
        return calibrate_camera_by_boards(
            arguments.session,
            arguments.recordings,
            _board_of(arguments),
            arguments.camera,
            arguments.out,
            free=arguments.free or 'all',
            most_frames=arguments.most_frames,
            unit=arguments.unit,
            on_camera=_tell_camera,
        )
    return calibrate_camera(
        arguments.session,
        arguments.camera,
        arguments.out,
        free=arguments.free or 'focal',
        points=arguments.points,
        like_mates=not arguments.no_mates,
        unit=arguments.unit,
        exclude_cameras=tuple(arguments.exclude_cameras),
        format=arguments.format,
    )


def _board_of(arguments: argparse.Namespace) -> 'Board':
    from smilfit.calibration.boards import Board

    return Board(
        arguments.board,
        *arguments.squares,
        arguments.square_mm,
        marker_mm=arguments.marker_mm,
        dictionary=arguments.dictionary,
        legacy=arguments.legacy,
    )


def _tell_camera(name: str, found: int, searched: int) -> None:
    print(f'{name}: the board in {found} of {searched} images', flush=True)


if __name__ == '__main__':
    sys.exit(main())
