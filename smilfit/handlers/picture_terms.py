"""Terms of points in pictures, brought into the world."""

from jaxtyping import Float
from torch import Tensor

from smilfit.handlers.base import BodyState
from smilfit.structures import Cameras, PointTerm


def picture_term(
    names: tuple[str, ...] | None,
    energy: Float[Tensor, ' B'],
    force: Float[Tensor, 'B C P 2'],
    stiffness: Float[Tensor, 'B C P 2 2'],
    slope: Float[Tensor, 'B C P 2 3'],
    cameras: Cameras,
    state: BodyState,
) -> PointTerm:
    """Turn derivatives in px into those in the world; all views of a point become one.

    Args:
        names: the points; None for all vertices.
        energy: by frame.
        force: first derivative, per px.
        stiffness: second derivative, per px^2.
        slope: derivative of the pixels, px per world unit.
        cameras: those of the views; their own shares are kept where a fit moves them.
        state: the body.
    """
    gradient = (slope.transpose(-1, -2) @ force.unsqueeze(-1)).squeeze(-1)
    curvature = slope.transpose(-1, -2) @ stiffness @ slope
    own = (gradient, curvature, cameras) if state.camera_shift is not None else (None, None, None)
    return PointTerm(names, energy, gradient.sum(1), curvature.sum(1), *own)
