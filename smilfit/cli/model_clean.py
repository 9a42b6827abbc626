"""`smilfit model clean`: put right what `smilfit model check` finds, where that needs no opinion."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.command import add_import, add_traceback, run_command

if TYPE_CHECKING:
    from smilfit.body_models import BodyModelData
    from smilfit.rigs.mending import Mended


def build_parser(prog: str | None = 'model clean') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Put right what `smilfit model check` finds: always, weights are normalised, faces without area '
        'or twice there and vertices of no face taken out; what needs a decision is done where it is asked for. Each '
        'change is counted and told. Changes that are a matter of opinion: smilfit model edit.',
    )
    made.add_argument(
        'source', metavar='IN', help='a body model (.smil.json, .pkl, .npz, .glb), or quadruped or insect'
    )
    made.add_argument(
        'target', type=Path, metavar='OUT.smil.json', help='the new file, which must not be there yet'
    )
    made.add_argument(
        '--joints',
        choices=('regressor', 'stored'),
        help='where stored rest joints contradict the regressor: take what the regressor gives, or the stored ones, '
        'which shape then no longer moves (default: as the file is read)',
    )
    made.add_argument(
        '--symmetry-from-names',
        action='store_true',
        help='pair joints whose names are those of two sides, and list the vertices between them',
    )
    made.add_argument(
        '--weld',
        action='store_true',
        help='make one of vertices on one place that move alike, as at seams of images; images of the skin then no '
        'longer fit',
    )
    made.add_argument(
        '--symmetrise-limits',
        action='store_true',
        help="give both sides the wider of each other's mirrored limits",
    )
    made.add_argument(
        '--unit', help="state the unit of the file's lengths: mm, cm, m or um; no number is changed by it"
    )
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.body_models import save_body_model
    from smilfit.rigs import mending
    from smilfit.rigs.converting import open_model
    from smilfit.rigs.welding import weld_vertices
    from smilfit.structures.units import MILLIMETRES

    if arguments.unit not in (None, *MILLIMETRES):
        raise ValueError(f'--unit: must be one of {", ".join(MILLIMETRES)}; got {arguments.unit!r}.')
    if arguments.target.exists():
        raise FileExistsError(
            f'{arguments.target}: the new file must not be there yet; it is. Give another name.'
        )
    model, _ = open_model(arguments.source)
    data, told = model.data, []
    if arguments.joints is not None:
        choose = mending.joints_of_regressor if arguments.joints == 'regressor' else mending.joints_as_stored
        data, words = choose(model)
        told += words
    steps: list[Callable[[BodyModelData], Mended]] = [mending.normalise_weights]
    steps += [weld_vertices] if arguments.weld else []
    steps += [mending.drop_bad_faces, mending.drop_loose_vertices]
    if arguments.symmetry_from_names:
        steps += [mending.symmetry_from_names, mending.plane_of_joints]
    if arguments.symmetrise_limits:
        steps.append(mending.symmetrise_limits)
    for step in steps:
        data, words = step(data)
        told += words
    if arguments.unit is not None and arguments.unit != data.unit:
        told.append(f'the unit is {arguments.unit} now; it was {data.unit or "not stated"}')
        data = replace(data, unit=arguments.unit)
    save_body_model(data, arguments.target)
    for words in told or ['nothing needed to be changed']:
        print(words)
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces -> {arguments.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
