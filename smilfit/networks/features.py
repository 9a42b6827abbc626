"""Features of an animal's image beside its body: those of a crop of its head, and one vector made of several."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.networks.attention import SelfAttentionLayer
from smilfit.networks.backbones.timm_network import TimmBackbone
from smilfit.networks.keypoints.batch_crops import box_affine, cut, square_around
from smilfit.registry import MODELS, UnknownNameError, did_you_mean


@dataclass(frozen=True)
class HeadFeatures:
    """Features of heads, zero where `valid` is False.

    `boxes` are the squares (x0, y0, side) px that were looked at, NaN around no keypoint. `n_outside` heads lie
    outside of their images, `n_unknown` have no keypoint.
    """

    features: Float[Tensor, 'B D']
    valid: Bool[Tensor, 'B']
    boxes: Float[Tensor, 'B 3']
    n_outside: int
    n_unknown: int


@MODELS.register_module()
class HeadBranch(nn.Module):
    """Look at the animal's head alone, in a crop about its keypoints or in a given box.

    The mean of the network's last map becomes the features. A head of which less than `least_inside` of the box is
    in the image, or whose keypoints are not known, has zeros, is outside the mask, and is counted.

    Args:
        backbone: crops to maps.
        dim: how many features.
        side: of the crops, px.
        margin: side of a box over the larger extent of its keypoints.
        least_inside: share of the box's area that must be in the image.

    Raises:
        ValueError: a side, margin or share that cannot be.
    """

    def __init__(
        self,
        backbone: TimmBackbone,
        dim: int = 768,
        side: int = 224,
        margin: float = 1.6,
        least_inside: float = 0.5,
    ) -> None:
        super().__init__()
        if side < 1 or margin < 1 or not 0 <= least_inside <= 1:
            raise ValueError(
                'HeadBranch: side and margin must be at least 1 and least_inside from 0 to 1; got '
                f'{side}, {margin} and {least_inside}. Leave them out for the usual ones.'
            )
        self.backbone, self.dim, self.side = backbone, dim, side
        self.margin, self.least_inside = margin, least_inside
        self.project: nn.Module = nn.Identity() if backbone.dim == dim else nn.Linear(backbone.dim, dim)

    def boxes_around(self, px: Float[Tensor, 'B K 2'], known: Bool[Tensor, 'B K']) -> Float[Tensor, 'B 3']:
        """Return the squares (x0, y0, side) about the head's keypoints, such as projected ones; NaN about none."""
        return square_around(px, known, self.margin)

    def forward(self, images: Float[Tensor, 'B 3 H W'], boxes: Float[Tensor, 'B 3']) -> HeadFeatures:
        """Compute the features of the heads in boxes (x0, y0, side) px of images in [0, 1]."""
        known = boxes.isfinite().all(1) & (boxes[:, 2] > 0)
        valid = known & (share_inside(boxes, images.shape[-2:]) >= self.least_inside)
        features = images.new_zeros(len(images), self.dim)
        # Boxes that are none are not cut at all.
        rows = valid.nonzero().flatten()
        if len(rows):
            crops = cut(images[rows], box_affine(boxes[rows], self.side), self.side)
            answer = self.project(self.backbone(crops).mean((2, 3)))
            features = features.to(answer.dtype).index_copy(0, rows, answer)
        return HeadFeatures(features, valid, boxes, int((known & ~valid).sum()), int((~known).sum()))


def share_inside(boxes: Float[Tensor, 'B 3'], size: torch.Size) -> Float[Tensor, 'B']:
    """Return which share of each square's area is in an image of (H, W) px; NaN of a box that is none."""
    low = boxes[:, :2] - 0.5
    limit = boxes.new_tensor([size[1], size[0]]) - 0.5
    within = (torch.minimum(low + boxes[:, 2:], limit) - low.clamp_min(-0.5)).clamp_min(0)
    return within.prod(1) / boxes[:, 2].square()


class _NamedInputs(nn.Module):
    """Checks and normalises features by name, and has a learnt vector in place of each that is missing."""

    def __init__(self, inputs: Mapping[str, int]) -> None:
        super().__init__()
        if not inputs or any(dim < 1 for dim in inputs.values()):
            raise ValueError(
                f'FeatureFusion: inputs must be names with positive dimensions; got {dict(inputs)}. Give such as '
                'inputs=dict(visual=1280, head=768, params=359).'
            )
        self.inputs = dict(inputs)
        self.norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name, dim in inputs.items()})
        self.missing = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(dim)) for name, dim in inputs.items()}
        )

    def normalised(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None
    ) -> list[Float[Tensor, 'B d']]:
        """Return the features in the order of `inputs`; a row outside its mask has no influence.

        Raises:
            UnknownNameError: a name that is missing or unknown, with the near ones.
            ValueError: features of another dimension.
        """
        for given in (features, masks or {}):
            for name in given:
                if name not in self.inputs:
                    raise UnknownNameError(
                        f'FeatureFusion: no input {name!r}. {did_you_mean(name, self.inputs)}'
                    )
        result = []
        for name, dim in self.inputs.items():
            if name not in features:
                raise UnknownNameError(
                    f'FeatureFusion: the input {name!r} must be given; got {sorted(features)}. Mask what is missing.'
                )
            value = features[name]
            if value.ndim != 2 or value.shape[1] != dim:
                raise ValueError(
                    f'FeatureFusion: the input {name!r} must be (B, {dim}); got {tuple(value.shape)}. Give its '
                    'dimension in inputs.'
                )
            normed = self.norms[name](value)
            if masks is not None and name in masks:
                normed = torch.where(masks[name].unsqueeze(1), normed, self.missing[name].to(normed.dtype))
            result.append(normed)
        return result


@MODELS.register_module()
class FeatureFusion(_NamedInputs):
    """Make one vector of several named ones by two fully connected layers.

    Args:
        inputs: dimensions by name.
        dim: of the result.
        hidden_dim: of the layer between.
        dropout: in training.
    """

    def __init__(
        self, inputs: Mapping[str, int], dim: int = 512, hidden_dim: int = 1024, dropout: float = 0.1
    ) -> None:
        super().__init__(inputs)
        self.dim = dim
        self.net = nn.Sequential(
            nn.Linear(sum(inputs.values()), hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, dim),
        )

    def forward(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, 'B E']:
        """Fuse features (B, d) by name; rows outside a mask (B,) count as missing."""
        return self.net(torch.cat(self.normalised(features, masks), 1))


@MODELS.register_module()
class TransformerFeatureFusion(_NamedInputs):
    """Make one vector of several named ones by attention: each is a token, and one more token reads them.

    Args:
        inputs: dimensions by name.
        dim: of the tokens and the result.
        n_layers: attention layers.
        n_heads: heads of each.
    """

    def __init__(
        self, inputs: Mapping[str, int], dim: int = 512, n_layers: int = 2, n_heads: int = 8
    ) -> None:
        super().__init__(inputs)
        self.dim = dim
        self.projections = nn.ModuleDict({name: nn.Linear(n, dim) for name, n in inputs.items()})
        self.reader = nn.Parameter(0.02 * torch.randn(dim))
        self.layers = nn.ModuleList(SelfAttentionLayer(dim, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, 'B E']:
        """Fuse features (B, d) by name; rows outside a mask (B,) count as missing."""
        inputs = self.normalised(features, masks)
        tokens = [self.projections[name](value) for name, value in zip(self.inputs, inputs)]
        x = torch.stack([self.reader.expand_as(tokens[0]), *tokens], 1)
        every = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for layer in self.layers:
            x = layer(x, every)
        return self.norm(x[:, 0])
