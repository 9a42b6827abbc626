"""Options of the preprocess command: what is kept of all formats, and what each reader of annotations takes."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilfit.cli.argument_types import float_from, int_from, not_negative_int, positive_float, positive_int
from smilfit.cli.format_facts import ReaderArgument, format_facts, parser_arguments, reader_arguments

if TYPE_CHECKING:
    from smilfit.apis.data_source import DataSource

# What concerns rigs of several cameras only.
RIG_OPTIONS = (
    'min_views',
    'unlabelled',
    'retriangulate',
    'use_reprojections',
    'exclude_cameras',
    'allow_inconsistent_cameras',
)

# Option of PreprocessOptions -> argparse's arguments; the help gains the default.
_OPTIONS: dict[str, dict[str, Any]] = {
    'max_frames_per_session': {
        'type': positive_int,
        'help': 'frames (or images) to take of each session at most; all if not given',
    },
    'frame_skip': {'type': positive_int, 'help': 'take every n-th of the frames that can be used'},
    'unlabelled': {
        'type': not_negative_int,
        'metavar': 'N',
        'help': 'so many further frames of each session, without keypoints, for train --pseudo-labels',
    },
    'min_views': {'type': positive_int, 'help': 'cameras that must see a keypoint for a frame to count'},
    'crop_mode': {
        'choices': tuple(format_facts()['crop_modes']),
        'help': 'default: the whole image made square; centred: its central square; bbox_crop: a square '
        'around the animal (its annotated box, else its mask, else its keypoints)',
    },
    'bbox_margin': {'type': float_from(1.0, 100.0), 'help': "side of bbox_crop's square over the box"},
    'target_resolution': {'type': int_from(16, 8192), 'help': 'side of the stored images, px'},
    'no_3d_data': {'action': 'store_true', 'help': 'store no 3D keypoints'},
    'retriangulate': {
        'action': 'store_true',
        'help': 'triangulate 3D keypoints although points3d.h5 is there',
    },
    'no_undistort': {'action': 'store_true', 'help': 'store images as the lens made them'},
    'confidence_threshold': {
        'type': float_from(0.0, 1.0),
        'help': "labels of a smaller score (0 to 1) count as missing (default: what the labels' kind of score asks "
        "for: 0.2 for SLEAP's peaks, 0 for files with 'proofread' in the name, 0.6 for likelihoods in DeepLabCut's "
        "tables, 0.5 elsewhere; a person's labels always count)",
    },
    'use_reprojections': {'action': 'store_true', 'help': 'take 2D keypoints from reprojections.h5'},
    'num_workers': {
        'type': int_from(0, 256),
        'help': 'threads that cut and encode images while others are decoded',
    },
    'exclude_cameras': {'nargs': '+', 'metavar': 'NAME', 'help': 'cameras to leave out'},
    'allow_inconsistent_cameras': {
        'nargs': '+',
        'metavar': 'NAME',
        'help': 'cameras to keep although they contradict the others',
    },
    'n_animals': {
        'type': positive_int,
        'help': 'animals that an image shows where all are in it (default: the most that are labelled in one); '
        'images in which fewer are labelled say nothing of where the others are',
    },
    'jpeg_quality': {'type': int_from(1, 100), 'help': 'quality of the stored images, 1 to 100'},
}


def add_option(parser: argparse.ArgumentParser, name: str, *aliases: str, **arguments: Any) -> None:
    """Add an option in both spellings, `--like-this` and, not shown by `--help`, `--like_this`."""
    hyphened = [f'--{n.replace("_", "-")}' for n in (name, *aliases)]
    action = parser.add_argument(*hyphened, **{'dest': name} | arguments)
    # argparse has no word for a spelling that is taken and not shown.
    parser._option_string_actions.update({f'--{n}': action for n in (name, *aliases)})


def add_common(parser: argparse.ArgumentParser, without: Sequence[str] = (), **defaults: Any) -> None:
    """Add what all formats share; `defaults` replace those of PreprocessOptions."""
    add_option(
        parser,
        'body_model',
        type=Path,
        required=True,
        metavar='FILE|NAME',
        help='body model (.smil.json, .pkl), or a shipped one: quadruped, insect',
    )
    add_option(parser, 'unit', metavar='UNIT', help='world unit where the data state none, such as mm')
    # JSON has lists for tuples; an option that was not given stays a tuple.
    usual = {n: tuple(v) if isinstance(v, list) else v for n, v in format_facts()['defaults'].items()}
    for name, arguments in _OPTIONS.items():
        if name in without:
            continue
        default = defaults.get(name, usual[name])
        shown = '' if default in (None, (), False) else f' (default: {default})'
        add_option(parser, name, default=default, **(arguments | {'help': arguments['help'] + shown}))
    add_option(parser, 'dry_run', action='store_true', help='say what would be done, write nothing')
    add_option(parser, 'restart', action='store_true', help="throw a stopped run's partial file away")
    add_option(parser, 'overwrite', action='store_true', help='replace OUT.h5')
    add_option(parser, 'quiet', action='store_true', help='no progress bar, no table')


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Gather the options of preprocessing that a command line offers; a format's default stands where it is None."""
    from smilfit.datasets import PreprocessOptions

    names = {f.name for f in fields(PreprocessOptions)}
    return {name: value for name, value in vars(arguments).items() if name in names and value is not None}


