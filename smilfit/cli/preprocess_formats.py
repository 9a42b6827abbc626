"""Options of each format of the preprocess command, added when a format is asked for: its reader names them."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from smilfit.cli.format_facts import ReaderArgument, arguments_of_format, format_facts
from smilfit.cli.preprocess_options import (
    RIG_OPTIONS,
    add_common,
    add_image_options,
    add_option,
    add_project_options,
    add_reader_options,
    add_session_options,
)
from smilfit.cli.preprocess_points import add_points3d
from smilfit.cli.preprocess_smilify import add_smilify
from smilfit.registry import SESSIONS

# Formats that are described by themselves.
_OWN = {'smilify': add_smilify, 'points3d': add_points3d}
_SLEAP = 'sleap'
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


def add_format(made: argparse.ArgumentParser, name: str, summary: str, out: tuple[str, str]) -> None:
    """Describe a format's subcommand.

    Args:
        made: the subcommand's parser.
        name: of the format.
        summary: of the format, in a line.
        out: how the command's result is called, and what that is.
    """
    if name in _OWN:
        _OWN[name](made, out)
    else:
        _add_reader(made, name, summary, arguments_of_format(name), out)


def _add_reader(
    made: argparse.ArgumentParser,
    name: str,
    summary: str,
    reader: Mapping[str, ReaderArgument] | None,
    out: tuple[str, str],
) -> None:
    about = f'Make a dataset file from {summary}. ' if name == _SLEAP else f'{summary} '
    about += _SESSIONS.get(name, '')
    made.description = about + _GOES_ON
    made.add_argument('annotations', type=Path, metavar='IN', help='the annotations: a file, or a folder')
    made.add_argument('out', type=Path, metavar=out[0], help=out[1])
    own = {getattr(kind, 'format', '') for kind in SESSIONS.module_dict.values()}
    rigs = name in own or name in format_facts()['session_formats']
    # Sessions and images have other defaults: None says that none was chosen.
    crop_mode = {'crop_mode': None} if rigs else {'crop_mode': 'bbox_crop'}
    add_common(made, without=() if rigs else RIG_OPTIONS, **crop_mode)
    add_option(
        made,
        'keypoint_map',
        'joint_lookup',
        metavar='NAME_OR_CSV',
        help='model keypoint -> annotated keypoint: a .csv file (columns model,data) or, of images, a shipped map: '
        + ', '.join(format_facts()['keypoint_maps']),
    )
    if rigs:
        add_session_options(made)
        if name != _SLEAP:
            add_project_options(made, reader)
    if reader is not None:
        add_image_options(made, reader)
        add_reader_options(made, reader)
        if rigs:
            help_text = 'read each camera alone, also where IN is a calibrated session of several cameras'
            add_option(made, 'single_view', action='store_true', help=help_text)
