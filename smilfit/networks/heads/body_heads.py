"""Heads that read body parameters from tokens: fully connected layers, and an iterative decoder."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.networks.attention import CrossAttentionLayer, MLPTrunk, zero_linear
from smilfit.networks.heads.body_estimate import BodyEstimate, EstimateChange
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
        part_sizes: estimate the sizes of the body's parts too.
        n_part_sizes: G; the body's where a config leaves it out.
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
        part_sizes: bool = False,
        n_part_sizes: int = 0,
    ) -> None:
        super().__init__()
        self.n_joints, self.n_betas, self.joint_sizes = n_joints, n_betas, joint_sizes
        self.change = EstimateChange(
            n_joints, n_betas, rotation, joint_sizes, n_part_sizes if part_sizes else 0
        )
        self.trunk = MLPTrunk(context_dim, dim, dropout)
        self.correct = zero_linear(self.trunk.out_dim, self.change.n_numbers)

    def forward(
        self, tokens: Float[Tensor, 'B L D'], mask: Bool[Tensor, 'B L'], start: BodyEstimate
    ) -> list[BodyEstimate]:
        """Return the corrected estimate, as a list of one; tokens outside the mask take no part."""
        weight = mask.unsqueeze(-1).to(tokens)
        mean = tokens.mul(weight).sum(1) / weight.sum(1).clamp_min(1)
        return [self.change.applied(self.change.begun(start), self.correct(self.trunk(mean)).float())]


@MODELS.register_module()
class TransformerDecoderHead(nn.Module):
    """Correct an estimate step by step: the estimate asks, the image tokens answer, the answer is added.

    One query token is made from the current estimate and attends to all fused tokens; the weights are shared
    by the steps (iterative error feedback). The last layer starts at zero, so an untrained head returns the
    estimate it was given.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        context_dim: channels of the fused tokens.
        dim: channels of the query.
        n_layers: decoder layers.
        n_heads: heads of each.
        n_iters: steps of feedback.
        rotation: see `EstimateChange`.
        joint_sizes: see `EstimateChange`.
        part_sizes: estimate the sizes of the body's parts too.
        n_part_sizes: G; the body's where a config leaves it out.
    """

    def __init__(
        self,
        n_joints: int,
        n_betas: int,
        context_dim: int,
        dim: int = 256,
        n_layers: int = 3,
        n_heads: int = 8,
        n_iters: int = 3,
        rotation: str = 'rot6d',
        joint_sizes: str = 'ignore',
        part_sizes: bool = False,
        n_part_sizes: int = 0,
    ) -> None:
        super().__init__()
        self.n_joints, self.n_betas, self.n_iters = n_joints, n_betas, n_iters
        self.joint_sizes = joint_sizes
        self.change = EstimateChange(
            n_joints, n_betas, rotation, joint_sizes, n_part_sizes if part_sizes else 0
        )
        self.query = nn.Parameter(0.02 * torch.randn(dim))
        self.norm_estimate = nn.LayerNorm(self.change.n_estimate)
        self.embed_estimate = nn.Linear(self.change.n_estimate, dim)
        self.layers = nn.ModuleList(CrossAttentionLayer(dim, context_dim, n_heads) for _ in range(n_layers))
        self.norm_out = nn.LayerNorm(dim)
        self.correct = zero_linear(dim, self.change.n_numbers)

    def forward(
        self, tokens: Float[Tensor, 'B L D'], mask: Bool[Tensor, 'B L'], start: BodyEstimate
    ) -> list[BodyEstimate]:
        """Return the estimate after each step, the final one last."""
        layers = [layer for layer in self.layers if isinstance(layer, CrossAttentionLayer)]
        contexts = [layer.keys_values(tokens) for layer in layers]
        estimates = []
        estimate = self.change.begun(start)
        for _ in range(self.n_iters):
            query = self.query + self.embed_estimate(self.norm_estimate(estimate.as_vector()))
            query = query.unsqueeze(1)
            for layer, context in zip(layers, contexts):
                query = layer(query, context, mask)
            estimate = self.change.applied(estimate, self.correct(self.norm_out(query.squeeze(1))).float())
            estimates.append(estimate)
        return estimates
