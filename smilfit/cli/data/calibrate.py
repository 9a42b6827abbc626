"""`calibrate`: find cameras by boards, or one camera against the others."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.calibrate_options import LabelRepairOptions, RigOptions
from smilfit.cli.command import INCOMPLETE, exit_codes, run_command
from smilfit.cli.parser import add_options, given
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.cameras.boards import Board
    from smilfit.cameras.calibrate import CalibrationRun

_EXIT_CODES = exit_codes(
    'calibrated',
    'calibrated and written, but not to be trusted, for the reasons that are printed',
    failed='a bad input, and nothing is written',
)


_OUT = {'help': 'folder for calibration.toml, report.html and figures.json', 'metavar': 'DIR'}


@dataclass(frozen=True, kw_only=True)
class BoardShown:
    """What the board is."""

    board: str = option(
        help='kind of board; apriltag is a grid of tags with white between',
        choices=('charuco', 'chessboard', 'apriltag'),
    )
    squares: tuple[int, int] = option(
        help='squares along and down, the outer ones too, such as 8x11; of apriltag the tags',
        kind='squares',
        metavar='COLUMNSxROWS',
    )
    square_mm: float = option(
        help="side of a square, mm; of apriltag from one tag's edge to the next one's", metavar='MM'
    )
    marker_mm: float | None = option(
        None,
        'side of a marker inside its square, or of a tag, mm (default: 0.75, of apriltag 0.8 of --square-mm)',
        metavar='MM',
    )
    dictionary: str | None = option(
        None,
        "OpenCV's name of the markers (default: 4X4_50 or as many as there are; APRILTAG_36H11)",
        metavar='NAME',
    )
    legacy: bool = option(False, 'a charuco board printed by OpenCV before 4.6')


@dataclass(frozen=True, kw_only=True)
class Boards(RigOptions, BoardShown):
    """A command line of `boards`."""

    folder: Path = option(
        help='holds a subfolder for each camera, called after it, with one video or with images; images of one '
        'moment have the same number at the end of their names',
        positional=True,
        metavar='FOLDER',
    )
    out: Path = option(**_OUT)


@dataclass(frozen=True, kw_only=True)
class Camera(LabelRepairOptions):
    """A command line of `camera`."""

    session: Path = option(
        help='folder with calibration.toml and labels of each camera, or a project; with --from boards the '
        'calibration.toml is enough',
        positional=True,
        metavar='SESSION',
    )
    camera: str = option(help='the camera to be calibrated', metavar='NAME')
    source: str = option(
        'keypoints', 'what it is calibrated by', flag='--from', choices=('keypoints', 'boards')
    )
    out: Path = option(**_OUT)


@dataclass(frozen=True, kw_only=True)
class Recordings(BoardShown):
    """What a command line of `camera` has of boards."""

    recordings: Path = option(
        help='holds a subfolder for the camera and for others that see the board with it, as for calibrate boards',
        metavar='FOLDER',
    )
    most_frames: int = option(300, 'frames to search in each video, evenly spread', low=1, metavar='N')


def build_parser(prog: str | None = 'calibrate') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Calibrate cameras. Writes calibration.toml as anipose does, and a report; a calibration that is '
        'there is never replaced.',
        epilog=_EXIT_CODES,
    )
    ways = made.add_subparsers(dest='way', required=True, metavar='WAY')
    boards = ways.add_parser(
        'boards',
        help='all cameras by recordings of a board',
        description='Calibrate all cameras by recordings of a flat board with known squares, taken by all cameras at '
        'the same time: lenses, places, and a floor if asked. The world is in mm.',
        epilog=_EXIT_CODES,
    )
    add_options(boards, Boards, imports=True)
    camera = ways.add_parser(
        'camera',
        help='one camera against the others, which stay as they are',
        description='Calibrate one camera against the others, which keep every bit. By labels of the animal '
        '(--from keypoints): the other cameras place the points, and the camera is moved until it sees them where '
        'they are labelled; the report says how well it is known, for a small animal in one place tells little of '
        'the focal length. By recordings of a board (--from boards), which is better.',
        epilog=_EXIT_CODES,
    )
    add_options(camera, Camera)
    add_options(camera, Recordings, required=False, heading='by boards', imports=True)
    camera.set_defaults(complain=camera.error)
    return made


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
    return INCOMPLETE if done.doubts else 0


def _boards(arguments: argparse.Namespace) -> 'CalibrationRun':
    from smilfit.cameras.calibrate import calibrate_boards

    return calibrate_boards(
        arguments.folder,
        _board_of(arguments),
        arguments.out,
        **given(arguments, RigOptions),
        on_camera=_print_camera,
    )


def _camera(arguments: argparse.Namespace) -> 'CalibrationRun':
    from smilfit.cameras.calibrate import calibrate_camera, calibrate_camera_by_boards

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
            on_camera=_print_camera,
        )
    options = given(arguments, LabelRepairOptions) | {'free': arguments.free or 'focal'}
    return calibrate_camera(arguments.session, arguments.camera, arguments.out, **options)


def _board_of(arguments: argparse.Namespace) -> 'Board':
    from smilfit.cameras.boards import Board

    columns, rows = arguments.squares
    return Board(
        arguments.board,
        columns,
        rows,
        arguments.square_mm,
        marker_mm=arguments.marker_mm,
        dictionary=arguments.dictionary,
        legacy=arguments.legacy,
    )


def _print_camera(name: str, n_shown: int, searched: int) -> None:
    print(f'{name}: the board in {n_shown} of {searched} images', flush=True)
