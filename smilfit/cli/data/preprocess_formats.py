"""Options of each format of the preprocess command, added when a format is asked for: its reader names them."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from smilfit.cli.data.format_facts import arguments_of_format, format_facts
from smilfit.cli.data.preprocess_options import (
    Kept,
    OfAll,
    OfImages,
    OfPoints,
    OfProjects,
    OfReaders,
    OfSessions,
    OfSmilify,
    SingleView,
    add_reader_options,
)
from smilfit.cli.parser import add_options
from smilfit.registry import SESSIONS

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


# What concerns rigs of several cameras only.
_OF_RIGS = (
    'min_views',
    'unlabelled',
    'retriangulate',
    'use_reprojections',
    'exclude_cameras',
    'allow_inconsistent_cameras',
)


def add_format(made: argparse.ArgumentParser, name: str, summary: str, out: tuple[str, str]) -> None:
    """Describe a format's subcommand.

    Args:
        made: the subcommand's parser.
        name: of the format.
        summary: of the format, in a line.
        out: how the command's result is called, and what that is.
    """
    if name == 'smilify':
        _add_smilify(made, out)
    elif name == 'points3d':
        _add_points(made, out)
    else:
        _add_reader(made, name, summary, out)


def _add_files(made: argparse.ArgumentParser, files: dict[str, Any], out: tuple[str, str]) -> None:
    made.add_argument('annotations', type=Path, **files)
    made.add_argument('out', type=Path, metavar=out[0], help=out[1])
    add_options(made, OfAll, underscored=True)


def _add_reader(made: argparse.ArgumentParser, name: str, summary: str, out: tuple[str, str]) -> None:
    about = f'Make a dataset file from {summary}. ' if name == _SLEAP else f'{summary} '
    about += _SESSIONS.get(name, '')
    made.description = about + _GOES_ON
    _add_files(made, {'metavar': 'IN', 'help': 'the annotations: a file, or a folder'}, out)
    own = {getattr(kind, 'format', '') for kind in SESSIONS.module_dict.values()}
    rigs = name in own or name in format_facts()['session_formats']
    # Sessions and images have other defaults: None says that none was chosen.
    crop_mode = None if rigs else 'bbox_crop'
    add_options(made, Kept, without=() if rigs else _OF_RIGS, underscored=True, crop_mode=crop_mode)
    add_options(made, OfReaders, underscored=True)
    reader = arguments_of_format(name)
    # A reader's own options go before ours.
    taken = tuple(reader or ())
    if rigs:
        add_options(made, OfSessions, underscored=True)
        if name != _SLEAP:
            add_options(made, OfProjects, without=taken, underscored=True)
    if reader is not None:
        add_options(made, OfImages, without=taken, underscored=True)
        add_reader_options(made, reader)
        if rigs:
            add_options(made, SingleView, underscored=True)


def _add_points(made: argparse.ArgumentParser, out: tuple[str, str]) -> None:
    made.description = (
        'Make a dataset file from points in space that another tool placed, without images: points3d.h5 of '
        "sleap-anipose, anipose's 3D csv, DANNCE's .mat (Label3D's labels with their cameras and what these saw, or "
        'predictions), ndx-pose in NWB, csv (NAME_x, NAME_y, NAME_z by frame, or a row a point) and npz (xyz, names, '
        'confidence). A file of several animals becomes a session each. The dataset can be fitted '
        '(configs/fit/points3d_lm.py) and not trained on.'
    )
    _add_files(made, {'nargs': '+', 'metavar': 'FILE', 'help': '.h5, .csv, .mat, .nwb or .npz'}, out)
    kept = ('max_frames_per_session', 'frame_skip', 'confidence_threshold', 'allow_inconsistent_cameras')
    add_options(made, Kept, without=[f.name for f in fields(Kept) if f.name not in kept], underscored=True)
    add_options(made, OfPoints, underscored=True)


def _add_smilify(made: argparse.ArgumentParser, out: tuple[str, str]) -> None:
    made.description = (
        "Import SMILify's dataset files (several views, single images, merged) into one of this project. Images "
        'stay as they are; cameras, labels and worlds are put right and checked like those of a recording. A run '
        'that was stopped goes on where it was when the same command is given again.'
    )
    _add_files(made, {'nargs': '+', 'metavar': 'FILE.h5', 'help': "SMILify's files"}, out)
    # What such files have settled.
    settled = ('crop_mode', 'bbox_margin', 'no_undistort', 'use_reprojections', 'num_workers')
    add_options(made, Kept, without=settled, underscored=True, target_resolution=None)
    add_options(made, OfSmilify, underscored=True)
