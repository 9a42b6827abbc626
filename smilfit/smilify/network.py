"""SMILify's single-view and multi-view networks, from images to its own numbers.

Views attend to each other, and each camera has a head of its own. Attributes are called as in SMILify's weight files.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.geometry.rotation import axis_angle_to_rotmat, rot6d_to_rotmat
from smilfit.networks.attention import MLPTrunk, feed_forward
from smilfit.networks.heads.camera_heads import of_each
from smilfit.registry import MODELS
from smilfit.smilify.layers import (
    JointSizes,
    OutputSizes,
    Rotation,
    SmilifyBackbone,
    SmilifyDecoder,
)

FOV_RANGE = (5.0, 120.0)
_TRANS_SCALE = 5.0
_FOV_DELTA, _TRANS_DELTA, _TURN_DELTA = 5.0, 0.25, 0.1


class ViewCameras(NamedTuple):
    """Cameras as PyTorch3D has them: `x_cam = x_world R + T`, x to the left, y up; vertical field of view, deg."""

    fov: Float[Tensor, '*b']
    R: Float[Tensor, '*b 3 3']
    T: Float[Tensor, '*b 3']


class ViewFusion(nn.Module):
    """Let the views' vectors read from each other; an absent view is not read."""

    def __init__(self, dim: int, n_layers: int = 2, n_heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_ViewAttention(dim, n_heads, dropout) for _ in range(n_layers))
        self.final_norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, 'B C D'], mask: Bool[Tensor, 'B C']) -> Float[Tensor, 'B C D']:
        """Fuse; absent views come back as zeros."""
        for layer in self.layers:
            x = layer(x, mask)
        return torch.where(mask.unsqueeze(-1), self.final_norm(x), torch.zeros_like(x))