def source_of(arguments: argparse.Namespace, reader: type | None) -> 'DataSource':
    """Gather where the data come from and how they are read."""
    from smilfit.apis.data_source import DataSource

    names = {f.name for f in fields(DataSource)} - {'path', 'more_paths', 'reader'}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    own = {} if reader is None else read_reader_options(arguments, reader)
    path = arguments.annotations
    first, *more = path if isinstance(path, list) else [path]
    for size in ('source_size', 'image_size'):
        if given.get(size) is not None:
            given[size] = tuple(given[size])
    return DataSource(path=first, more_paths=tuple(more), reader=own, **given)


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add what only sessions of several cameras take."""
    add_option(
        parser, 'shape_betas', type=Path, metavar='CSV', help='known shapes (columns label,PC1,PC2,...)'
    )
    add_option(parser, 'partial_labels', action='store_true', help='labels may end before their video')
    add_option(
        parser,
        'trim',
        action='store_true',
        help='use the frames that all cameras have where videos or labels differ by more than a few at the end (up '
        'to 5 and 5 %% are trimmed in any case, and told)',
    )
    add_option(
        parser,
        'keep_tracks',
        action='store_true',
        help='of several animals, take the labels of each track as they are: where a tracker took one animal for '
        'another is not looked for',
    )


def add_project_options(parser: argparse.ArgumentParser, reader: Mapping[str, ReaderArgument] | None) -> None:
    """Add how the files of a calibrated project are found; a reader's own options go before ours."""
    add_option(
        parser,
        'calibration',
        type=Path,
        metavar='FILE.toml',
        help="the cameras' calibration, as anipose writes it; found in IN if not given",
    )
    if 'cam_regex' not in (reader or {}):
        add_option(
            parser,
            'cam_regex',
            metavar='PATTERN',
            help="pattern in the files' names whose first group is the camera's name; the calibration's names are "
            'looked for in them if not given',
        )
    add_option(
        parser,
        'scorer',
        metavar='TEXT',
        help='take only tables with this in their path, where several networks labelled the videos',
    )


def add_image_options(parser: argparse.ArgumentParser, reader: Mapping[str, ReaderArgument]) -> None:
    """Add what only images take; a reader's own `category` goes before ours."""
    add_option(
        parser,
        'images',
        type=Path,
        metavar='DIR',
        help='folder that image paths are relative to, or that the videos of a session are in; where the format '
        'itself says if not given',
    )
    add_option(
        parser,
        'allow_outside_images',
        action='store_true',
        help='read images and masks, too, that the annotations name outside that folder (by .., an absolute '
        'path or a link); without it they are left out and reported',
    )
    add_option(
        parser,
        'focal_px',
        type=positive_float,
        metavar='PX',
        help='focal length of images without a known camera; guessed as 1.2 times the longer side if not given',
    )
    if 'category' not in reader:
        add_option(parser, 'category', metavar='NAME', help='take only the entries of this category')


def add_reader_options(parser: argparse.ArgumentParser, reader: Mapping[str, ReaderArgument]) -> None:
    """Add one option for each argument of a reader's constructor, with its type, default and docstring.

    An argument whose name is taken by an option of the command becomes `--reader-<name>`.
    """
    for name, argument in reader.items():
        taken = f'--{name.replace("_", "-")}' in parser._option_string_actions
        spelled = f'reader_{name}' if taken else name
        add_option(parser, spelled, **parser_arguments(argument), dest=_dest(name))


def read_reader_options(arguments: argparse.Namespace, reader: type) -> dict[str, Any]:
    """Gather a reader's constructor arguments from a command line."""
    values = {
        n: getattr(arguments, _dest(n)) for n in reader_arguments(reader) if hasattr(arguments, _dest(n))
    }
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}


def _dest(name: str) -> str:
    return f'reader_argument_{name}'
