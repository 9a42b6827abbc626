"""Render training sessions of a body model, without any labelled image."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from smilfit.cli.argument_types import (
    existing_file,
    float_from,
    int_from,
    not_negative_int,
    positive_float,
    positive_int,
)
from smilfit.cli.command import add_import, add_traceback, run_command
from smilfit.cli.next_step import synthesis_step
from smilfit.cli.progress_bar import progress_bar

# As in datasets/crops.py and synthetic/looks, which would bring torch with them.
CROP_MODES = ('default', 'centred', 'bbox_crop')
STYLES = ('varied', 'other')
_NUMBERS = {
    '--sessions': (positive_int, 20, 'sessions: each another animal, motion, light, coat and place'),
    '--frames': (positive_int, 160, 'frames of each session'),
    '--cameras': (positive_int, 4, 'cameras of made rigs'),
    '--animals': (
        positive_int,
        1,
        'animals that share the arena and hide one another: tracks of the labels animal_0, animal_1, ...; in OUT.h5 '
        'sessions of their own',
    ),
    '--fps': (positive_float, 30.0, 'frames a second'),
    '--memory': (
        float_from(0.0),
        0.33,
        'how long motion keeps its direction, s; 0 draws every frame by itself',
    ),
    '--scale-spread': (float_from(0.0, 2.0), 0.15, 'how much sizes differ between sessions, as a share'),
    '--seed': (not_negative_int, 0, 'of all chance'),
}


def build_parser(prog: str | None = 'synthesize') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__
        + ' Poses are drawn from the joint limits or from fits, shapes from the shape space. Labels are exact '
        'projections; what is hidden is not labelled, and all points in space are known. A run that was stopped goes '
        'on where it was when the same command is given again.',
    )
    parser.add_argument(
        'model', type=Path, metavar='MODEL', help='body model (.smil.json, .pkl), or a shipped name'
    )
    parser.add_argument(
        'out',
        type=Path,
        nargs='?',
        metavar='OUT',
        help='a folder for sessions (videos, labels, calibration, truth), or a dataset file: OUT.h5',
    )
    parser.add_argument('--out', type=Path, dest='named_out', metavar='OUT', help='the same, by name')
    for name, (kind, default, help_text) in _NUMBERS.items():
        parser.add_argument(
            name, type=kind, default=default, metavar='N', help=f'{help_text} (default: {default})'
        )
    parser.add_argument(
        '--size', type=int_from(16, 8192), nargs=2, default=(320, 256), metavar=('W', 'H'),
        help='images of made rigs, px (default: 320 256)',
    )  # fmt: skip
    parser.add_argument(
        '--scale',
        type=positive_float,
        help='model unit in world units (default: by their units, else to fill images)',
    )
    parser.add_argument('--style', choices=STYLES, default='varied', help='what looks are drawn from')
    _add_own(parser)
    parser.add_argument('--crop-mode', choices=CROP_MODES, help='of OUT.h5, as preprocess has it')
    parser.add_argument('--target-resolution', type=int_from(16, 8192), help='side of images in OUT.h5, px')
    parser.add_argument('--overwrite', action='store_true', help='replace what was made of other options')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    add_traceback(parser)
    add_import(parser)
    return parser


def _add_own(parser: argparse.ArgumentParser) -> None:
    """Add what of the user's own goes into the sessions."""
    own = parser.add_argument_group('your own place')
    own.add_argument(
        '--calibration', type=existing_file, metavar='FILE.toml', help='cameras (default: made rigs)'
    )
    own.add_argument('--exclude-cameras', nargs='+', default=(), metavar='NAME', help='cameras to leave out')
    own.add_argument(
        '--downscale',
        type=float_from(1.0),
        default=1.0,
        metavar='N',
        help='make images smaller by this factor',
    )
    own.add_argument(
        '--unit', metavar='UNIT', help='world unit where the calibration states none (made rigs: mm)'
    )
    own.add_argument(
        '--up',
        type=float,
        nargs=3,
        metavar=('X', 'Y', 'Z'),
        help="the world's up (default: as cameras are held)",
    )
    own.add_argument(
        '--backgrounds', type=Path, nargs='+', default=(), metavar='PATH',
        help='images or videos of the place, or folders of them; of a video the median over time is taken. A file '
        'called after a camera, or in a folder that is, is what that camera sees',
    )  # fmt: skip
    own.add_argument(
        '--poses', type=existing_file, nargs='+', default=(), metavar='FILE.npz',
        help='fit.npz of fits, or truth.npz: take poses from these, recombined and mirrored (default: joint limits)',
    )  # fmt: skip
    own.add_argument(
        '--clips', action='store_true',
        help='move as in the clips of the rig that MODEL was imported from (NAME.clips.npz beside it), and show its '
        'own skin where it has an image of it (default: joint limits, drawn coats)',
    )  # fmt: skip
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument('--joint-lookup', type=existing_file, metavar='FILE.csv', help='keypoints to label')
    labels.add_argument(
        '--keypoint-set',
        metavar='NAME',
        help="a keypoint set of the model, or 'joints' (default: its first set)",
    )


def main(argv: Sequence[str] | None = None, prog: str = 'synthesize') -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog, 'Stopped. The same command goes on where it was.')


def _run(arguments: argparse.Namespace) -> int:
    if (arguments.out is None) == (arguments.named_out is None):
        raise ValueError(
            'synthesize: one OUT must be given; got none or two. Name a folder, or a file OUT.h5.'
        )
    out = arguments.out or arguments.named_out
    from smilfit.apis.synthesizing import SynthesisInputs, synthesize
    from smilfit.synthetic.session_set import SynthesisOptions

    options = SynthesisOptions(
        n_sessions=arguments.sessions,
        n_frames=arguments.frames,
        n_cameras=arguments.cameras,
        n_animals=arguments.animals,
        size=tuple(arguments.size),
        unit=arguments.unit or 'mm',
        fps=arguments.fps,
        memory_s=arguments.memory,
        style=arguments.style,
        scale=arguments.scale,
        scale_spread=arguments.scale_spread,
        up=None if arguments.up is None else tuple(arguments.up),
        seed=arguments.seed,
    )
    inputs = SynthesisInputs(
        calibration=arguments.calibration,
        exclude_cameras=tuple(arguments.exclude_cameras),
        downscale=arguments.downscale,
        unit=arguments.unit,
        backgrounds=tuple(arguments.backgrounds),
        poses=tuple(arguments.poses),
        clips=arguments.clips,
        joint_lookup=arguments.joint_lookup,
        keypoint_set=arguments.keypoint_set,
    )
    store = {name: getattr(arguments, name) for name in ('crop_mode', 'target_resolution')}
    console = Console()
    with progress_bar(not arguments.quiet and console.is_terminal) as progress:
        done = synthesize(
            arguments.model,
            out,
            options,
            inputs,
            store={name: value for name, value in store.items() if value is not None},
            overwrite=arguments.overwrite,
            progress=progress,
        )
    if not arguments.quiet:
        for words in done.left_out:
            console.print(f'clips: {words}', highlight=False, soft_wrap=True, markup=False)
        text = f'{done.n_images} images, {len(done.keypoint_names)} keypoints: {done.path}'
        console.print(text, highlight=False, soft_wrap=True, markup=False)
        print(f'next: {synthesis_step(done.path, arguments.model, arguments.unit)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
