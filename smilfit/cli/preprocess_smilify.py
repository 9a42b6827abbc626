"""The `smilify` format of the preprocess command: dataset files of SMILify, imported once."""

import argparse
from pathlib import Path

from smilfit.cli.argument_types import int_from, positive_float
from smilfit.cli.preprocess_options import add_common, add_option

_ABOUT = (
    "Import SMILify's dataset files (several views, single images, merged) into one of this project. Images stay as "
    'they are; cameras, labels and worlds are put right and checked like those of a recording. A run that was '
    'stopped goes on where it was when the same command is given again.'
)
# What such files have settled.
_SETTLED = ('crop_mode', 'bbox_margin', 'no_undistort', 'use_reprojections', 'num_workers')


def add_smilify(made: argparse.ArgumentParser, out: tuple[str, str]) -> None:
    """Describe the subcommand."""
    made.description = _ABOUT
    made.add_argument('annotations', type=Path, nargs='+', metavar='FILE.h5', help="SMILify's files")
    made.add_argument('out', type=Path, metavar=out[0], help=out[1])
    add_common(made, without=_SETTLED, target_resolution=None)
    add_option(
        made,
        'keypoint_map',
        'joint_lookup',
        metavar='CSV',
        help="model keypoint -> joint of the file's model (columns model,data), where they are not the same",
    )
    add_option(
        made,
        'made_with',
        type=Path,
        metavar='FILE|NAME',
        help='the body model that the files were made with, where it is not --body-model: its joints name the '
        'columns',
    )
    add_option(
        made,
        'slp',
        type=Path,
        metavar='FILE.slp',
        help="the .slp of the recording's first camera, for files from before March 2026, whose labels SMILify put "
        'on other joints; with it --keypoint-map is the lookup of SLEAP nodes that the file was made with',
    )
    add_option(
        made,
        'allow_other_joints',
        action='store_true',
        help="take labels as they are although their 3D points have not the body's shape",
    )
    add_option(
        made,
        'source_size',
        nargs=2,
        type=int_from(16, 20_000),
        metavar=('WIDTH', 'HEIGHT'),
        help='size of the images that the stored ones were cut from, px, where the file does not tell; it undoes the '
        "shift of (1 - s) / 2 px between SMILify's images and labels",
    )
    add_option(
        made,
        'focal_px',
        type=positive_float,
        metavar='PX',
        help='focal length of single images in stored px; guessed as 1.2 times their side if not given',
    )
    add_option(made, 'shape_betas', type=Path, metavar='CSV', help='known shapes (columns label,PC1,PC2,...)')
