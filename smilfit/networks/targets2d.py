"""Where the keypoints of an image are: what was clicked, else where the known 3D point appears."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Cameras

# A reprojected point may be hidden, or wrong by the error of its triangulation.
HIDDEN_WEIGHT = 0.5


@dataclass(frozen=True)
class PictureTargets:
    """True places of K keypoints in N images, px of the stored images, and how much each counts; 0 is none."""

    px: Float[Tensor, 'N K 2']
    weight: Float[Tensor, 'N K']

    @classmethod
    def of_batch(
        cls,
        inputs: Mapping[str, Any],
        data_samples: Mapping[str, Any],
        keypoint_weights: Float[Tensor, ' K'] | None = None,
        hidden_weight: float = HIDDEN_WEIGHT,
    ) -> 'PictureTargets':
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
        px, seen = _reprojected(inputs, data_samples['keypoints3d'])
        known = data_samples['confidence3d'].clamp(0, 1).unsqueeze(1) * present * seen
        weight = torch.where(clicked > 0, clicked, hidden_weight * known)
        px = torch.where((clicked > 0).unsqueeze(-1), data_samples['keypoints2d'], px)
        px = torch.where((weight > 0).unsqueeze(-1), px, torch.zeros_like(px))
        if keypoint_weights is not None:
            weight = weight * keypoint_weights.to(weight)
        return cls(px.flatten(0, 1), weight.flatten(0, 1))


def _reprojected(inputs: Mapping[str, Any], points: Float[Tensor, 'B K 3']) -> tuple[Tensor, Tensor]:
    """Project points into all views: px, and whether each has an image."""
    present = inputs['view_mask']
    # An absent view's camera is zeros; any proper one gives finite numbers, which nobody reads.
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    matrices = {
        name: torch.where(present[..., None, None], inputs[name].to(points), eye) for name in ('K', 'R')
    }
    cameras = Cameras(
        names=tuple(str(c) for c in range(present.shape[1])),
        t=inputs['t'].to(points),
        size=inputs['size'].to(points),
        dist=inputs['dist'].to(points),
        **matrices,
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
