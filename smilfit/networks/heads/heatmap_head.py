"""One map of logits a keypoint, from the finest map of a backbone."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from smilfit.registry import MODELS

# Of the last layer's weights: an untrained head says of every place almost the same.
_STD = 0.001


@MODELS.register_module()
class KeypointHeatmapHead(nn.Module):
    """Predict K maps of logits; the softmax over a map's cells says where the keypoint is.

    Cells smaller than the backbone's finest come by pixel shuffle: a cell of that map gives all those within it.
    An untrained head takes every place for equally likely.

    Args:
        in_dims: channels of the backbone's maps, finest first.
        in_strides: px a cell of these maps, finest first.
        n_keypoints: K.
        stride: px a cell of the maps to give; a power of two less than the finest map's stride, or equal to it.
        hidden_dims: channels of 3 x 3 convolutions before the last layer; none makes the head linear.
        centre: give a further map, the last one, of animals' centres.

    Attributes:
        stride: px a cell.
        n_maps: K, or K + 1 with `centre`.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        in_strides: Sequence[int],
        n_keypoints: int,
        stride: int = 2,
        hidden_dims: Sequence[int] = (),
        centre: bool = False,
    ) -> None:
        super().__init__()
        finest = in_strides[0]
        if n_keypoints < 1:
            raise ValueError(f'KeypointHeatmapHead: n_keypoints must be at least 1; got {n_keypoints}.')
        if stride < 1 or finest % stride or not math.log2(finest / stride).is_integer():
            raise ValueError(
                f"KeypointHeatmapHead: stride must be the finest map's {finest} over a power of two; got {stride}. "
                f'Take {finest} or {finest // 2}.'
            )
        self.n_keypoints, self.stride, self.centre = n_keypoints, stride, centre
        self.n_maps = n_keypoints + centre
        self.shuffle = finest // stride
        layers: list[nn.Module] = []
        dim = in_dims[0]
        for hidden in hidden_dims:
            layers += [nn.Conv2d(dim, hidden, 3, 1, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(True)]
            dim = hidden
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Conv2d(dim, self.n_maps * self.shuffle**2, 1)
        nn.init.normal_(self.out.weight, std=_STD)
        nn.init.zeros_(self.out.get_parameter('bias'))

    def forward(self, maps: Sequence[Tensor]) -> Float[Tensor, 'N M h w']:
        """Return logits of the backbone's maps; with `centre` the last map is the centres'."""
        return functional.pixel_shuffle(self.out(self.hidden(maps[0])), self.shuffle)

    def split(
        self, logits: Float[Tensor, 'N M h w']
    ) -> tuple[Float[Tensor, 'N K h w'], Float[Tensor, 'N h w'] | None]:
        """Part the keypoints' maps from the centres' (None where there is none)."""
        return logits[:, : self.n_keypoints], logits[:, self.n_keypoints] if self.centre else None
