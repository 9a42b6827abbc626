"""`smilfit model COMMAND ...`: what one does with a rigged model before and after fits."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.command import run_group
from smilfit.options.fields import FieldValue, option

if TYPE_CHECKING:
    from smilfit.body_models import BodyModelData
    from smilfit.body_models.files.stored_model import StoredModel

_COMMANDS = {
    'import': 'make a body model of a rig from another program (.glb, .gltf, .xml, .pkl, .npz, .fbx, .blend, .dae)',
    'check': 'say in words what is wrong with a model, and where',
    'info': 'a page of numbers: mesh, joints, size, weights, limits, shapes',
    'view': 'in the browser: shapes, poses, weights; change limits and keypoints',
    'clean': 'put right what check finds: weights, faces, joints, limits, symmetry, unit',
    'edit': 'few weights a vertex, both sides alike, joints anew from the skin, limits of your own',
    'convert': 'from one file format to another: .smil.json, .pkl, .npz, .glb',
    'measure': 'lengths, girths, angles, surface and volume of models, registrations and fits',
    'shape_space': 'principal components of registered specimens, as a model with betas',
}
COMMANDS = {name: (f'models.model_{name}', what) for name, what in _COMMANDS.items()}


def model_or_rig() -> FieldValue:
    """Make the argument of a model that a command looks at, whatever it is stored as."""
    help = (
        'a body model (.smil.json, .pkl, .npz), a rig (.glb, .gltf, .xml, .fbx, .blend, .dae) as imported, or '
        'quadruped or insect'
    )
    return option(help=help, positional=True, metavar='MODEL')


def main(argv: Sequence[str] | None = None, prog: str = 'model') -> int:
    """Hand the arguments to a command; 2 on an unknown one."""
    return run_group(sys.argv[1:] if argv is None else argv, prog, COMMANDS)


@dataclass(frozen=True, kw_only=True)
class ModelChange:
    """A model, and the file that it becomes when it is changed."""

    source: str = option(
        help='a body model (.smil.json, .pkl, .npz, .glb), or quadruped or insect',
        positional=True,
        metavar='IN',
    )
    target: Path = option(
        help='the new file, which must not be there yet', positional=True, metavar='OUT.smil.json'
    )

    def read(self) -> 'StoredModel':
        """Read the model.

        Raises:
            FileExistsError: the new file is there.
        """
        from smilfit.rigs.converting import open_model

        if self.target.exists():
            raise FileExistsError(
                f'{self.target}: the new file must not be there yet; it is. Give another name.'
            )
        return open_model(self.source)[0]

    def write(self, data: 'BodyModelData', notes: Sequence[str]) -> None:
        """Write the new model, and print what was changed."""
        from smilfit.body_models import save_body_model

        save_body_model(data, self.target)
        for note in notes or ['nothing needed to be changed']:
            print(note)
        print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces -> {self.target}')
