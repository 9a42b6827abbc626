"""Make a dataset file from recorded sessions, annotated images or dataset files of SMILify."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from smilfit.apis.data_source import (
    POINTS3D,
    SLEAP,
    SMILIFY,
    DataSource,
    annotation_readers,
    session_formats,
)
from smilfit.apis.preprocessing import PreprocessRun, plan_preprocess, preprocess
from smilfit.cli.command import add_import, add_traceback, run_command
from smilfit.cli.preprocess_options import (
    RIG_OPTIONS,
    add_common,
    add_image_options,
    add_option,
    add_project_options,
    add_reader_options,
    add_session_options,
    options_of,
    source_of,
)
from smilfit.cli.preprocess_points import add_points3d
from smilfit.cli.preprocess_smilify import add_smilify
from smilfit.cli.preprocess_tables import print_findings, print_left_out, print_report
from smilfit.cli.progress_bar import progress_bar
from smilfit.io import available_keypoint_maps

# Formats that describe their own subcommand.
_OWN = {SMILIFY: add_smilify, POINTS3D: add_points3d}
# Done, but entries were left out.
LEFT_OUT = 3
_GOES_ON = 'A run that was stopped goes on where it was when the same command is given again.'
# What a session of several cameras is in each format; others are described by their readers.
_SESSIONS = {
    'sleap': 'A session is a folder with calibration.toml and one folder a camera, each with labels (.slp or '
    'analysis .h5) and a video; or a .slp with a RecordingSession (several cameras, calibrated, in one file). ',
    'anipose': 'A calibrated project (config.toml, videos-raw, pose-2d or pose-2d-filtered, '
    'calibration/calibration.toml), or a part of it, gives a session of several cameras for every trial. ',
    'dlc': 'A folder with videos of several cameras, their predictions (VIDEO + DLC... .h5 or .csv) and a '
    "calibration.toml of anipose's, whose cameras' names are in the files' names, gives a session for every trial. ",
    'lightningpose': 'A data folder with videos/SESSION_VIEW.mp4, predictions of each view (a model, or an ensemble '
    'smoothed by EKS) and calibrations/SESSION.toml or calibration.toml gives a session for every SESSION. ',
}


def build_parser(
    prog: str = 'preprocess',
    about: str | None = __doc__,
    out: tuple[str, str] = ('OUT.h5', 'the dataset file to make'),
    extend: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> argparse.ArgumentParser:
    """Describe the command line: a subcommand a format.

    Args:
        prog: the command's name.
        about: what it does.
        out: how its result is called, and what that is.
        extend: adds options of another command that preprocesses first.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=about,
        epilog='Exit codes: 0 all went well; 1 nothing could be done; 2 a bad command line; 3 done, but entries were '
        'left out, each reported with file and entry in OUT.h5.report.json.',
    )
    add_import(parser)
    formats = parser.add_subparsers(dest='format', required=True, metavar='FORMAT')
    readers = annotation_readers()
    for name in sorted({SLEAP, *_OWN, *readers}):
        made = (
            _OWN[name](formats, out) if name in _OWN else _add_format(formats, name, readers.get(name), out)
        )
        extend(made)
        add_traceback(made)
        add_import(made)
    return parser


def _add_format(
    formats: argparse._SubParsersAction, name: str, reader: type | None, out: tuple[str, str]
) -> argparse.ArgumentParser:
    summary = '' if reader is None else (reader.__doc__ or '').strip().splitlines()[0]
    if name == SLEAP:
        single = '' if reader is None else ' or single views'
        summary = f'multi-camera sessions calibrated with anipose{single}, labelled with SLEAP'
    about = f'Make a dataset file from {summary}. ' if name == SLEAP else f'{summary} '
    about += _SESSIONS.get(name, '')
    about = (about + _GOES_ON).replace('%', '%%')
    made = formats.add_parser(name, help=summary.replace('%', '%%'), description=about)
    made.add_argument('annotations', type=Path, metavar='IN', help='the annotations: a file, or a folder')
    made.add_argument('out', type=Path, metavar=out[0], help=out[1])
    rigs = name in session_formats()
    # Sessions and images have other defaults: None says that none was chosen.
    crop_mode = {'crop_mode': None} if rigs else {'crop_mode': 'bbox_crop'}
    add_common(made, without=() if rigs else RIG_OPTIONS, **crop_mode)
    add_option(
        made,
        'keypoint_map',
        'joint_lookup',
        metavar='NAME_OR_CSV',
        help='model keypoint -> annotated keypoint: a .csv file (columns model,data) or, of images, a shipped map: '
        + ', '.join(available_keypoint_maps()),
    )
    if rigs:
        add_session_options(made)
        if name != SLEAP:
            add_project_options(made, reader)
    if reader is not None:
        add_image_options(made, reader)
        add_reader_options(made, reader)
        if rigs:
            help_text = 'read each camera alone, also where IN is a calibrated session of several cameras'
            add_option(made, 'single_view', action='store_true', help=help_text)
    return made


def main(argv: Sequence[str] | None = None, prog: str = 'preprocess') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog, 'Stopped. The same command goes on where it was.')


def _run(arguments: argparse.Namespace) -> int:
    source = source_of(arguments, annotation_readers().get(arguments.format))
    if arguments.dry_run:
        return show_plan(source, arguments.out, arguments)
    with progress_bar(not arguments.quiet and Console().is_terminal) as progress:
        done = preprocess(
            source,
            arguments.out,
            arguments.body_model,
            options_of(arguments),
            restart=arguments.restart,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    return show_run(done, arguments)


def show_plan(source: DataSource, out: Path, arguments: argparse.Namespace) -> int:
    """Print what would be done; gives the exit code."""
    console = Console()
    plan = plan_preprocess(source, out, arguments.body_model, options_of(arguments))
    print_findings(console, plan.plans, plan.body)
    print_left_out(console, plan.left_out, None)
    return LEFT_OUT if plan.left_out else 0


def show_run(done: PreprocessRun, arguments: argparse.Namespace) -> int:
    """Print what came out; gives the exit code."""
    if not arguments.quiet:
        console = Console()
        print_report(console, done.report)
        print_left_out(console, done.left_out, done.path)
        console.print(f'{done.path}', highlight=False, soft_wrap=True)
    return LEFT_OUT if done.left_out else 0


if __name__ == '__main__':
    sys.exit(main())
