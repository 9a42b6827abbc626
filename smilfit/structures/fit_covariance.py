"""How sure a fit is of its parameters and keypoints."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FitCovariance:
    """Gauss-Newton covariances at a solution.

    Args:
        parameters: of each frame's unknowns, in the order of `columns`: turns of joints (rad, about the world's
            axes), translation, and the further parameters, those that all frames share last.
        columns: names of the unknowns, such as `'knee.turn_x'`, `'transl_y'`, `'betas[0]'`.
        keypoints: of every keypoint's place, world unit squared.
        keypoint_names: their names.
        noise: estimated standard deviation of a weighted residual; weights are relative to it.
    """

    parameters: Float[Tensor, 'B P P']
    columns: tuple[str, ...]
    keypoints: Float[Tensor, 'B K 3 3']
    keypoint_names: tuple[str, ...]
    noise: float

    def keypoint_sd(self) -> Float[Tensor, 'B K 3']:
        """Give the standard deviation of every coordinate, world unit."""
        return self.keypoints.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()

    def parameter_sd(self) -> Float[Tensor, 'B P']:
        """Give the standard deviation of every unknown."""
        return self.parameters.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()

    def expanded(self, rows: Tensor, count: int) -> 'FitCovariance':
        """Put frames at their places among `count`; the others are NaN: nothing is known of them."""

        def spread(value: Tensor) -> Tensor:
            return torch.full((count, *value.shape[1:]), torch.nan).to(value).index_copy(0, rows, value)

        parts = spread(self.parameters), self.columns, spread(self.keypoints), self.keypoint_names
        return FitCovariance(*parts, self.noise)
