"""The crops of a training batch, put together again: what all views of a moment show."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.networks.animals.scene_frame import cameras_of
from smilfit.networks.animals.two_passes import TwoPasses
from smilfit.networks.crop_augment import CropBatch, swap_where
from smilfit.networks.point_evidence import PointEvidence
from smilfit.structures import Cameras


@dataclass(frozen=True)
class CropMoments:
    """Maps of B moments of C views under the cameras of their crops; keypoints have their own names in mirrored ones.

    `features` are of the N views that are there.
    """

    logits: Float[Tensor, 'B C K h w']
    features: Float[Tensor, 'N F i j'] | None
    cameras: Cameras
    view_mask: Bool[Tensor, 'B C']

    @classmethod
    def of(
        cls,
        logits: Float[Tensor, 'N K h w'],
        features: Float[Tensor, 'N F i j'] | None,
        crops: CropBatch,
        inputs: Mapping[str, Tensor],
        swap: Int[Tensor, ' K'] | None,
    ) -> 'CropMoments':
        """Take the crops of the N views that are there.

        Args:
            logits: of the crops, by the names of the crops.
            features: of the crops.
            crops: in the order of the batch's present views.
            inputs: of the batch.
            swap: as it was handed to the augmentation.
        """
        mask = inputs['view_mask']
        if swap is not None:
            # In a mirrored crop the left one is where the right one is.
            logits = swap_where(crops.mirrored, logits, swap)
        maps = logits.new_zeros(mask.numel(), *logits.shape[1:])
        affine = crops.affine.new_zeros(mask.numel(), 2, 3)
        affine[:, :, :2] = torch.eye(2).to(affine)
        maps[mask.flatten()], affine[mask.flatten()] = logits, crops.affine
        affine = affine.unflatten(0, mask.shape)
        size = affine.new_full((*mask.shape, 2), float(crops.images.shape[-1]))
        cameras = cameras_of(inputs).transformed(affine, size)
        return cls(maps.unflatten(0, mask.shape), features, cameras, mask)

    def evidence(self, vision: TwoPasses, extent: Float[Tensor, '']) -> PointEvidence:
        """Let the views meet, without a gradient, as they do in a prediction.

        Args:
            vision: its consensus.
            extent: see `TwoPasses.forward`.
        """
        features = None if self.features is None else self.features.detach()
        points, read = vision.meet(self.logits.detach(), features, self.cameras, self.view_mask, extent)
        return PointEvidence.of(points, self.cameras, self.view_mask, read)
