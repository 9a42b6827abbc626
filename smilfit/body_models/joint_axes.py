"""Rotation vectors in the axes in which a model states its limits, and back."""

from jaxtyping import Float
from torch import Tensor


def own_components(
    axis_angle: Float[Tensor, '*n J 3'], axes: Float[Tensor, 'J 3 3'] | None
) -> Float[Tensor, '*n J 3']:
    """Return the components of rotation vectors along their joints' own axes; None stands for the model's.

    Args:
        axis_angle: of J joints, in the model's axes.
        axes: of the same joints, as columns.
    """
    if axes is None:
        return axis_angle
    return (axes.to(axis_angle).mT @ axis_angle.unsqueeze(-1)).squeeze(-1)


def from_own_components(
    components: Float[Tensor, '*n J 3'], axes: Float[Tensor, 'J 3 3'] | None
) -> Float[Tensor, '*n J 3']:
    """Return rotation vectors of components along their joints' own axes: the way back from `own_components`."""
    if axes is None:
        return components
    return (axes.to(components) @ components.unsqueeze(-1)).squeeze(-1)
