"""The `points3d` format of the preprocess command: points in space, without images."""

import argparse
from pathlib import Path

from smilfit.cli.argument_types import int_from, positive_float
from smilfit.cli.preprocess_options import add_common, add_option

_ABOUT = (
    'Make a dataset file from points in space that another tool placed, without images: points3d.h5 of '
    "sleap-anipose, anipose's 3D csv, DANNCE's .mat (Label3D's labels with their cameras and what these saw, or "
    'predictions), ndx-pose in NWB, csv (NAME_x, NAME_y, NAME_z by frame, or a row a point) and npz (xyz, names, '
    'confidence). A file of several animals becomes a session each. The dataset can be fitted '
    '(configs/fit/points3d_lm.py) and not trained on.'
)
# What only images have.
_OF_IMAGES = (
    'unlabelled',
    'min_views',
    'crop_mode',
    'bbox_margin',
    'target_resolution',
    'no_3d_data',
    'retriangulate',
    'no_undistort',
    'use_reprojections',
    'num_workers',
    'exclude_cameras',
    'jpeg_quality',
    'n_animals',
)


def add_points3d(made: argparse.ArgumentParser, out: tuple[str, str]) -> None:
    """Describe the subcommand."""
    made.description = _ABOUT
    made.add_argument(
        'annotations', type=Path, nargs='+', metavar='FILE', help='.h5, .csv, .mat, .nwb or .npz'
    )
    made.add_argument('out', type=Path, metavar=out[0], help=out[1])
    add_common(made, without=_OF_IMAGES)
    add_option(
        made,
        'keypoint_map',
        'joint_lookup',
        type=Path,
        metavar='CSV',
        help="model keypoint -> the file's keypoint (columns model,data)",
    )
    add_option(
        made,
        'skeleton',
        type=Path,
        metavar='FILE',
        help="names of the keypoints where the file has none, as points3d.h5 and DANNCE's: a text file with a name a "
        'line, a .mat with joint_names, or labels (.slp); of points3d.h5 the labels beside it are looked at',
    )
    add_option(
        made, 'fps', type=positive_float, metavar='F', help='frames a second, where the file does not say'
    )
    add_option(
        made,
        'calibration',
        type=Path,
        metavar='TOML',
        help='calibration.toml of the cameras that placed the points',
    )
    add_option(
        made,
        'image_size',
        nargs=2,
        type=int_from(16, 100_000),
        metavar=('WIDTH', 'HEIGHT'),
        help="size of the cameras' images, px, which Label3D does not store; guessed if not given",
    )
