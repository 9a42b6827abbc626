"""`smilfit model edit`: changes of a model that somebody must have decided on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.argument_types import existing_file, float_from, positive_int
from smilfit.cli.command import add_import, add_traceback, run_command

# As rigs/symmetrising.py, which would bring scipy with it; a test holds the two together.
SIDES = ('mean', 'left', 'right')
JOINTS = ('fit', 'ring')
# As body_models/, which would bring torch with it; the same test.
AXES = ('+x', '-x', '+y', '-y', '+z', '-z')


def build_parser(prog: str | None = 'model edit') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Change a model: weights of few joints a vertex, both sides alike, joints anew from the skin, '
        'limits of your own, which way is up and forward. In this order; each change is counted and told, and '
        'vertices keep their numbers. What is merely wrong, smilfit model clean puts right.',
    )
    made.add_argument(
        'source', metavar='IN', help='a body model (.smil.json, .pkl, .npz, .glb), or quadruped or insect'
    )
    made.add_argument(
        'target', type=Path, metavar='OUT.smil.json', help='the new file, which must not be there yet'
    )
    made.add_argument(
        '--most-weights',
        type=positive_int,
        metavar='N',
        help='skinning weights a vertex at most; the heaviest stay',
    )
    made.add_argument(
        '--least-weight',
        type=float_from(0.0, 0.5),
        default=0.0,
        metavar='SHARE',
        help='smaller skinning weights go, such as 0.001 (default: none)',
    )
    made.add_argument(
        '--symmetrise',
        choices=SIDES,
        help='make skin, weights, joints and shapes of both sides mirror images of each other: of the mean of both, '
        'or of one side',
    )
    made.add_argument(
        '--joints',
        choices=JOINTS,
        help='fit: joints stay where the file states them, and the regressor, by which shape moves them, is fitted '
        "to that; ring: each joint goes to the middle of the ring where its skin meets its parent's, and gets the "
        'regressor of that',
    )
    made.add_argument(
        '--limits',
        type=existing_file,
        metavar='FILE.csv',
        help='set joint limits of a table joint,axis,min_deg,max_deg (axis x, y or z: of the model, or of the joint '
        'where it has axes of its own)',
    )
    for way, what in (('up', 'its back points'), ('forward', 'it looks')):
        made.add_argument(
            f'--{way}',
            choices=AXES,
            metavar='AXIS',
            help=f'state the axis along which {what} at rest, as in --{way}=-x: one of {", ".join(AXES)}, of the '
            "model's own; nothing is turned",
        )
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from smilfit.body_models import save_body_model
    from smilfit.rigs.converting import open_model
    from smilfit.rigs.facing import with_axes
    from smilfit.rigs.joint_regressing import fit_joint_regressor, joints_of_rings
    from smilfit.rigs.mending import user_limits
    from smilfit.rigs.symmetrising import symmetrise
    from smilfit.rigs.weight_thinning import thin_weights

    if arguments.target.exists():
        raise FileExistsError(
            f'{arguments.target}: the new file must not be there yet; it is. Give another name.'
        )
    model, _ = open_model(arguments.source)
    data, told = thin_weights(model.data, arguments.most_weights, arguments.least_weight)
    if arguments.symmetrise is not None:
        data, more = symmetrise(data, arguments.symmetrise)
        told += more
        # What the file states of joints is not symmetric.
        model = replace(model, joints=None)
    if arguments.joints == 'fit':
        data, more = fit_joint_regressor(replace(model, data=data))
        told += more
    elif arguments.joints == 'ring':
        data, more = joints_of_rings(data)
        told += more
    if arguments.limits is not None:
        data, more = user_limits(data, arguments.limits)
        told += more
    data, more = with_axes(data, arguments.up, arguments.forward)
    told += more
    save_body_model(data, arguments.target)
    for words in told or ['nothing needed to be changed']:
        print(words)
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces -> {arguments.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
