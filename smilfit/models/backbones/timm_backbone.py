"""Any timm network as a backbone that gives one grid of tokens an image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from smilfit.models.backbones.timm_network import TimmNetwork
from smilfit.models.feature_cache import FeatureCache
from smilfit.registry import MODELS


@MODELS.register_module()
class TimmBackbone(TimmNetwork):
    """Give the tokens of one feature map of a timm network: a CNN's cells, or a ViT's patches.

    Args:
        name: a timm model name.
        checkpoint: as of `TimmNetwork`, and so are the others that are not named here.
        pretrained: let timm download its weights.
        out_index: which of the network's feature maps, counted as timm counts them; -1 is the last.
        norm_eval: keep batch normalisation at its stored statistics.
        frozen: train none of it.
        options: further arguments of `timm.create_model`.
        frozen_stages: do not train what the first so many feature maps are made by.
        grad_checkpointing: compute activations anew in the backward pass.
        cache: keeps what the frozen network says of training images on disk; see `FeatureCache`.
    """

    def __init__(
        self,
        name: str = 'resnet50',
        checkpoint: str | Path | None = None,
        pretrained: bool = False,
        out_index: int = -1,
        norm_eval: bool = False,
        frozen: bool = False,
        options: Mapping[str, Any] | None = None,
        frozen_stages: int = 0,
        grad_checkpointing: bool = False,
        cache: FeatureCache | None = None,
    ) -> None:
        super().__init__(
            name,
            checkpoint,
            pretrained,
            [out_index],
            norm_eval,
            frozen,
            frozen_stages,
            grad_checkpointing,
            options,
            cache,
        )
        (self.out_index,), (self.dim,) = self.indices, self.map_dims

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> Float[Tensor, 'N D h w']:
        """Compute the feature map of images in [0, 1]."""
        (features,) = self.kept_maps(images)
        return features