class _ViewAttention(nn.Module):
    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.q_proj, self.k_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v_proj, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = feed_forward(dim, 4 * dim, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        normed = self.norm1(x)
        query, key, value = (
            project(normed).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        rate = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, mask[:, None, None, :], rate)
        read = self.out_proj(read.transpose(1, 2).flatten(2))
        x = x + F.dropout(read, rate, self.training)
        return x + self.ffn(self.norm2(x))


class SmilifyCameraHead(nn.Module):
    """One camera's head: field of view, rotation and translation, its own or as a change of a given one."""

    identity_6d: Tensor

    def __init__(self, in_dim: int, dim: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((in_dim, dim), (dim, dim // 2)):
            layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU(), nn.Dropout(0.1)]
        last = nn.Linear(dim // 2, 10)
        nn.init.xavier_uniform_(last.weight, gain=0.01)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.register_buffer('identity_6d', torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, features: Float[Tensor, '*b D'], given: ViewCameras | None = None) -> ViewCameras:
        """Predict a camera; with a given one, how it differs from that."""
        fov, rotation, shift = self.layers(features).float().split((1, 6, 3), -1)
        fov, low, high = fov.squeeze(-1), *FOV_RANGE
        if given is None:
            R = rot6d_to_rotmat(rotation + self.identity_6d)
            return ViewCameras(low + fov.sigmoid() * (high - low), R, _TRANS_SCALE * shift.tanh())
        R = rot6d_to_rotmat(_TURN_DELTA * rotation + self.identity_6d) @ given.R
        fov = (given.fov + _FOV_DELTA * fov.tanh()).clamp(low, high)
        return ViewCameras(fov, R, given.T + _TRANS_DELTA * shift.tanh())


def cameras_by_head(
    heads: nn.ModuleList,
    features: Float[Tensor, 'B C D'],
    index: Int[Tensor, 'B C'],
    given: ViewCameras | None,
) -> ViewCameras:
    """Ask each view's own head."""
    every = [head(features, given) for head in heads]
    return ViewCameras(*(of_each(values, index) for values in zip(*every)))


@dataclass(frozen=True)
class SmilifyOutput:
    """A step's numbers, as SMILify means them.

    `rotations` are matrices, the root's first; `raw_pose` what they were made of. `scales` and `offsets` are three
    numbers a joint, or weights of the body model's directions. `camera` is the head's own (one a sample).
    """

    raw_pose: Float[Tensor, 'B P']
    rotations: Float[Tensor, 'B J 3 3']
    betas: Float[Tensor, 'B S']
    trans: Float[Tensor, 'B 3']
    camera: ViewCameras
    raw_cam_rot: Float[Tensor, 'B R']
    scales: Float[Tensor, 'B n'] | None
    offsets: Float[Tensor, 'B n'] | None
    log_mesh_scale: Float[Tensor, 'B'] | None


@MODELS.register_module()
class SmilifyNetwork(nn.Module):
    """A network of SMILify, of any of its kinds.

    Differs from SMILify where that is wrong: an absent view changes nothing (there its image reaches the body),
    rotations of cameras are rotations, and an untrained one predicts the resting pose.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        backbone: one of `BACKBONES`.
        head: 'transformer_decoder' or 'mlp'.
        n_cameras: how many cameras a multi-view network knows; 0 makes a single-view network.
        rotation: 'rot6d' or 'axis_angle'.
        joint_sizes: see `OutputSizes`.
        mesh_scale: see `OutputSizes`; of the decoder only.
        dim: channels of the head.
        depth: as are the next seven, see `SmilifyDecoder`.
        fusion_layers: layers of attention between views.
        fusion_heads: heads of each.
        fusion_dropout: in training.
        pretrained: let timm download the backbone's weights.
    """

    def __init__(
        self,
        n_joints: int,
        n_betas: int,
        backbone: str = 'vit_large_patch16_224',
        head: Literal['transformer_decoder', 'mlp'] = 'transformer_decoder',
        n_cameras: int = 0,
        rotation: Rotation = 'rot6d',
        joint_sizes: JointSizes = 'joints',
        mesh_scale: bool = False,
        dim: int = 1024,
        depth: int = 6,
        heads: int = 8,
        dim_head: int = 64,
        mlp_dim: int = 1024,
        dropout: float = 0.1,
        n_iters: int = 3,
        scale_step: float = 1.0,
        offset_step: float = 1.0,
        fusion_layers: int = 2,
        fusion_heads: int = 8,
        fusion_dropout: float = 0.1,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if head not in ('transformer_decoder', 'mlp'):
            raise ValueError(
                f"SmilifyNetwork: head must be 'transformer_decoder' or 'mlp'; got {head!r}. Choose one."
            )
        decoding = head == 'transformer_decoder'
        self.sizes = OutputSizes(n_joints, n_betas, rotation, joint_sizes, mesh_scale and decoding)
        self.backbone = SmilifyBackbone(backbone, pretrained, with_tokens=decoding)
        width = self.backbone.dim
        self.n_cameras = n_cameras
        if decoding:
            layers = (depth, heads, dim_head, mlp_dim, dropout, n_iters, scale_step, offset_step)
            self.transformer_head = SmilifyDecoder(self.sizes, self.backbone.token_dim or width, dim, *layers)
        else:
            self.trunk = MLPTrunk(width, dim)
            self.regressor = nn.Linear(self.trunk.out_dim, sum(self.sizes.mlp.values()))
            _start_at_rest(self.regressor, self.sizes)
        if n_cameras:
            self.view_fusion = ViewFusion(width, fusion_layers, fusion_heads, fusion_dropout)
            self.camera_heads = nn.ModuleList(SmilifyCameraHead(width) for _ in range(n_cameras))
            self.view_embeddings = nn.Embedding(n_cameras, width)
            nn.init.normal_(self.view_embeddings.weight, std=0.02)
            if decoding and self.backbone.token_dim is not None:
                self.patch_view_embed = nn.Embedding(n_cameras, self.backbone.token_dim)
                nn.init.normal_(self.patch_view_embed.weight, std=0.02)
            elif not decoding:
                self.body_aggregator = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())

    def forward(
        self,
        images: Float[Tensor, 'B C 3 H W'],
        camera_index: Int[Tensor, 'B C'],
        view_mask: Bool[Tensor, 'B C'],
        given: ViewCameras | None = None,
    ) -> tuple[list[SmilifyOutput], ViewCameras | None]:
        """Predict bodies, and with a multi-view network the views' cameras.

        Args:
            images: RGB in [0, 1].
            camera_index: which of the known cameras each view is.
            view_mask: which views there are. A single-view network looks at the first of them.
            given: cameras to correct; None predicts them as a whole.
        """
        if not self.n_cameras:
            first = view_mask.int().argmax(1)
            features = self.backbone(images[torch.arange(len(images)), first])
            return self._bodies(features.vector, features.tokens, None), None
        index, keep = camera_index, view_mask.unsqueeze(-1)
        features = self.backbone(images[view_mask])
        vectors = features.vector.new_zeros(*view_mask.shape, features.vector.shape[-1])
        vectors[view_mask] = features.vector
        vectors = torch.where(keep, vectors + self.view_embeddings(index), torch.zeros_like(vectors))
        fused = self.view_fusion(vectors, view_mask)
        if hasattr(self, 'body_aggregator'):
            mean = fused.sum(1) / view_mask.sum(1, keepdim=True)
            bodies = self._bodies(self.body_aggregator(mean), None, None)
        else:
            tokens, mask = fused, view_mask
            if features.tokens is not None:
                tokens = features.tokens.new_zeros(*view_mask.shape, *features.tokens.shape[1:])
                tokens[view_mask] = features.tokens
                tokens = tokens + self.patch_view_embed(index).unsqueeze(2)
                mask = view_mask.unsqueeze(2).expand(tokens.shape[:3]).flatten(1)
                tokens = tokens.flatten(1, 2)
            bodies = self._bodies(fused[:, 0], tokens, mask)
        return bodies, cameras_by_head(self.camera_heads, fused, index, given)

    def _bodies(self, vector: Tensor, tokens: Tensor | None, mask: Tensor | None) -> list[SmilifyOutput]:
        if hasattr(self, 'trunk'):
            with torch.autocast(vector.device.type, enabled=False):
                numbers = self.regressor(self.trunk(vector.float()))
                values = numbers.split(list(self.sizes.mlp.values()), 1)
                return [self._output(dict(zip(self.sizes.mlp, values)))]
        with torch.autocast(vector.device.type, enabled=False):
            context = None if tokens is None else tokens.float()
            return [self._output(step) for step in self.transformer_head(len(vector), context, mask)]

    def _output(self, values: dict[str, Tensor]) -> SmilifyOutput:
        rotation = values['cam_rot']
        R = (
            rot6d_to_rotmat(rotation).mT
            if rotation.shape[1] == 6
            else _nearest_rotation(rotation.unflatten(1, (3, 3)))
        )
        pose = values['pose'].unflatten(1, (self.sizes.n_joints, -1))
        log_scale = values.get('mesh_scale')
        return SmilifyOutput(
            raw_pose=values['pose'],
            # SMILify's six numbers are rows of the matrix.
            rotations=rot6d_to_rotmat(pose).mT if pose.shape[2] == 6 else axis_angle_to_rotmat(pose),
            betas=values['betas'],
            trans=values['trans'],
            camera=ViewCameras(values['fov'].squeeze(1), R, values['cam_trans']),
            raw_cam_rot=rotation,
            scales=values.get('scales'),
            offsets=values.get('joint_trans'),
            log_mesh_scale=None if log_scale is None else log_scale.squeeze(1),
        )


def _start_at_rest(regressor: nn.Linear, sizes: OutputSizes) -> None:
    """Let an untrained layer give unrotated joints and cameras, and zero of all else."""
    nn.init.zeros_(regressor.weight)
    start = {name: torch.zeros(size) for name, size in sizes.mlp.items()}
    if sizes.rotation == 'rot6d':
        start['pose'] = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(sizes.n_joints)
    start['cam_rot'] = torch.eye(3).flatten()
    # An angle that a camera has, and a distance from which the animal is seen.
    start['fov'][:] = 60.0
    start['cam_trans'][2] = 3.0
    with torch.no_grad():
        regressor.bias.copy_(torch.cat(list(start.values())))


def _nearest_rotation(matrix: Tensor) -> Tensor:
    # Imported where it is used: it takes a second.
    import roma

    return roma.special_procrustes(matrix)
