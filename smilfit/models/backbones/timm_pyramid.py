"""Any timm network with maps of several strides as a pyramid, for predictions at fine places."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from smilfit.models.backbones.timm_network import TimmNetwork
from smilfit.models.backbones.top_down import TopDown
from smilfit.models.feature_cache import FeatureCache
from smilfit.registry import MODELS

# Finer ones cost much and say little that the next one does not.
_FINEST = 4


@MODELS.register_module()
class TimmPyramid(TimmNetwork):
    """Give a timm network's maps with context from the coarser ones.

    ResNet, ConvNeXt, HRNet, EfficientNet, MobileNet and others do.
    A light decoder goes from the coarsest map to the finest: a 1 x 1 convolution, doubled, added, a residual block.
    It is trained also where the network is frozen.

    Args:
        name: a timm model name.
        out_indices: which of its feature maps, counted as timm counts them; each of half the size of the one before.
            None takes all of stride 4 and more.
        dim: channels of the maps that it gives.
        checkpoint: a file of weights, read without running code; the classifier in it is ignored.
        pretrained: let timm download its weights.
        norm_eval: keep batch normalisation at its stored statistics.
        frozen: train none of the network.
        frozen_stages: do not train what the first so many feature maps are made by.
        grad_checkpointing: compute activations anew in the backward pass.
        options: further arguments of `timm.create_model`.
        cache: keeps what the frozen network says of training images on disk; see `FeatureCache`.

    Attributes:
        dims: channels of the maps, finest first.
        strides: px a cell of the maps, finest first.

    Raises:
        ValueError: maps whose strides do not double, such as a ViT's.
    """

    def __init__(
        self,
        name: str = 'resnet50',
        out_indices: Sequence[int] | None = None,
        dim: int = 96,
        checkpoint: str | Path | None = None,
        pretrained: bool = False,
        norm_eval: bool = False,
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
            out_indices,
            norm_eval,
            frozen,
            frozen_stages,
            grad_checkpointing,
            options,
            cache,
        )
        reductions = [feature['reduction'] for feature in self.network.feature_info]
        self.strides = tuple(reductions[i] for i in self.indices)
        if any(b != 2 * a for a, b in zip(self.strides, self.strides[1:])):
            raise ValueError(
                f'TimmPyramid: the strides of the maps must double from one to the next; {name!r} has '
                f'{self.strides} at {tuple(self.indices)}. Take ViTPyramid for a ViT, or other out_indices.'
            )
        self.dims = (dim,) * len(self.strides)
        self.top_down = TopDown(self.map_dims, self.dims)

    def default_indices(self) -> list[int]:
        """Give the feature maps of stride 4 and more, the last one of each stride."""
        last = {feature['reduction']: i for i, feature in enumerate(self.network.feature_info)}
        return [i for stride, i in last.items() if stride >= _FINEST]

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Compute the maps (N, D, h, w) of images in [0, 1], finest first."""
        return self.decode(self.kept_maps(images))

    def decode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Give the pyramid of the network's own maps."""
        return self.top_down(maps)
