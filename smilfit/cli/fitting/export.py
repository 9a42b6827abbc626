"""`export`: a fit in formats of other programs, or a trained network as ONNX."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.networks import export_network
from smilfit.cli.parser import part_of
from smilfit.options.export_options import ExportOptions
from smilfit.options.fields import option, other_body_model

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_exporting import FitExport

# As the classes of exports/, which would bring torch with them; a test holds the two together.
FORMATS = {
    'points3d': 'points3d.h5 of sleap-anipose: keypoints in space',
    'anipose': "anipose.csv: anipose's 3D poses",
    'calibration': 'calibration.toml of anipose: the cameras, as the fit corrected them if it did',
    'slp': 'slp/CAMERA/CAMERA.slp: where cameras see the keypoints, for SLEAP, with the calibration',
    'reprojections': 'reprojections.h5 of sleap-anipose: the same',
    'dlc': 'dlc/CAMERA.csv and .h5: the same, for DeepLabCut',
    'nwb': 'pose.nwb: all of these for NWB (ndx-pose)',
    'angles': 'joint_angles.csv: degrees about named axes, with standard deviations where the fit has any',
    'bones': 'bone_lengths.csv: in the unit, beside the model at rest',
    'frames': 'frames.csv and bad_frames.txt: verdicts and errors by frame',
    'glb': 'animation.glb: skinned mesh, clip and cameras, for Blender and three.js',
    'bvh': "skeleton.bvh: the skeleton's motion",
    'meshes': 'meshes/FRAME.obj (ply, glb): a mesh a frame',
}
EXIT_CODES = exit_codes(
    'all is written',
    'formats of "all" were left out, each named with its reason. '
    'smilfit export CHECKPOINT.pth --help tells of the other use, a network as ONNX',
)
_WIDTH = max(map(len, FORMATS))
_LISTED = '\n'.join(f'  {name:<{_WIDTH}}  {what}' for name, what in FORMATS.items())
# More files than this of one format are counted, not named.
_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Arguments(ExportOptions):
    """A command line of `export`."""

    fit: Path = option(
        help='a folder of smilfit fit or infer, of one session or of several, or the .npz file in it',
        positional=True,
        metavar='FIT',
    )
    to: Sequence[str] = option(help='formats, of the above', metavar='FORMAT')
    out: Path = option(help='folder for the files', metavar='DIR')
    body_model: str | None = other_body_model("fit's dataset")
    fps: float | None = option(
        None,
        'frames per second, instead of what the recording stated',
        low=0.0,
        above=True,
        metavar='N',
    )


@command(
    Arguments,
    'export',
    (
        'Write a fit in formats of other programs:\n\n'
        f'{_LISTED}\n  {"all":<{_WIDTH}}  those of them that can be written of the fit\n\n'
        'Lengths are in the unit of the calibration and in its axes. What is there already is not made again.'
    ),
    EXIT_CODES,
    formatter=argparse.RawDescriptionHelpFormatter,
)
def _main_of_fits(options: Arguments) -> int:
    from smilfit.apis.fitting.fit_exporting import export_fit

    done = export_fit(
        options.fit,
        options.to,
        options.out,
        body_model=options.body_model,
        fps=options.fps,
        options=part_of(options, ExportOptions),
        told=show_export,
    )
    left_out = list(dict.fromkeys(name for fit in done for name in fit.left_out))
    if left_out:
        print(f'left out: {", ".join(left_out)}', file=sys.stderr)
    return INCOMPLETE if left_out else 0


def main(argv: Sequence[str] | None = None, prog: str = 'export') -> int:
    """Run the command, of a fit or of a network."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return export_network.main(argv, prog) if _of_network(argv) else _main_of_fits(argv, prog)


def _of_network(argv: Sequence[str]) -> bool:
    """Check whether a checkpoint is to be exported: no format is asked for, and what is named first is no fit."""
    if any(word == '--to' or word.startswith('--to=') for word in argv):
        return False
    first = next((word for word in argv if not word.startswith('-')), None)
    return first is not None and not first.endswith('.npz') and not Path(first).is_dir()


def show_export(done: 'FitExport') -> None:
    """Print what was written of a fit."""
    print(f'{done.name}: {done.folder}')
    width = max(map(len, done.files), default=0)
    for name, files in done.files.items():
        named = ', '.join(file.relative_to(done.folder).as_posix() for file in files)
        if len(files) > _NAMED:
            named = f'{files[0].relative_to(done.folder).as_posix()} and {len(files) - 1} more'
        print(f'  {name:<{width}}  {named}')
    for why in dict.fromkeys(done.left_out.values()):
        names = ', '.join(name for name, reason in done.left_out.items() if reason == why)
        print(f'  {names:<{width}}  left out: {why}')
