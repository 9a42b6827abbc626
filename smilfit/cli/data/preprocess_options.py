"""Options of the preprocess command: what is kept of all formats, and what each kind of format takes."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilfit.apis.options import CROP_MODES, option
from smilfit.cli.data.format_facts import ReaderArgument, format_facts, parser_arguments, reader_arguments
from smilfit.cli.parser import both_spellings, given

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
class Kept:
    """What is kept, and how images are stored: `PreprocessOptions`, whose module would bring torch with it."""

    max_frames_per_session: int | None = option(
        None, 'frames (or images) to take of each session at most; all if not given', low=1
    )
    frame_skip: int = option(1, 'take every n-th of the frames that can be used', low=1)
    unlabelled: int = option(
        0,
        'so many further frames of each session, without keypoints, for train --pseudo-labels',
        low=0,
        metavar='N',
    )
    min_views: int = option(2, 'cameras that must see a keypoint for a frame to count', low=1)
    crop_mode: str = option(
        'default',
        'default: the whole image made square; centred: its central square; bbox_crop: a square around the animal '
        '(its annotated box, else its mask, else its keypoints)',
        choices=CROP_MODES,
    )
    bbox_margin: float = option(1.05, "side of bbox_crop's square over the box", low=1.0, high=100.0)
    target_resolution: int = option(224, 'side of the stored images, px', low=16, high=8192)
    no_3d_data: bool = option(False, 'store no 3D keypoints')
    retriangulate: bool = option(False, 'triangulate 3D keypoints although points3d.h5 is there')
    no_undistort: bool = option(False, 'store images as the lens made them')
    confidence_threshold: float | None = option(
        None,
        "labels of a smaller score (0 to 1) count as missing (default: what the labels' kind of score asks for: 0.2 "
        "for SLEAP's peaks, 0 for files with 'proofread' in the name, 0.6 for likelihoods in DeepLabCut's tables, "
        "0.5 elsewhere; a person's labels always count)",
        low=0.0,
        high=1.0,
    )
    use_reprojections: bool = option(False, 'take 2D keypoints from reprojections.h5')
    num_workers: int = option(
        1, 'threads that cut and encode images while others are decoded', low=0, high=256
    )
    exclude_cameras: tuple[str, ...] = option((), 'cameras to leave out', metavar='NAME')
    allow_inconsistent_cameras: tuple[str, ...] = option(
        (), 'cameras to keep although they contradict the others', metavar='NAME'
    )
    n_animals: int | None = option(
        None,
        'animals that an image shows where all are in it (default: the most that are labelled in one); images in '
        'which fewer are labelled say nothing of where the others are',
        low=1,
    )
    jpeg_quality: int = option(95, 'quality of the stored images', low=1, high=100)


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


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Gather the options of preprocessing that a command line offers; a format's default stands where it is None."""
    return {name: value for name, value in given(arguments, Kept).items() if value is not None}


def source_of(arguments: argparse.Namespace, reader: type | None) -> 'DataSource':
    """Gather where the data come from and how they are read."""
    from smilfit.apis.preprocessing.data_source import DataSource

    names = {f.name for f in fields(DataSource)} - {'path', 'more_paths', 'reader'}
    said = {name: value for name, value in vars(arguments).items() if name in names}
    own = {} if reader is None else read_reader_options(arguments, reader)
    path = arguments.annotations
    first, *more = path if isinstance(path, list) else [path]
    for size in ('source_size', 'image_size'):
        if said.get(size) is not None:
            said[size] = tuple(said[size])
    return DataSource(path=first, more_paths=tuple(more), reader=own, **said)


def add_reader_options(parser: argparse.ArgumentParser, reader: Mapping[str, ReaderArgument]) -> None:
    """Add one option for each argument of a reader's constructor, with its type, default and docstring.

    An argument whose name is taken by an option of the command becomes `--reader-<name>`.
    """
    for name, argument in reader.items():
        flag = f'--{name.replace("_", "-")}'
        flag = flag.replace('--', '--reader-', 1) if flag in parser._option_string_actions else flag
        action = parser.add_argument(flag, **parser_arguments(argument), dest=_dest(name))
        both_spellings(parser, action, [flag])


def read_reader_options(arguments: argparse.Namespace, reader: type) -> dict[str, Any]:
    """Gather a reader's constructor arguments from a command line."""
    values = {
        n: getattr(arguments, _dest(n)) for n in reader_arguments(reader) if hasattr(arguments, _dest(n))
    }
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}


def _dest(name: str) -> str:
    return f'reader_argument_{name}'
