"""`smilfit model edit`: changes of a model that somebody must have decided on."""

from dataclasses import dataclass, replace
from pathlib import Path

from smilfit.cli.command import command
from smilfit.cli.models import ModelChange
from smilfit.options.fields import AXES, FieldValue, option

# As rigs/symmetry.py, which would bring scipy with it; a test holds the two together.
SIDES = ('mean', 'left', 'right')
JOINTS = ('fit', 'ring')


def _axis(way: str, what: str) -> FieldValue:
    help = (
        f"state the axis along which {what} at rest, as in --{way}=-x: one of {', '.join(AXES)}, of the model's own; "
        'nothing is turned'
    )
    return option(None, help, choices=AXES, metavar='AXIS')


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelChange):
    """A command line of `model edit`."""

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


@command(
    Arguments,
    'model edit',
    (
        'Change a model: weights of few joints a vertex, both sides alike, joints anew from the skin, '
        'limits of your own, which way is up and forward. In this order; each change is counted and told, and '
        'vertices keep their numbers. What is merely wrong, smilfit model clean puts right.'
    ),
)
def main(options: Arguments) -> None:
    """Run the command."""
    from smilfit.rigs.checking.mending import user_limits
    from smilfit.rigs.cleaning import thin_weights
    from smilfit.rigs.joint_regressing import fit_joint_regressor, joints_of_rings
    from smilfit.rigs.suspicions import with_axes
    from smilfit.rigs.symmetry import symmetrise

    model = options.read()
    data, notes = thin_weights(model.data, options.most_weights, options.least_weight)
    if options.symmetrise is not None:
        data, more = symmetrise(data, options.symmetrise)
        notes += more
        # What the file states of joints is not symmetric.
        model = replace(model, joints=None)
    if options.joints == 'fit':
        data, more = fit_joint_regressor(replace(model, data=data))
        notes += more
    elif options.joints == 'ring':
        data, more = joints_of_rings(data)
        notes += more
    if options.limits is not None:
        data, more = user_limits(data, options.limits)
        notes += more
    data, more = with_axes(data, options.up, options.forward)
    notes += more
    options.write(data, notes)
