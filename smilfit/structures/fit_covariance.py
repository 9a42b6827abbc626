"""How sure a fit is of its parameters and keypoints."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FitCovariance:
    """Gauss-Newton covariances at a solution.

    Args:
        parameters: of each frame's unknowns, in the order of `columns`: turns of joints (rad, about the world's
            axes), translation, and the further parameters, those that all frames share last. None where it was read
            from a file, which keeps `sd` alone.
        columns: names of the unknowns, such as `'knee.turn_x'`, `'transl_y'`, `'betas[0]'`.
        keypoints: of every keypoint's place, world unit squared.
        keypoint_names: their names.
        noise: estimated standard deviation of a weighted residual; weights are relative to it.
        sd: standard deviation of every unknown, where `parameters` is None.
    """

    parameters: Float[Tensor, 'B P P'] | None
    columns: tuple[str, ...]
    keypoints: Float[Tensor, 'B K 3 3']
    keypoint_names: tuple[str, ...]
    noise: float
    sd: Float[Tensor, 'B P'] | None = None

    def __post_init__(self) -> None:
        """Check that something is known of the unknowns."""
        if (self.parameters is None) == (self.sd is None):
            raise ValueError('FitCovariance: either parameters or sd must be given; got both or none.')

    def keypoint_sd(self) -> Float[Tensor, 'B K 3']:
        """Give the standard deviation of every coordinate, world unit."""
        return self.keypoints.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()

    def parameter_sd(self) -> Float[Tensor, 'B P']:
        """Give the standard deviation of every unknown."""
        if self.parameters is None:
            return self.sd
        return self.parameters.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()

    def expanded(self, rows: Tensor, count: int) -> 'FitCovariance':
        """Put frames at their places among `count`; the others are NaN: nothing is known of them."""

        def spread(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            return torch.full((count, *value.shape[1:]), torch.nan).to(value).index_copy(0, rows, value)

        found = {n: spread(getattr(self, n)) for n in ('parameters', 'keypoints', 'sd')}
        return replace(self, **found)
