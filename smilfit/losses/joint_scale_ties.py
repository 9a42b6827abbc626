"""Joint scales that belong together: both sides of the body, and the joints of a group."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES, UnknownNameError, did_you_mean


@LOSSES.register_module()
class TiedJointScalePriorLoss(BaseLoss):
    """Squared logarithms of joint scales, and of what tied joints differ from their mean: legs are longer as legs.

    The sides of the model's `joint_symmetry` are tied, and the joints of each named group. Where a group and a
    side overlap, all of them are one.

    Args:
        groups: joint groups of the model file.
        tie: how many times more a difference within a tie costs than a scale.
        reduction: of the mean over joints and axes.
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        groups: Sequence[str] = (),
        tie: float = 100.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if tie < 0:
            raise ValueError(f'TiedJointScalePriorLoss: tie must not be negative; got {tie}.')
        self.groups, self.tie = tuple(groups), tie
        self.register_buffer('apart', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the sides and groups of a model.

        Raises:
            KeyError: a group that the model does not have.
        """
        for group in self.groups:
            if group not in data.joint_groups:
                raise UnknownNameError(
                    f'TiedJointScalePriorLoss: {data.name} has no joint group {group!r}. '
                    f'{did_you_mean(group, data.joint_groups)}'
                )
        index = {name: j for j, name in enumerate(data.joint_names)}
        label = list(range(data.n_joints))
        for members in (*data.joint_symmetry, *(data.joint_groups[g] for g in self.groups)):
            joined = {label[index[m]] for m in members}
            label = [min(joined) if value in joined else value for value in label]
        same = torch.tensor([[float(a == b) for b in label] for a in label], dtype=torch.float64)
        self.apart = (torch.eye(len(label)) - same / same.sum(1, keepdim=True)).float()

    def residual(self, log_joint_scales: Float[Tensor, 'B J 3']) -> Residuals:
        """Return scales, and what each differs from the mean of those it is tied to."""
        apart = self._apart(log_joint_scales)
        rows = torch.cat((torch.eye(len(apart)).to(apart), self.tie**0.5 * apart))
        value = torch.einsum('ij,bjc->bic', rows, log_joint_scales)
        axes = torch.eye(3, dtype=apart.dtype, device=apart.device)
        # The mean is over joints and axes, not over the differences too.
        count = float(log_joint_scales.numel())
        return Residuals(value, count=count, slope=torch.kron(rows, axes).unsqueeze(0))

    def _apart(self, like: Tensor) -> Tensor:
        if self.apart is None:
            raise ValueError('TiedJointScalePriorLoss: call bind_body(data) with the model first.')
        return self.apart.to(like)
