"""How far the sizes of a body's parts are from the model's."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class PartSizePriorLoss(BaseLoss):
    """Squared sizes of parts in standard deviations of the model file, and a steep wall beyond their limits.

    A mean is over frames, of their sums: for sizes that a clip shares, the weight 1 is the statistical one where
    keypoints' squared residuals, too, are in standard deviations and summed (`reduction='sum'`).

    Args:
        wall: by how much beyond a limit a size costs as much as one standard deviation, a share.
        reduction: of the terms.
        loss_weight: factor on the result.
    """

    def __init__(self, wall: float = 0.01, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if not wall > 0:
            raise ValueError(f'PartSizePriorLoss: wall must be positive; got {wall}.')
        self.wall = wall
        self.register_buffer('precision_root', None, persistent=False)
        self.register_buffer('limits', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the standard deviations and limits of a model's parts."""
        parts = (data.part_sizes or default_part_sizes(data)).values()
        self.precision_root = torch.tensor([p.sd for p in parts], dtype=torch.float64).reciprocal()
        self.limits = torch.tensor([p.limit for p in parts], dtype=torch.float64)

    def residual(self, part_sizes: Float[Tensor, 'B G']) -> tuple[Residuals, ...]:
        """Return sizes in standard deviations, and how far they are beyond their limits.

        Raises:
            ValueError: the model is not known yet.
        """
        if self.precision_root is None:
            raise ValueError('PartSizePriorLoss: call bind_body(data) with the model first.')
        root, limit, count = self.precision_root.to(part_sizes), self.limits.to(part_sizes), len(part_sizes)
        beyond = (part_sizes.abs() - limit).relu()
        side = part_sizes.sign() * (beyond > 0)
        wall = Residuals(
            beyond,
            factor=self.wall**-2,
            pointwise=True,
            slope=torch.diag_embed(side.detach()),
            interval=torch.stack((-limit, limit), -1),
            count=float(count),
        )
        spread = Residuals(
            part_sizes * root, pointwise=True, slope=torch.diag_embed(root), count=float(count)
        )
        return spread, wall
