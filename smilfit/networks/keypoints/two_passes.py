"""Look twice: at whole images for where the animal is, at crops for where its keypoints are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from smilfit.networks.animals.animal_boxes import image_boxes
from smilfit.networks.animals.several_animals import AnimalSearch, DetectedAnimals
from smilfit.networks.heads.heatmap_head import KeypointHeatmapHead
from smilfit.networks.keypoints.batch_crops import box_affine, cut, invert_affine, map_px, whole_boxes
from smilfit.networks.keypoints.consensus import Consensus, MeetInSpace
from smilfit.structures import Cameras


@dataclass(frozen=True)
class FastNumbers:
    """What to run a convolutional network with.

    `autocast` is the type for `torch.autocast`, None for none; `memory_format` that of images and weights.
    """

    autocast: torch.dtype | None
    memory_format: torch.memory_format


def fast_numbers(device: torch.device | str) -> FastNumbers:
    """Choose by what the device computes itself: bfloat16 where it has instructions for it, channels last beside it.

    bfloat16 that is emulated (a CPU without AVX512-BF16 or AMX, a GPU before Ampere) is slower than float32.
    """
    kind = torch.device(device).type
    if kind == 'cuda':
        own = torch.cuda.get_device_capability(device)[0] >= 8
        layout = (
            torch.channels_last
            if torch.cuda.get_device_capability(device)[0] >= 7
            else torch.contiguous_format
        )
        return FastNumbers(torch.bfloat16 if own else None, layout)
    if kind == 'cpu':
        own = any(_cpu_has(name) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
        layout = torch.channels_last if torch.backends.mkldnn.is_available() else torch.contiguous_format
        return FastNumbers(torch.bfloat16 if own else None, layout)
    return FastNumbers(None, torch.contiguous_format)


def _cpu_has(name: str) -> bool:
    # Names of torch's own checks begin with an underscore and have come version by version.
    check = getattr(torch.cpu, name, None)
    return bool(check()) if check is not None else False


# Where one view alone shows too few keypoints, or all in one place, it is taken to fill this share of the image.
_LEAST_SHARE = 0.02


@dataclass(frozen=True)
class Sighting:
    """What the views showed. `points.pixels` are px of the crops; `to_crop` takes px of the given images there.

    `boxes` (x0, y0, side) are px of the given images, `cameras` those of the crops, and `view_mask` says which
    views show the animal. `features` are what the network's maps hold where each view saw a keypoint, None unless
    they are asked for.
    """

    points: Consensus
    boxes: Float[Tensor, 'B C 3']
    to_crop: Float[Tensor, 'B C 2 3']
    cameras: Cameras
    view_mask: Bool[Tensor, 'B C']
    features: Float[Tensor, 'B C K F'] | None = None

    def pixels(self) -> Float[Tensor, 'B C K 2']:
        """Return the keypoints' places in px of the given images."""
        back = invert_affine(self.to_crop.flatten(0, 1))
        moved = map_px(back, self.points.pixels.flatten(0, 1)).unflatten(0, self.to_crop.shape[:2])
        return torch.where(self.view_mask[..., None, None], moved, torch.zeros_like(moved))


