"""The network of a keypoint regressor by itself: images to heat maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.networks.crop_augment import box_affine, cut, whole_boxes
from smilfit.networks.exported.exported_network import ExportedNetwork, Port, image_facts

_PX = 'pixel centres are at whole numbers; the centre of cell c of a map is px (c + 0.5) * stride - 0.5'


class ExportedPictures(ExportedNetwork):
    """Give the logits of heat maps of N images. Boxes, the meeting of views and the body are no part of it.

    Args:
        backbone: images to maps, finest first.
        head: maps to logits.
        side: px of the images.
        keypoint_names: of the maps, in order; a further map is that of animals' centres.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, side: int, keypoint_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.side = backbone, head, side
        self.keypoint_names = tuple(keypoint_names)
        cells = side // head.stride
        meaning = (
            'logits of one heat map a keypoint; the softmax over its cells says where the keypoint is'
            + '; the last map is that of animals’ centres' * head.centre
        )
        self.inputs = (Port('images', ('batch', 3, side, side), 'RGB images in [0, 1]'),)
        self.outputs = (Port('logits', ('batch', head.n_maps, cells, cells), meaning, maps=True),)

    def forward(self, images: Float[Tensor, 'N 3 S S']) -> Float[Tensor, 'N M h w']:
        """Compute the maps."""
        return self.head(self.backbone(images))

    def drawn(self, lengths: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw noise."""
        return (torch.rand(self.inputs[0].shape(lengths), generator=generator),)

    def inputs_of(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the first view of each sample that there is, whole, as the first pass sees it."""
        first = inputs['view_mask'].int().argmax(1)
        images = inputs['image'][torch.arange(len(first), device=first.device), first]
        boxes = whole_boxes(len(images), images.shape[-2:], images)
        return (cut(images, box_affine(boxes, self.side), self.side),)

    def facts(self) -> dict[str, Any]:
        """Describe images, maps and px."""
        return {
            'image': image_facts(self.backbone, self.side),
            'px': _PX,
            'stride': self.head.stride,
            'keypoint_names': list(self.keypoint_names),
            'centre_map': self.head.n_keypoints if self.head.centre else None,
        }
