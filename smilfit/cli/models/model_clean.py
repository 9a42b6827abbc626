"""`smilfit model clean`: put right what `smilfit model check` finds, where that needs no opinion."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.command import run_command
from smilfit.cli.parser import make_parser
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.body_models import BodyModelData
    from smilfit.rigs.checking.mending import Mended


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
    joints: str | None = option(
        None,
        'where stored rest joints contradict the regressor: take what the regressor gives, or the stored ones, which '
        'shape then no longer moves (default: as the file is read)',
        choices=('regressor', 'stored'),
    )
    symmetry_from_names: bool = option(
        False, 'pair joints whose names are those of two sides, and list the vertices between them'
    )
    weld: bool = option(
        False,
        'make one of vertices on one place that move alike, as at seams of images; images of the skin then no '
        'longer fit',
    )
    symmetrise_limits: bool = option(False, "give both sides the wider of each other's mirrored limits")
    unit: str | None = option(
        None, "state the unit of the file's lengths: mm, cm, m or um; no number is changed by it"
    )


def build_parser(prog: str | None = 'model clean') -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Put right what `smilfit model check` finds: always, weights are normalised, faces without area '
        'or twice there and vertices of no face taken out; what needs a decision is done where it is asked for. Each '
        'change is counted and told. Changes that are a matter of opinion: smilfit model edit.'
    )
    return make_parser(Command, prog, about)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.body_models import save_body_model
    from smilfit.rigs.checking import mending
    from smilfit.rigs.cleaning import weld_vertices
    from smilfit.rigs.converting import open_model
    from smilfit.structures.body import MILLIMETRES

    if arguments.unit not in (None, *MILLIMETRES):
        raise ValueError(f'--unit: must be one of {", ".join(MILLIMETRES)}; got {arguments.unit!r}.')
    if arguments.target.exists():
        raise FileExistsError(
            f'{arguments.target}: the new file must not be there yet; it is. Give another name.'
        )
    model, _ = open_model(arguments.source)
    data, notes = model.data, []
    if arguments.joints is not None:
        choose = mending.joints_of_regressor if arguments.joints == 'regressor' else mending.joints_as_stored
        data, words = choose(model)
        notes += words
    steps: list[Callable[[BodyModelData], Mended]] = [mending.normalise_weights]
    steps += [weld_vertices] if arguments.weld else []
    steps += [mending.drop_bad_faces, mending.drop_loose_vertices]
    if arguments.symmetry_from_names:
        steps += [mending.symmetry_from_names, mending.plane_of_joints]
    if arguments.symmetrise_limits:
        steps.append(mending.symmetrise_limits)
    for step in steps:
        data, words = step(data)
        notes += words
    if arguments.unit is not None and arguments.unit != data.unit:
        notes.append(f'the unit is {arguments.unit} now; it was {data.unit or "not stated"}')
        data = replace(data, unit=arguments.unit)
    save_body_model(data, arguments.target)
    for words in notes or ['nothing needed to be changed']:
        print(words)
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces -> {arguments.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
