"""Make a body model (.smil.json) of a rigged animal from another program, without edits by hand."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from smilfit.cli.argument_types import existing_file, positive_float
from smilfit.cli.command import add_import, add_traceback, run_command
from smilfit.cli.next_step import POINTS3D, landmarks_step, likely_format, try_step

_UNITS = ('m', 'dm', 'cm', 'mm', 'um', 'in', 'ft')
_LIMITS = ('auto', 'file', 'clips', 'default')


def build_parser(prog: str | None = 'model import') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__
        + ' Reads glTF 2.0 (.glb, .gltf, .vrm), MuJoCo models (.xml, with a skin or of stiff parts), arrays of '
        'vertices, faces, parents, weights and joints under many names (.pkl, .npz), and, where Blender is '
        'installed, .fbx, .blend and .dae. Prints what was found, what was cleaned, and what to do next. Beside the '
        'model it writes NAME.clips.npz (the motions of the file as poses), '
        'NAME.texture.npz (its skin as an image) and NAME.import.txt (what was printed).',
        epilog='Example: smilfit model import fox.glb fox.smil.json --limits clips',
    )
    parser.add_argument(
        'rig', type=existing_file, metavar='RIG', help='.glb, .gltf, .xml, .pkl, .npz, .fbx, .blend or .dae'
    )
    parser.add_argument('out', type=Path, metavar='OUT.smil.json', help='the model to write')
    parser.add_argument(
        '--unit',
        choices=_UNITS,
        help="of the rig's numbers; nothing is scaled (default: as the file or its format says; glTF: m; "
        'MuJoCo: by its gravity)',
    )
    parser.add_argument(
        '--skin',
        type=existing_file,
        metavar='FILE.skn',
        help='of a MuJoCo model (default: what the model names, else the one .skn beside it)',
    )
    parser.add_argument(
        '--keypoints',
        type=existing_file,
        metavar='FILE.yaml',
        help="of a MuJoCo model: STAC's table of keypoints, the bodies they hang on and start offsets, in the "
        "model's unit; they become landmarks whose places a fit finds",
    )
    parser.add_argument(
        '--armature',
        metavar='NAME',
        help='of a .fbx, .blend or .dae: the one to take, where several armatures have meshes of their own',
    )
    parser.add_argument(
        '--limits',
        default='auto',
        metavar='|'.join((*_LIMITS, 'FILE.csv')),
        type=_limits,
        help="joint limits: the file's (file), ranges that its clips use and 15 degrees more (clips), 90 degrees in "
        'limbs and 45 on the midline (default), or a table joint,axis,min_deg,max_deg (axis x, y or z); auto takes '
        "the file's where it has some (default: auto)",
    )
    parser.add_argument(
        '--recording',
        type=Path,
        metavar='PATH',
        help='a recording that the model is for: what to do next is then printed as a whole command',
    )
    parser.add_argument(
        '--skeleton',
        type=existing_file,
        metavar='FILE',
        help="names of the keypoints of --recording, where it has none (part of that command; the rig's is in RIG)",
    )
    parser.add_argument(
        '--fps',
        type=positive_float,
        metavar='N',
        help='frames a second of --recording, where that is a file of points in space that states none (likewise)',
    )
    parser.add_argument('--force', action='store_true', help='replace OUT and what lies beside it')
    add_traceback(parser)
    add_import(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'model import') -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _limits(text: str) -> str | Path:
    return text if text in _LIMITS else existing_file(text)


def _run(arguments: argparse.Namespace) -> int:
    _check_recording(arguments)
    # Imported late: --help should not wait for torch.
    from smilfit.apis.rig_import import import_rig

    done = import_rig(
        arguments.rig,
        arguments.out,
        arguments.unit,
        arguments.limits,
        arguments.force,
        arguments.skin,
        arguments.keypoints,
        arguments.armature,
    )
    for line in done.lines:
        print(line)
    print(f'wrote {done.model}')
    if done.clips is not None:
        print(f'wrote {done.clips}')
    if done.texture is not None:
        print(f'wrote {done.texture}')
    print(f'is it right? smilfit model check {quote(str(done.model))}')
    print(f'look at it:  smilfit model view {quote(str(done.model))}')
    if arguments.recording is None:
        print(f'no recording yet? {try_step(done.model, done.clips is not None)}')
    options = {name: getattr(arguments, name) for name in ('skeleton', 'fps')}
    print(f'next: {landmarks_step(done.model, arguments.recording, options)}')
    return 0


def _check_recording(arguments: argparse.Namespace) -> None:
    """Check what the next command is made of: it should not fail by what this one could have told."""
    recording: Path | None = arguments.recording
    of_it = [f'--{n}' for n in ('skeleton', 'fps') if getattr(arguments, n) is not None]
    if recording is None:
        if of_it:
            raise ValueError(f'{of_it[0]}: must go with --recording; got it alone. Name the recording, too.')
        return
    if not recording.exists():
        raise FileNotFoundError(f'--recording: must be there; {recording} is not. Check the path.')
    if of_it and likely_format(recording) != POINTS3D:
        raise ValueError(
            f'{of_it[0]}: must go with a file of points in space; got {recording.name}, which is read as SLEAP has '
            'it. Leave it out.'
        )


if __name__ == '__main__':
    sys.exit(main())
