"""A vision transformer's patches, brought to a fine map by deconvolutions."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from smilfit.models.backbones.timm_network import TimmNetwork
from smilfit.models.feature_cache import FeatureCache
from smilfit.registry import MODELS


@MODELS.register_module()
class ViTPyramid(TimmNetwork):
    """Give a ViT's grid of patches, and a fine map of it by deconvolutions of stride 2, as ViTPose does.

    With patches of 16 px and two of them the fine map's stride is 4. See Xu et al., ViTPose, NeurIPS 2022. The
    deconvolutions are trained also where the network is frozen.

    Args:
        name: a timm model name, such as `vit_base_patch16_224`, `vit_large_patch16_224`, `vit_huge_patch14_clip_224`.
        dim: channels of the fine map.
        n_deconvolutions: how often the grid's size is doubled.
        checkpoint: a file of weights, read without running code; the classifier in it is ignored.
        pretrained: let timm download its weights.
        frozen: train none of the network.
        frozen_stages: do not train the first so many blocks and the patch embedding.
        grad_checkpointing: compute activations anew in the backward pass.
        options: further arguments of `timm.create_model`.
        cache: keeps what the frozen network says of training images on disk; see `FeatureCache`.

    Attributes:
        dims: channels of the fine map and of the patches.
        strides: px a cell of these.

    Raises:
        ValueError: a network without patches, or patches that cannot be halved so often.
    """

    def __init__(
        self,
        name: str = 'vit_base_patch16_224',
        dim: int = 256,
        n_deconvolutions: int = 2,
        checkpoint: str | Path | None = None,
        pretrained: bool = False,
        frozen: bool = False,
        frozen_stages: int = 0,
        grad_checkpointing: bool = False,
        options: Mapping[str, Any] | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        super().__init__(
            name,
            checkpoint,
            pretrained,
            None,
            False,
            frozen,
            frozen_stages,
            grad_checkpointing,
            options,
            cache,
        )
        patch = getattr(getattr(self.network, 'patch_embed', None), 'patch_size', (0, 0))
        side = int(patch[0])
        if n_deconvolutions < 1 or not side or patch[0] != patch[1] or side % 2**n_deconvolutions:
            raise ValueError(
                f'ViTPyramid: the network must have square patches that n_deconvolutions={n_deconvolutions} halves '
                f'to whole px; {name!r} has {tuple(patch)} px. Take one with patches of 16 px, or TimmPyramid.'
            )
        self.patch = side
        self.strides = (side // 2**n_deconvolutions, side)
        self.dims = (dim, self.map_dims[0])
        layers: list[nn.Module] = []
        for i in range(n_deconvolutions):
            before = self.map_dims[0] if i == 0 else dim
            layers += [
                nn.ConvTranspose2d(before, dim, 4, 2, 1, bias=False),
                nn.BatchNorm2d(dim),
                nn.ReLU(True),
            ]
        self.deconvolutions = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.ConvTranspose2d):
                # Each output cell is reached by 4 of the 16 weights of an input channel.
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (4 * layer.in_channels)))

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Compute the fine map and the patches' of images in [0, 1], whose sides are whole patches."""
        if images.shape[-2] % self.patch or images.shape[-1] % self.patch:
            raise ValueError(
                f"ViTPyramid: the sides of images must be multiples of the patches' {self.patch} px; got "
                f'{tuple(images.shape[-2:])}. Cut or resize them so.'
            )
        return self.decode(self.kept_maps(images))

    def decode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Give the fine map and the patches' of the network's own map."""
        return [self.deconvolutions(maps[-1]), maps[-1]]
