"""`smilfit model edit`: changes of a model that somebody must have decided on."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smilfit.cli.command import run_command
from smilfit.cli.parser import make_parser
from smilfit.options.fields import AXES, option

# As rigs/symmetry.py, which would bring scipy with it; a test holds the two together.
SIDES = ('mean', 'left', 'right')
JOINTS = ('fit', 'ring')


def _axis(way: str, what: str) -> Any:
    help = (
        f"state the axis along which {what} at rest, as in --{way}=-x: one of {', '.join(AXES)}, of the model's own; "
        'nothing is turned'
    )
    return option(None, help, choices=AXES, metavar='AXIS')


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line says."""

    source: str = option(
        help='a body model (.smil.json, .pkl, .npz, .glb), or quadruped or insect',
        positional=True,
        metavar='IN',
    )
    target: Path = option(
        help='the new file, which must not be there yet', positional=True, metavar='OUT.smil.json'
    )
    most_weights: int | None = option(
        None, 'skinning weights a vertex at most; the heaviest stay', low=1, metavar='N'
    )
    least_weight: float = option(
        0.0, 'smaller skinning weights go, such as 0.001', low=0.0, high=0.5, metavar='SHARE'
    )
    symmetrise: str | None = option(
        None,
        'make skin, weights, joints and shapes of both sides mirror images of each other: of the mean of both, or '
        'of one side',
        choices=SIDES,
    )
    joints: str | None = option(
        None,
        'fit: joints stay where the file states them, and the regressor, by which shape moves them, is fitted to '
        "that; ring: each joint goes to the middle of the ring where its skin meets its parent's, and gets the "
        'regressor of that',
        choices=JOINTS,
    )
    limits: Path | None = option(
        None,
        'set joint limits of a table joint,axis,min_deg,max_deg (axis x, y or z: of the model, or of the joint '
        'where it has axes of its own)',
        kind='existing_file',
        metavar='FILE.csv',
    )
    up: str | None = _axis('up', 'its back points')
    forward: str | None = _axis('forward', 'it looks')


def build_parser(prog: str | None = 'model edit') -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Change a model: weights of few joints a vertex, both sides alike, joints anew from the skin, '
        'limits of your own, which way is up and forward. In this order; each change is counted and told, and '
        'vertices keep their numbers. What is merely wrong, smilfit model clean puts right.'
    )
    return make_parser(Command, prog, about)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from smilfit.body_models import save_body_model
    from smilfit.rigs.checking.mending import user_limits
    from smilfit.rigs.cleaning import thin_weights
    from smilfit.rigs.converting import open_model
    from smilfit.rigs.joint_regressing import fit_joint_regressor, joints_of_rings
    from smilfit.rigs.suspicions import with_axes
    from smilfit.rigs.symmetry import symmetrise

    if arguments.target.exists():
        raise FileExistsError(
            f'{arguments.target}: the new file must not be there yet; it is. Give another name.'
        )
    model, _ = open_model(arguments.source)
    data, notes = thin_weights(model.data, arguments.most_weights, arguments.least_weight)
    if arguments.symmetrise is not None:
        data, more = symmetrise(data, arguments.symmetrise)
        notes += more
        # What the file states of joints is not symmetric.
        model = replace(model, joints=None)
    if arguments.joints == 'fit':
        data, more = fit_joint_regressor(replace(model, data=data))
        notes += more
    elif arguments.joints == 'ring':
        data, more = joints_of_rings(data)
        notes += more
    if arguments.limits is not None:
        data, more = user_limits(data, arguments.limits)
        notes += more
    data, more = with_axes(data, arguments.up, arguments.forward)
    notes += more
    save_body_model(data, arguments.target)
    for words in notes or ['nothing needed to be changed']:
        print(words)
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces -> {arguments.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
