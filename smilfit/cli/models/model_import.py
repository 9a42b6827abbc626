"""Make a body model (.smil.json) of a rigged animal from another program, without edits by hand."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from smilfit.apis.model_options import ImportOptions
from smilfit.cli.command import command
from smilfit.cli.next_step import POINTS3D, landmarks_step, likely_format, training_set_step, try_step
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Arguments(ImportOptions):
    """A command line of `model import`."""

    rig: Path = option(
        help='.glb, .gltf, .xml, .pkl, .npz, .fbx, .blend or .dae',
        kind='existing_file',
        positional=True,
        metavar='RIG',
    )
    out: Path = option(help='the model to write', positional=True, metavar='OUT.smil.json')
    recording: Path | None = option(
        None,
        'a recording that the model is for: what to do next is then printed as a whole command',
        metavar='PATH',
    )
    skeleton: Path | None = option(
        None,
        "names of the keypoints of --recording, where it has none (part of that command; the rig's is in RIG)",
        kind='existing_file',
        metavar='FILE',
    )
    fps: float | None = option(
        None,
        'frames a second of --recording, where that is a file of points in space that states none (likewise)',
        low=0.0,
        above=True,
        metavar='N',
    )


@command(
    Arguments,
    'model import',
    (
        f'{__doc__} Reads glTF 2.0 (.glb, .gltf, .vrm), MuJoCo models (.xml, with a skin or of stiff parts), arrays '
        'of vertices, faces, parents, weights and joints under many names (.pkl, .npz), and, where Blender is '
        'installed, .fbx, .blend and .dae. Prints what was found, what was cleaned, and what to do next. Beside the '
        'model it writes NAME.clips.npz (the motions of the file as poses), NAME.texture.npz (its skin as an image) '
        'and NAME.import.txt (what was printed).'
    ),
    'Example: smilfit model import fox.glb fox.smil.json --limits clips',
)
def main(options: Arguments) -> None:
    """Run the command."""
    _check_recording(options)
    # Imported late: --help should not wait for torch.
    from smilfit.rigs.rig_import import import_rig

    done = import_rig(options.rig, options.out, **keywords_of(options, ImportOptions))
    for line in done.lines:
        print(line)
    for path in (done.model, done.clips, done.texture):
        if path is not None:
            print(f'wrote {path}')
    print(f'is it right? smilfit model check {quote(str(done.model))}')
    print(f'look at it:  smilfit model view {quote(str(done.model))}')
    if options.recording is None:
        print(f'no recording yet? {try_step(done.model, done.clips is not None)}')
        print(f'no labels?   {training_set_step(done.model)}')
    further = {'skeleton': options.skeleton, 'fps': options.fps}
    print(f'next: {landmarks_step(done.model, options.recording, further)}')


def _check_recording(options: Arguments) -> None:
    """Check what the next command is made of: it should not fail by what this one could have told."""
    recording = options.recording
    of_it = [f'--{n}' for n in ('skeleton', 'fps') if getattr(options, n) is not None]
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