class TwoPasses(nn.Module):
    """Find the animal in whole images and its keypoints in the crops, by one network.

    Args:
        backbone: images (N, 3, S, S) in [0, 1] to maps, finest first.
        head: maps to logits (N, K, h, w); its `stride` is px a cell.
        boxes: where to look: `OwnBoxes` by a first pass, `GivenBoxes` takes the images for crops.
        consensus: lets the views meet.
        side: px of what the network sees.
        half_precision: run the network in bfloat16; None where the device is fast with it.
        feature_map: which of the backbone's maps is read at the keypoints; None for none.

    Attributes:
        runtime: crops to logits in the network's place, such as the network in another runtime; None for none.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: KeypointHeatmapHead,
        boxes: nn.Module,
        consensus: MeetInSpace,
        side: int,
        half_precision: bool | None = False,
        feature_map: int | None = None,
    ) -> None:
        super().__init__()
        self.feature_map = feature_map
        self.backbone, self.head, self.boxes, self.consensus = backbone, head, boxes, consensus
        self.side, self.half_precision = side, half_precision
        self.runtime: Callable[[Tensor], Tensor] | None = None
        # Weights in the images' order are not reordered at every step.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it alone

    def logits(self, crops: Float[Tensor, 'N 3 S S']) -> Float[Tensor, 'N M h w']:
        """Run the network on images of its own size."""
        return self.network(crops)[0]

    def network(
        self, crops: Float[Tensor, 'N 3 S S']
    ) -> tuple[Float[Tensor, 'N M h w'], Float[Tensor, 'N F i j'] | None]:
        """Run the network on images of its own size: logits, and the map of features if one is asked for.

        Raises:
            ValueError: features are asked for and another runtime, which gives none, is in the network's place.
        """
        if self.runtime is not None:
            if self.feature_map is not None:
                raise ValueError(
                    f'a network in another runtime gives heat maps alone; the lifter of this checkpoint reads map '
                    f'{self.feature_map} of the backbone too. Predict without --network, or train with '
                    'feature_map=None.'
                )
            return self.runtime(crops), None
        half = self.half_precision
        if half is None:
            half = fast_numbers(crops.device).autocast is not None
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=half):
            maps = self.backbone(crops.contiguous(memory_format=torch.channels_last))
            logits = self.head(maps).float()
        return logits, None if self.feature_map is None else maps[self.feature_map]

    def compile_network(self, **options: Any) -> None:
        """Let torch.compile write the network; cutting images and the meeting of views stay as they are.

        A backbone with a cache is left out: in training it is hardly run.

        Args:
            options: of `torch.compile`.
        """
        if getattr(self.backbone, 'cache', None) is None:
            self.backbone.compile(**options)
        self.head.compile(**options)

    @torch.no_grad()
    def forward(
        self,
        images: Float[Tensor, 'B C 3 H W'],
        view_mask: Bool[Tensor, 'B C'],
        cameras: Cameras,
        extent: Float[Tensor, ''],
    ) -> Sighting:
        """Look at the images of B moments.

        Args:
            images: in [0, 1]; those of absent views are not looked at.
            view_mask: which views there are.
            cameras: of the images.
            extent: twice the RMS distance of an animal's keypoints from their centre, world unit: it says how far
                away an animal is that a single view shows.
        """
        whole = _whole_boxes(images)
        return self.boxes(
            lambda boxes, mask: self._look(images, boxes, mask, cameras, extent), whole, view_mask
        )

    def _crop_cameras(self, cameras: Cameras, affine: Tensor, view_mask: Tensor) -> Cameras:
        size = affine.new_tensor([self.side, self.side]).expand(*view_mask.shape, 2)
        return cameras.transformed(affine.reshape(*view_mask.shape, 2, 3), size)

    @torch.no_grad()
    def several(
        self,
        images: Float[Tensor, 'B C 3 H W'],
        view_mask: Bool[Tensor, 'B C'],
        cameras: Cameras,
        extent: Float[Tensor, ''],
        search: AnimalSearch,
        most: int,
    ) -> tuple[Sighting | None, DetectedAnimals]:
        """Look at the images of B moments for up to `most` animals each: at all of them first, then at each of D.

        Arguments are those of `forward`; `search` finds the animals in the first look's maps.

        Returns:
            What the second look saw, one row an animal (None where there is none at all), and what was found in the
            first.
        """
        whole = _whole_boxes(images)
        maps, _, affine = self._maps(images, whole, view_mask)
        logits, centres = self.head.split(maps.flatten(0, 1))
        assert centres is not None
        logits, centres = (x.unflatten(0, view_mask.shape) for x in (logits, centres))
        first = self._crop_cameras(cameras, affine, view_mask)
        result = search(logits, centres, self.head.stride, first, view_mask, self.consensus, most)
        rows = result.moment
        if not len(rows):
            return None, result
        boxes = image_boxes(result.square, affine[rows])
        boxes = torch.where(result.visible.unsqueeze(-1), boxes, whole[rows])
        # An animal that no view shows well is looked for in all of them.
        mask = torch.where(result.visible.any(1, keepdim=True), result.visible, view_mask[rows])
        return self._look(images[rows], boxes, mask, cameras.map(lambda x: x[rows]), extent), result

    def _maps(
        self, images: Tensor, boxes: Float[Tensor, 'B C 3'], view_mask: Tensor
    ) -> tuple[Float[Tensor, 'B C M h w'], Tensor | None, Float[Tensor, 'B C 2 3']]:
        """Cut the boxes out of the views that are there and run the network; absent ones have zeros.

        Returns:
            Logits, the map of features of the views that are there, and the maps to the crops.
        """
        affine = box_affine(boxes.flatten(0, 1), self.side)
        present = view_mask.flatten()
        crops = cut(images.flatten(0, 1)[present], affine[present], self.side)
        result, features = self.network(crops)
        logits = result.new_zeros(len(present), *result.shape[1:])
        logits[present] = result
        return logits.unflatten(0, view_mask.shape), features, affine.unflatten(0, view_mask.shape)

    def _look(
        self,
        images: Tensor,
        boxes: Float[Tensor, 'B C 3'],
        view_mask: Bool[Tensor, 'B C'],
        cameras: Cameras,
        extent: Tensor,
    ) -> Sighting:
        """Cut the boxes out, find the keypoints in each view and let the views meet."""
        maps, features, affine = self._maps(images, boxes, view_mask)
        logits = self.head.split(maps.flatten(0, 1))[0].unflatten(0, view_mask.shape)
        crop_cameras = self._crop_cameras(cameras, affine, view_mask)
        points, read = self.meet(logits, features, crop_cameras, view_mask, extent)
        return Sighting(points, boxes, affine, crop_cameras, view_mask, read)

    @torch.no_grad()
    def meet(
        self,
        logits: Float[Tensor, 'B C K h w'],
        features: Float[Tensor, 'N F i j'] | None,
        cameras: Cameras,
        view_mask: Bool[Tensor, 'B C'],
        extent: Float[Tensor, ''],
    ) -> tuple[Consensus, Float[Tensor, 'B C K F'] | None]:
        """Let views meet, and read the features where each saw a keypoint.

        Args:
            logits: of the keypoints' maps; a view outside of the mask may hold anything.
            features: of the N views that are there, one after the other; None for none.
            cameras: of the crops.
            view_mask: which views there are.
            extent: as in `forward`.
        """
        depth = apparent_depth(logits, self.head.stride, cameras, view_mask, extent)
        points = self.consensus(logits, self.head.stride, cameras, view_mask, depth)
        read = None
        if features is not None:
            read = logits.new_zeros(*points.pixels.shape[:3], features.shape[1])
            read[view_mask] = features_at(features.to(logits), points.pixels[view_mask], self.side)
        return points, read


def _whole_boxes(images: Float[Tensor, 'B C 3 H W']) -> Float[Tensor, 'B C 3']:
    return whole_boxes(images.shape[:2].numel(), images.shape[-2:], images).unflatten(0, images.shape[:2])


def features_at(
    maps: Float[Tensor, 'N F i j'], px: Float[Tensor, 'N K 2'], side: int
) -> Float[Tensor, 'N K F']:
    """Read maps of images of `side` px at places, bilinearly; a place outside is read at the nearest edge."""
    # Pixel centres are at integers.
    grid = ((px + 0.5) * (2 / side) - 1).unsqueeze(2)
    read = functional.grid_sample(maps, grid.to(maps), padding_mode='border', align_corners=False)
    return read.squeeze(3).transpose(1, 2)


def apparent_depth(
    logits: Float[Tensor, 'B C K h w'],
    stride: float,
    cameras: Cameras,
    view_mask: Bool[Tensor, 'B C'],
    extent: Float[Tensor, ''],
) -> Float[Tensor, ' B']:
    """Return how far away an animal of a known extent is, from how large it looks in its views (their median).

    Args:
        logits: of the keypoints' maps.
        stride: px a cell.
        cameras: of the images under the maps.
        view_mask: which views there are.
        extent: twice the RMS distance of its keypoints from their centre, world unit; a view shows two of the three
            dimensions.
    """
    h, w = logits.shape[-2:]
    share, place = logits.flatten(-2).softmax(-1).max(-1)
    xy = torch.stack((place % w, place // w), -1).to(logits.dtype)
    weight = share.unsqueeze(-1)
    total = weight.sum(2, keepdim=True).clamp_min(1e-12)
    centre = (weight * xy).sum(2, keepdim=True) / total
    spread = 2 * ((weight * (xy - centre).square()).sum(2) / total.squeeze(2)).sum(-1).sqrt()
    spread = stride * spread.clamp_min(_LEAST_SHARE * max(h, w))
    focal = torch.linalg.det(cameras.K[..., :2, :2]).abs().sqrt()
    depth = focal * extent / (math.sqrt(3 / 2) * spread)
    return torch.where(view_mask, depth, torch.nan).nanmedian(1).values
