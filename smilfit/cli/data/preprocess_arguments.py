"""Options of the preprocess command: what is kept of all formats, and what each kind of format takes."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.data.format_facts import (
    ReaderArgument,
    arguments_of_format,
    format_facts,
    parser_arguments,
    reader_arguments,
)
from smilfit.cli.parser import Keywords, add_options, both_spellings, given
from smilfit.options.fields import option
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.registry import SESSIONS

if TYPE_CHECKING:
    from smilfit.apis.preprocessing.data_source import DataSource

_LOOKUP = ('--keypoint-map', '--joint-lookup')


@dataclass(frozen=True, kw_only=True)
class OfAll:
    """What all formats take."""

    body_model: Path = option(
        help='body model (.smil.json, .pkl), or a shipped one: quadruped, insect', metavar='FILE|NAME'
    )
    unit: str | None = option(None, 'world unit where the data state none, such as mm', metavar='UNIT')
    dry_run: bool = option(False, 'say what would be done, write nothing')
    restart: bool = option(False, "throw a stopped run's partial file away")
    overwrite: bool = option(False, 'replace OUT.h5')
    quiet: bool = option(False, 'no progress bar, no table')


@dataclass(frozen=True)
class OfReaders:
    """What formats of sessions and images take."""

    keypoint_map: str | None = option(
        None,
        'model keypoint -> annotated keypoint: a .csv file (columns model,data) or, of images, a shipped map: '
        + ', '.join(format_facts()['keypoint_maps']),
        flag=_LOOKUP,
        metavar='NAME_OR_CSV',
    )


@dataclass(frozen=True)
class OfSessions:
    """What only sessions of several cameras take."""

    shape_betas: Path | None = option(None, 'known shapes (columns label,PC1,PC2,...)', metavar='CSV')
    partial_labels: bool = option(False, 'labels may end before their video')
    trim: bool = option(
        False,
        'use the frames that all cameras have where videos or labels differ by more than a few at the end (up to 5 '
        'and 5 % are trimmed in any case, and told)',
    )
    keep_tracks: bool = option(
        False,
        'of several animals, take the labels of each track as they are: where a tracker took one animal for another '
        'is not looked for',
    )


@dataclass(frozen=True)
class OfProjects:
    """How the files of a calibrated project are found."""

    calibration: Path | None = option(
        None,
        "the cameras' calibration, as anipose writes it; found in IN if not given",
        metavar='FILE.toml',
    )
    cam_regex: str | None = option(
        None,
        "pattern in the files' names whose first group is the camera's name; the calibration's names are looked for "
        'in them if not given',
        metavar='PATTERN',
    )
    scorer: str | None = option(
        None,
        'take only tables with this in their path, where several networks labelled the videos',
        metavar='TEXT',
    )


@dataclass(frozen=True)
class OfImages:
    """What only images take."""

    images: Path | None = option(
        None,
        'folder that image paths are relative to, or that the videos of a session are in; where the format itself '
        'says if not given',
        metavar='DIR',
    )
    allow_outside_images: bool = option(
        False,
        'read images and masks, too, that the annotations name outside that folder (by .., an absolute path or a '
        'link); without it they are left out and reported',
    )
    focal_px: float | None = option(
        None,
        'focal length of images without a known camera; guessed as 1.2 times the longer side if not given',
        low=0.0,
        above=True,
        unit='px',
    )
    category: str | None = option(None, 'take only the entries of this category', metavar='NAME')


@dataclass(frozen=True)
class SingleView:
    """What images of cameras of a session take."""

    single_view: bool = option(
        False, 'read each camera alone, also where IN is a calibrated session of several cameras'
    )


@dataclass(frozen=True)
class OfPoints:
    """What points in space take."""

    keypoint_map: Path | None = option(
        None,
        "model keypoint -> the file's keypoint (columns model,data)",
        flag=_LOOKUP,
        metavar='CSV',
    )
    skeleton: Path | None = option(
        None,
        "names of the keypoints where the file has none, as points3d.h5 and DANNCE's: a text file with a name a "
        'line, a .mat with joint_names, or labels (.slp); of points3d.h5 the labels beside it are looked at',
        metavar='FILE',
    )
    fps: float | None = option(
        None, 'frames a second, where the file does not say', low=0.0, above=True, metavar='F'
    )
    calibration: Path | None = option(
        None, 'calibration.toml of the cameras that placed the points', metavar='TOML'
    )
    image_size: tuple[int, int] | None = option(
        None,
        "size of the cameras' images, px, which Label3D does not store; guessed if not given",
        low=16,
        high=100_000,
        metavar=('WIDTH', 'HEIGHT'),
    )


@dataclass(frozen=True)
class OfSmilify:
    """What dataset files of SMILify take."""

    keypoint_map: str | None = option(
        None,
        "model keypoint -> joint of the file's model (columns model,data), where they are not the same",
        flag=_LOOKUP,
        metavar='CSV',
    )
    made_with: Path | None = option(
        None,
        'the body model that the files were made with, where it is not --body-model: its joints name the columns',
        metavar='FILE|NAME',
    )
    slp: Path | None = option(
        None,
        "the .slp of the recording's first camera, for files from before March 2026, whose labels SMILify put on "
        'other joints; with it --keypoint-map is the lookup of SLEAP nodes that the file was made with',
        metavar='FILE.slp',
    )
    allow_other_joints: bool = option(
        False, "take labels as they are although their 3D points have not the body's shape"
    )
    source_size: tuple[int, int] | None = option(
        None,
        'size of the images that the stored ones were cut from, px, where the file does not tell; it undoes the '
        "shift of (1 - s) / 2 px between SMILify's images and labels",
        low=16,
        high=20_000,
        metavar=('WIDTH', 'HEIGHT'),
    )
    focal_px: float | None = option(
        None,
        'focal length of single images in stored px; guessed as 1.2 times their side if not given',
        low=0.0,
        above=True,
        unit='px',
    )
    shape_betas: Path | None = option(None, 'known shapes (columns label,PC1,PC2,...)', metavar='CSV')


def options_of(arguments: argparse.Namespace) -> Keywords:
    """Gather the options of preprocessing that a command line offers; a format's default stands where it is None."""
    return {name: value for name, value in given(arguments, PreprocessOptions).items() if value is not None}


