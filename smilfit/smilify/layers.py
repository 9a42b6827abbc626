"""The backbones and the transformer decoder of SMILify's networks.

A backbone makes one vector an image, and tokens where it has any; the decoder's one query, made of the estimate so
far, reads them. Attributes are called as in SMILify's weight files, so that names of weights are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.networks.attention import CrossAttention, feed_forward
from smilfit.registry import UnknownNameError, did_you_mean

# Encoder and widths of the decoder, coarse to fine, by SMILify's name of a UNet.
UNETS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    'unet_efficientnet_b0': ('efficientnet_b0', (128, 64, 32)),
    'unet_efficientnet_b3': ('efficientnet_b3', (256, 128, 64)),
    'unet_efficientnet_b5': ('efficientnet_b5', (256, 128, 64)),
    'unet_resnet34': ('resnet34', (256, 128, 64)),
    'unet_resnet50': ('resnet50', (256, 128, 64)),
    'unet_convnext_base': ('convnext_base', (512, 256, 128)),
    'unet_mobilenet_v3': ('mobilenetv3_large_100', (128, 64, 32)),
}
RESNETS = ('resnet50', 'resnet101', 'resnet152')
VITS = ('vit_base_patch16_224', 'vit_large_patch16_224')
BACKBONES = (*RESNETS, *VITS, *UNETS)
# Of the UNet's maps, coarse to fine, the decoder head reads this one.
_LEVEL = 1
_PROBE_PX = 64


class Features(NamedTuple):
    """What a backbone sees in each image: a vector, and tokens (None of a ResNet)."""

    vector: Float[Tensor, 'N D']
    tokens: Float[Tensor, 'N P E'] | None


class SmilifyBackbone(nn.Module):
    """Normalise images, and see them.

    Args:
        name: one of `BACKBONES`.
        pretrained: let timm download its weights.
        with_tokens: whether anybody reads them; else a UNet's way up is neither run nor trained.
    """

    # Of any of these kinds.
    backbone: Any
    pixel_mean: Tensor
    pixel_std: Tensor
    dim: int
    token_dim: int | None

    def __init__(self, name: str, pretrained: bool = False, with_tokens: bool = True) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise UnknownNameError(f'SmilifyBackbone: no backbone {name!r}. {did_you_mean(name, BACKBONES)}')
        self.name, self.token_dim = name, None
        if name in UNETS:
            self.backbone = _UNet(*UNETS[name], pretrained, with_tokens)
            self.dim, self.token_dim = self.backbone.dim, UNETS[name][1][_LEVEL]
            config = timm.get_pretrained_cfg(UNETS[name][0])
        elif name in VITS:
            self.backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool='')
            self.dim = self.token_dim = self.backbone.num_features
            config = timm.get_pretrained_cfg(name)
        else:
            network: Any = timm.create_model(name, pretrained=pretrained)
            # Numbered, as the parts of a ResNet are in the files; the classifier is left out.
            self.backbone = nn.Sequential(*list(network.children())[:-1])
            self.dim = network.num_features
            config = timm.get_pretrained_cfg(name)
        for key in ('mean', 'std'):
            value = torch.tensor(getattr(config, key)).reshape(1, 3, 1, 1)
            self.register_buffer(f'pixel_{key}', value)

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> Features:
        """See images in [0, 1]."""
        x = (images - self.pixel_mean) / self.pixel_std
        if self.name in UNETS:
            return self.backbone(x)
        if self.name in VITS:
            tokens = self.backbone.forward_features(x)
            return Features(tokens[:, 0], tokens[:, 1:])
        return Features(self.backbone(x).flatten(1), None)


class _UNet(nn.Module):
    """A timm encoder, and three blocks that bring its last map up to finer ones."""

    def __init__(
        self, encoder: str, widths: tuple[int, int, int], pretrained: bool, with_tokens: bool
    ) -> None:
        super().__init__()
        self.encoder = timm.create_model(encoder, pretrained=pretrained, features_only=True)
        self.encoder.eval()
        with torch.no_grad():
            channels = [m.shape[1] for m in self.encoder(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX))]
        self.encoder.train()
        self.dim = channels[-1]
        below = channels[-2::-1]
        ins = (self.dim, *widths[:-1])
        self.decode_blocks = nn.ModuleList(
            _DecodeBlock(a + (below[i] if i < len(below) else 0), b)
            for i, (a, b) in enumerate(zip(ins, widths))
        )
        # What nobody reads is kept so that files are whole.
        self.n_read = _LEVEL + 1 if with_tokens else 0
        self.decode_blocks[self.n_read :].requires_grad_(False)

    def forward(self, x: Tensor) -> Features:
        maps = self.encoder(x)
        vector = maps[-1].mean((2, 3))
        if not self.n_read:
            return Features(vector, None)
        finer = maps[-2::-1]
        features = maps[-1]
        for i in range(self.n_read):
            features = self.decode_blocks[i](features, finer[i] if i < len(finer) else None)
        return Features(vector, features.flatten(2).transpose(1, 2))


class _DecodeBlock(nn.Module):
    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_dim, dim):
            layers += [nn.Conv2d(channels, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=False)
        return self.conv(x if finer is None else torch.cat((x, finer), 1))


Rotation = Literal['rot6d', 'axis_angle']
JointSizes = Literal['none', 'joints', 'betas']


@dataclass(frozen=True)
class OutputSizes:
    """The outputs of a head.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        rotation: six numbers a rotation (two rows of the matrix), or three.
        joint_sizes: scales and offsets of joints: none, three numbers a joint, or weights of the body model's
            directions.
        mesh_scale: whether the whole body's scale is estimated.
    """

    n_joints: int
    n_betas: int
    rotation: Rotation = 'rot6d'
    joint_sizes: JointSizes = 'joints'
    mesh_scale: bool = False

    @property
    def decoder(self) -> dict[str, int]:
        """Numbers by name, in the order in which the decoder is told of them."""
        sizes = {'pose': self._per_rotation * self.n_joints, 'betas': self.n_betas, 'trans': 3, 'fov': 1}
        sizes |= {'cam_rot': 6, 'cam_trans': 3, **self._joints}
        return sizes | ({'mesh_scale': 1} if self.mesh_scale else {})

    @property
    def mlp(self) -> dict[str, int]:
        """Numbers by name, in the order in which the fully connected head gives them."""
        sizes = {'pose': self._per_rotation * self.n_joints, 'betas': self.n_betas, 'trans': 3, 'fov': 1}
        return sizes | {'cam_rot': 9, 'cam_trans': 3, **self._joints}

    @property
    def _per_rotation(self) -> int:
        return 6 if self.rotation == 'rot6d' else 3

    @property
    def _joints(self) -> dict[str, int]:
        n = {'none': 0, 'joints': 3 * self.n_joints, 'betas': self.n_betas}[self.joint_sizes]
        return {'scales': n, 'joint_trans': n} if n else {}


# Estimates that start elsewhere than at zero: field of view (deg), distance of the camera.
_START_FOV, _START_DISTANCE = 8.0, 100.0


class SmilifyDecoder(nn.Module):
    """Correct an estimate step by step, all steps with the same weights.

    Unlike SMILify's, an untrained one starts at unrotated joints: its own start (1, 0, 0, 1, 0, 0) names two
    parallel vectors, which are no rotation. A file's own start is loaded with its weights, and kept.

    Args:
        sizes: what is estimated.
        context_dim: channels of the tokens.
        dim: channels of the query.
        depth: layers.
        heads: heads of a layer.
        dim_head: channels of a head.
        mlp_dim: channels of a layer's feed-forward part.
        dropout: in training.
        n_iters: steps.
        scale_step: factor on what a step adds to joint scales.
        offset_step: factor on what a step adds to joint offsets.
    """

    def __init__(
        self,
        sizes: OutputSizes,
        context_dim: int,
        dim: int,
        depth: int = 6,
        heads: int = 8,
        dim_head: int = 64,
        mlp_dim: int = 1024,
        dropout: float = 0.1,
        n_iters: int = 3,
        scale_step: float = 1.0,
        offset_step: float = 1.0,
    ) -> None:
        super().__init__()
        self.sizes, self.n_iters = sizes, n_iters
        # The mesh's scale is estimated, but no part of what the query is told.
        self.fed_back = [name for name in sizes.decoder if name != 'mesh_scale']
        n_fed = sum(sizes.decoder[name] for name in self.fed_back)
        self.steps = {'scales': scale_step, 'joint_trans': offset_step, 'mesh_scale': 0.1}
        self.param_norm = nn.LayerNorm(n_fed)
        self.token_embedding = nn.Linear(n_fed, dim)
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.layers = nn.ModuleList(
            _Layer(dim, context_dim, heads, dim_head, mlp_dim, dropout) for _ in range(depth)
        )
        for name, size in sizes.decoder.items():
            head = nn.Linear(dim, size)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            setattr(self, f'{name}_head', head)
            self.register_buffer(f'init_{name}', _start(name, sizes))

    def forward(
        self, n_batch: int, context: Float[Tensor, 'B L D'] | None, mask: Bool[Tensor, 'B L'] | None
    ) -> list[dict[str, Tensor]]:
        """Return the estimate after each step, by name; a token outside the mask is not read."""
        state = {n: getattr(self, f'init_{n}').float().expand(n_batch, -1) for n in self.sizes.decoder}
        steps = []
        for _ in range(self.n_iters):
            notes = self.param_norm(torch.cat([state[name] for name in self.fed_back], 1))
            query = self.token_embedding(notes).unsqueeze(1) + self.pos_embedding
            for layer in self.layers:
                query = layer(query, context, mask)
            answer = query.squeeze(1)
            state = {
                name: value + self.steps.get(name, 1.0) * getattr(self, f'{name}_head')(answer)
                for name, value in state.items()
            }
            steps.append(state)
        return steps


def _start(name: str, sizes: OutputSizes) -> Tensor:
    value = torch.zeros(1, sizes.decoder[name])
    if name == 'pose' and sizes.rotation == 'rot6d':
        value = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(1, sizes.n_joints)
    elif name == 'cam_rot':
        value[0, [0, 4]] = 1.0
    elif name == 'fov':
        value[:] = _START_FOV
    elif name == 'cam_trans':
        value[0, 2] = _START_DISTANCE
    return value


class _Layer(nn.Module):
    """Cross-attention and feed-forward, both after layer normalisation."""

    def __init__(
        self, dim: int, context_dim: int, heads: int, dim_head: int, mlp_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm1, self.norm_context = nn.LayerNorm(dim), nn.LayerNorm(context_dim)
        self.cross_attn = CrossAttention(dim, context_dim, heads, dim_head, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.ff = _FeedForward(dim, mlp_dim, dropout)

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        query = self.norm1(x)
        # Without tokens the query has but itself to read.
        x = x + self.cross_attn(query, query if context is None else self.norm_context(context), mask)
        return x + self.ff(self.norm2(x))


class _FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = feed_forward(dim, hidden, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
