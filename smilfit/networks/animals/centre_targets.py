"""Where all animals of a training image are, and where their map may be judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.heatmaps import cell_to_px
from smilfit.networks.crop_augment import map_px, point_boxes
from smilfit.networks.targets2d import PictureTargets, centre_of_points

# Where not all animals are known, the map is judged within so many times half the side of the own animal's box.
_REACH = 1.2
# Points beside the image count for how large the animal is.
_FAR = (1 << 20, 1 << 20)


@dataclass(frozen=True)
class CentreTargets:
    """Centres of up to A animals in N images, px of the stored images.

    `weight` is 1 where there is one, `complete` says whether these are all that the image shows, and `reach` (px) how
    far around a known one nothing else need be expected.
    """

    px: Float[Tensor, 'N A 2']
    weight: Float[Tensor, 'N A']
    complete: Bool[Tensor, ' N']
    reach: Float[Tensor, ' N']

    @classmethod
    def of_batch(cls, data_samples: Mapping[str, Any], own: PictureTargets) -> 'CentreTargets':
        """Take all animals' centres where the samples say them, else the mean of the own animal's keypoints.

        Args:
            data_samples: may have `centres2d` (B, C, A, 2), `centres_weight` (B, C, A) and `all_animals` (B, C). An
                image of which these know no centre is taken to show one animal, its own.
            own: the samples' own keypoints.
        """
        centre, known = centre_of_points(own.px, own.weight)
        px, weight = centre.unsqueeze(1), known.unsqueeze(1)
        complete = torch.ones_like(known, dtype=torch.bool)
        if 'centres2d' in data_samples:
            px_all = data_samples['centres2d'].flatten(0, 1).to(px)
            weight_all = data_samples['centres_weight'].flatten(0, 1).to(px)
            stated = weight_all.sum(-1) > 0
            more = px_all.shape[1] - 1
            px = torch.cat((px, px.new_zeros(len(px), more, 2)), 1)
            weight = torch.cat((weight, weight.new_zeros(len(px), more)), 1)
            px = torch.where(stated[:, None, None], px_all, px)
            weight = torch.where(stated.unsqueeze(-1), weight_all, weight)
            complete = data_samples['all_animals'].flatten().to(complete.device) | ~stated
        box = point_boxes(own.px, own.weight, _FAR, 1.0)
        return cls(px, weight, complete, _REACH / 2 * box[:, 2])

    def __getitem__(self, rows: Tensor) -> 'CentreTargets':
        """Choose images."""
        return CentreTargets(self.px[rows], self.weight[rows], self.complete[rows], self.reach[rows])

    def moved(self, affine: Float[Tensor, 'N 2 3']) -> 'CentreTargets':
        """Bring all to px of crops; what leaves a crop takes no part in the loss."""
        scale = torch.linalg.det(affine[..., :2]).abs().sqrt()
        return CentreTargets(map_px(affine, self.px), self.weight, self.complete, self.reach * scale)

    def region(self, size: tuple[int, int], stride: float) -> Bool[Tensor, 'N h w']:
        """Return which cells of maps of (h, w) cells are judged: all, or those near a known animal."""
        y, x = (cell_to_px(torch.arange(n, device=self.px.device, dtype=self.px.dtype), stride) for n in size)
        far = (x - self.px[..., :1]).square().unsqueeze(-2) + (y - self.px[..., 1:]).square().unsqueeze(-1)
        near = (far <= self.reach.square()[:, None, None, None]) & (self.weight > 0)[..., None, None]
        return near.any(1) | self.complete[:, None, None]