def source_of(arguments: argparse.Namespace, reader: type | None) -> 'DataSource':
    """Gather where the data come from and how they are read."""
    from smilfit.apis.preprocessing.data_source import DataSource

    names = {f.name for f in fields(DataSource)} - {'path', 'more_paths', 'reader'}
    stated = {name: value for name, value in vars(arguments).items() if name in names}
    own = {} if reader is None else read_reader_options(arguments, reader)
    path = arguments.annotations
    first, *more = path if isinstance(path, list) else [path]
    for size in ('source_size', 'image_size'):
        if stated.get(size) is not None:
            stated[size] = tuple(stated[size])
    return DataSource(path=first, more_paths=tuple(more), reader=own, **stated)


def add_reader_options(parser: argparse.ArgumentParser, reader: Mapping[str, ReaderArgument]) -> None:
    """Add one option for each argument of a reader's constructor, with its type, default and docstring.

    An argument whose name is taken by an option of the command becomes `--reader-<name>`.
    """
    for name, argument in reader.items():
        flag = f'--{name.replace("_", "-")}'
        flag = flag.replace('--', '--reader-', 1) if flag in parser._option_string_actions else flag
        action = parser.add_argument(flag, **parser_arguments(argument), dest=_dest(name))
        both_spellings(parser, action, [flag])


def read_reader_options(arguments: argparse.Namespace, reader: type) -> Keywords:
    """Gather a reader's constructor arguments from a command line."""
    values = {
        n: getattr(arguments, _dest(n)) for n in reader_arguments(reader) if hasattr(arguments, _dest(n))
    }
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}


def _dest(name: str) -> str:
    return f'reader_argument_{name}'


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


def _add_files(made: argparse.ArgumentParser, files: Keywords, out: tuple[str, str]) -> None:
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
    add_options(
        made, PreprocessOptions, without=() if rigs else _OF_RIGS, underscored=True, crop_mode=crop_mode
    )
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
    add_options(
        made,
        PreprocessOptions,
        without=[f.name for f in fields(PreprocessOptions) if f.name not in kept],
        underscored=True,
    )
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
    add_options(made, PreprocessOptions, without=settled, underscored=True, target_resolution=None)
    add_options(made, OfSmilify, underscored=True)
