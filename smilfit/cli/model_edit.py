"""`smilfit model edit`: changes of a model that somebody must have decided on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.argument_types import float_from, positive_int
from smilfit.cli.command import add_import, add_traceback, run_command


def build_parser(prog: str | None = 'model edit') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Change a model: weights of few joints a vertex, a regressor that agrees with the joints. Each '
        'change is counted and told. What is merely wrong, smilfit model clean puts right.',
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
        '--fit-regressor',
        action='store_true',
        help='rest joints stay where the file states them, and rows of the regressor that put them elsewhere are '
        'fitted to them, changed as little as can be',
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
    from smilfit.rigs.joint_regressing import fit_joint_regressor
    from smilfit.rigs.weight_thinning import thin_weights

    if arguments.target.exists():
        raise FileExistsError(
            f'{arguments.target}: the new file must not be there yet; it is. Give another name.'
        )
    model, _ = open_model(arguments.source)
    data, told = thin_weights(model.data, arguments.most_weights, arguments.least_weight)
    if arguments.fit_regressor:
        data, more = fit_joint_regressor(replace(model, data=data))
        told += more
    save_body_model(data, arguments.target)
    for words in told or ['nothing needed to be changed']:
        print(words)
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces -> {arguments.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
