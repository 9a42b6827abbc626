"""Body parameters by fully connected layers."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.networks.heads.body_estimate import BodyEstimate
from smilfit.networks.heads.estimate_change import EstimateChange
from smilfit.networks.heads.mlp_trunk import MLPTrunk, zero_linear
from smilfit.registry import MODELS


@MODELS.register_module()
class MLPHead(nn.Module):
    """Correct an estimate once, from the mean of the views' tokens.

    The last layer starts at zero, so an untrained head returns the estimate it was given.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        context_dim: channels of the fused tokens.
        dim: channels of the first layer; the next two halve them.
        dropout: in training.
        rotation: see `EstimateChange`.
        joint_sizes: see `EstimateChange`.
    """

    def __init__(
        self,
        n_joints: int,
        n_betas: int,
        context_dim: int,
        dim: int = 1024,
        dropout: float = 0.3,
        rotation: str = 'rot6d',
        joint_sizes: str = 'ignore',
    ) -> None:
        super().__init__()
        self.n_joints, self.n_betas, self.joint_sizes = n_joints, n_betas, joint_sizes
        self.change = EstimateChange(n_joints, n_betas, rotation, joint_sizes)
        self.trunk = MLPTrunk(context_dim, dim, dropout)
        self.correct = zero_linear(self.trunk.out_dim, self.change.n_numbers)

    def forward(
        self, tokens: Float[Tensor, 'B L D'], mask: Bool[Tensor, 'B L'], start: BodyEstimate
    ) -> list[BodyEstimate]:
        """Return the corrected estimate, as a list of one; tokens outside the mask take no part."""
        weight = mask.unsqueeze(-1).to(tokens)
        mean = tokens.mul(weight).sum(1) / weight.sum(1).clamp_min(1)
        return [self.change.applied(self.change.begun(start), self.correct(self.trunk(mean)).float())]
