"""True places in training images: of the keypoints, and of the centres of all animals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.heatmaps import cell_to_px
from smilfit.networks.keypoints.batch_crops import map_px, point_boxes
from smilfit.networks.training_set import DataSamples
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Cameras

# A reprojected point may be hidden, or wrong by the error of its triangulation.
HIDDEN_WEIGHT = 0.5


@dataclass(frozen=True)
class ImageTargets:
    """True places of K keypoints in N images, px of the stored images, and how much each counts; 0 is none."""

    px: Float[Tensor, 'N K 2']
    weight: Float[Tensor, 'N K']

    @classmethod
    def of_batch(
        cls,
        inputs: Mapping[str, Tensor],
        data_samples: DataSamples,
        keypoint_weights: Float[Tensor, ' K'] | None = None,
        hidden_weight: float = HIDDEN_WEIGHT,
    ) -> 'ImageTargets':
        """Take labels where there are any, by their confidence; else 3D points through the camera, its lens included.

        A 3D point that is behind a camera or beyond its lens's fold has no place. Views come one after the other:
        N = B C. An absent view counts nothing.

        Args:
            inputs: of samples in the documented form: `view_mask` (B, C), `K`, `R`, `t`, `dist`, `size`.
            data_samples: `keypoints2d` (B, C, K, 2), `confidence2d`, `keypoints3d` (B, K, 3), `confidence3d`.
            keypoint_weights: of each keypoint; None for 1.
            hidden_weight: of a reprojected point, beside a clicked one's 1.
        """
        present = inputs['view_mask'].unsqueeze(-1)
        clicked = data_samples['confidence2d'] * present
        px, visible = _reprojected(inputs, data_samples['keypoints3d'])
        known = data_samples['confidence3d'].clamp(0, 1).unsqueeze(1) * present * visible
        weight = torch.where(clicked > 0, clicked, hidden_weight * known)
        px = torch.where((clicked > 0).unsqueeze(-1), data_samples['keypoints2d'], px)
        px = torch.where((weight > 0).unsqueeze(-1), px, torch.zeros_like(px))
        if keypoint_weights is not None:
            weight = weight * keypoint_weights.to(weight)
        return cls(px.flatten(0, 1), weight.flatten(0, 1))


def _reprojected(inputs: Mapping[str, Tensor], points: Float[Tensor, 'B K 3']) -> tuple[Tensor, Tensor]:
    """Project points into all views: px, and whether each has an image."""
    present = inputs['view_mask']
    # An absent view's camera is zeros; any proper one gives finite numbers, which nobody reads.
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    K, R = (torch.where(present[..., None, None], inputs[name].to(points), eye) for name in ('K', 'R'))
    cameras = Cameras(
        names=tuple(str(c) for c in range(present.shape[1])),
        K=K,
        R=R,
        t=inputs['t'].to(points),
        size=inputs['size'].to(points),
        dist=inputs['dist'].to(points),
    )
    px, _, valid = cameras.project(points)
    return px, valid


def centre_of_points(
    px: Float[Tensor, 'N K 2'], weight: Float[Tensor, 'N K']
) -> tuple[Float[Tensor, 'N 2'], Float[Tensor, ' N']]:
    """Return the mean place of the points that are known, and 1 where there are any, else 0."""
    known = (weight > 0).to(px).unsqueeze(-1)
    count = known.sum(1)
    return (known * px).sum(1) / count.clamp_min(1), (count.squeeze(-1) > 0).to(px)


def keypoint_weights(
    names: Sequence[str], weights: Mapping[str, float] | None = None, ignored: Sequence[str] = ()
) -> Float[Tensor, ' K']:
    """Return each keypoint's weight in training: 1, what is said of it, or 0 where it is ignored.

    Raises:
        KeyError: an unknown name, with the near ones.
        ValueError: a weight that is negative, or nothing left to train.
    """
    given = {**(weights or {}), **dict.fromkeys(ignored, 0.0)}
    for name, weight in given.items():
        if name not in names:
            raise UnknownNameError(f'keypoint weights: no keypoint {name!r}. {did_you_mean(name, names)}')
        if not 0 <= weight < float('inf'):
            raise ValueError(
                f'keypoint weights: that of {name!r} must be finite and not negative; got {weight}.'
            )
    result = torch.tensor([float(given.get(name, 1.0)) for name in names])
    if not bool((result > 0).any()):
        raise ValueError(
            f'keypoint weights: at least one keypoint must count; all of {", ".join(names)} are 0. Ignore fewer.'
        )
    return result


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
    def of_batch(cls, data_samples: DataSamples, own: ImageTargets) -> 'CentreTargets':
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
