"""`smilfit model clean`: put right what `smilfit model check` finds, where that needs no opinion."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from smilfit.cli.command import command
from smilfit.cli.models import ModelChange
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.body_models import BodyModelData
    from smilfit.rigs.checking.mending import Mended


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelChange):
    """A command line of `model clean`."""

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


@command(
    Arguments,
    'model clean',
    (
        'Put right what `smilfit model check` finds: always, weights are normalised, faces without area '
        'or twice there and vertices of no face taken out; what needs a decision is done where it is asked for. Each '
        'change is counted and told. Changes that are a matter of opinion: smilfit model edit.'
    ),
)
def main(options: Arguments) -> None:
    """Run the command."""
    from smilfit.rigs.checking import mending
    from smilfit.rigs.cleaning import weld_vertices
    from smilfit.structures.body import MILLIMETRES

    if options.unit not in (None, *MILLIMETRES):
        raise ValueError(f'--unit: must be one of {", ".join(MILLIMETRES)}; got {options.unit!r}.')
    model = options.read()
    data, notes = model.data, list[str]()
    if options.joints is not None:
        choose = mending.joints_of_regressor if options.joints == 'regressor' else mending.joints_as_stored
        data, words = choose(model)
        notes += words
    steps: list[Callable[[BodyModelData], Mended]] = [mending.normalise_weights]
    steps += [weld_vertices] if options.weld else []
    steps += [mending.drop_bad_faces, mending.drop_loose_vertices]
    if options.symmetry_from_names:
        steps += [mending.symmetry_from_names, mending.plane_of_joints]
    if options.symmetrise_limits:
        steps.append(mending.symmetrise_limits)
    for step in steps:
        data, words = step(data)
        notes += words
    if options.unit is not None and options.unit != data.unit:
        notes.append(f'the unit is {options.unit} now; it was {data.unit or "not stated"}')
        data = replace(data, unit=options.unit)
    options.write(data, notes)
