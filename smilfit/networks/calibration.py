"""What a network states of its keypoints, as chances that they are where it says, fitted on frames with truth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

# A keypoint is right within this share of the animal's size (twice the RMS distance of its keypoints from their
# centre), a frame if half of its keypoints are within twice of that.
TOLERANCE = 0.05
# Of the frames of a validation that are right, the share that may be less sure than the least of a recording; this
# is at most that part of their median, for another recording is seldom as clear.
_LEAST_SHARE, _LEAST_OF_MEDIAN = 0.01, 0.5
# Fewer frames that are right tell no least.
_FEWEST_FRAMES = 10
# Steps of a calibration.
_MOST_BINS = 40
# The share of an animal's size that a view shows: two of its three dimensions.
_FLAT = math.sqrt(2 / 3)

Knots = tuple[tuple[float, ...], tuple[float, ...]]
_ALIKE: Knots = ((0.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class Calibration:
    """Monotone maps from what a network states to chances that a keypoint is right; the default changes nothing.

    `points` are knots of the map of points in space, `pixels` of that of their images. `sd` is by how much, per axis,
    the images of a body and the heat maps' modes differ where they are right, in the animal's size there. A frame
    of n views below the n-th of `least` (of more views: below the last) is not recognised; nothing leaves none out.
    """

    points: Knots = _ALIKE
    pixels: Knots = _ALIKE
    sd: float = 2 * TOLERANCE
    least: tuple[float, ...] = ()

    def record(self) -> dict[str, object]:
        """Return plain values, for a checkpoint."""
        maps = {name: [list(row) for row in getattr(self, name)] for name in ('points', 'pixels')}
        return {**maps, 'sd': self.sd, 'least': list(self.least)}

    @classmethod
    def of_record(cls, where: str, record: Mapping[str, object]) -> 'Calibration':
        """Read what `record` gave; nothing is the default.

        Raises:
            ValueError: other values.
        """
        if not record and isinstance(record, Mapping):
            return cls()
        try:
            points, pixels = (np.array(record[name], np.float64) for name in ('points', 'pixels'))
            sd, least = float(str(record['sd'])), np.atleast_1d(np.array(record['least'], np.float64))
            right = _is_monotone(points) and _is_monotone(pixels)
            right = right and 0 < sd < math.inf and least.ndim == 1
            right = right and bool(((least >= 0) & (least <= 1)).all())
        except (KeyError, TypeError, ValueError):
            right = False
        if not right:
            raise ValueError(
                f'{where}: the calibration of confidences must be two monotone maps of [0, 1], sd and least; it is '
                'not. Take another checkpoint, or train again.'
            )
        return cls(_knots(points), _knots(pixels), sd, tuple(least.tolist()))

    def least_of(self, view_mask: Bool[np.ndarray, 'T C']) -> Float[np.ndarray, ' T']:
        """Return the least confidence of frames, by how many views they have."""
        if not self.least:
            return np.zeros(len(view_mask))
        return np.array(self.least)[view_mask.sum(1).clip(1, len(self.least)) - 1]

    def of_pixels(self, stated: np.ndarray) -> np.ndarray:
        """Return the chances of keypoints in images."""
        return np.interp(stated, *self.pixels)

    def of_points(self, stated: np.ndarray) -> np.ndarray:
        """Return the chances of keypoints in space."""
        return np.interp(stated, *self.points)


def _is_monotone(knots: np.ndarray) -> bool:
    inside = (
        knots.ndim == 2 and len(knots) == 2 and knots.size > 0 and bool(((knots >= 0) & (knots <= 1)).all())
    )
    return inside and bool((np.diff(knots) >= 0).all())


def _knots(values: np.ndarray) -> Knots:
    x, y = values.tolist()
    return tuple(x), tuple(y)


@dataclass(frozen=True)
class Checked:
    """What a network states of T frames of C views, and by how much it was wrong; unknown errors are NaN.

    `stated3d` is of points in space, `stated2d` of the heat maps. Errors, and how far the body's images are from the
    heat maps' modes (`off`), are in shares of the animal's size.
    """

    stated3d: Float[np.ndarray, 'T K']
    error3d: Float[np.ndarray, 'T K']
    stated2d: Float[np.ndarray, 'T C K']
    error2d: Float[np.ndarray, 'T C K']
    off: Float[np.ndarray, 'T C K']
    view_mask: Bool[np.ndarray, 'T C']

    @classmethod
    def cat(cls, parts: Sequence['Checked']) -> 'Checked':
        """Join frames."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def calibration(self) -> Calibration:
        """Fit the maps, and the least confidence of a frame that is right."""
        right = self.error2d <= TOLERANCE
        off = self.off[right & np.isfinite(self.off)]
        # The median of squares of a Gaussian in the plane.
        sd = math.sqrt(float(np.median(off**2)) / (2 * math.log(2))) if len(off) else 2 * TOLERANCE
        result = Calibration(sd=max(sd, TOLERANCE))
        stated = self.stated2d * agreement(self.off, result.sd)
        pixels, points = _learned(stated, self.error2d), _learned(self.stated3d, self.error3d)
        result = replace(result, pixels=pixels, points=points)
        chances = result.of_pixels(stated)
        every = np.concatenate((self.error3d, self.error2d.reshape(len(self.error2d), -1)), 1)
        known = np.isfinite(every).any(1) & np.isfinite(chances).all((1, 2))
        good = np.flatnonzero(known)[np.nanmedian(every[known], 1) <= 2 * TOLERANCE]
        if len(good) < _FEWEST_FRAMES:
            return result
        least: list[float] = []
        for n_views in range(1, self.view_mask.shape[1] + 1):
            # The best two of four are surer than those of two: neighbours in the list stand for a smaller rig.
            around = np.arange(self.view_mask.shape[1])
            parts = [
                self.view_mask[good] & np.isin(around, (k + around[:n_views]) % len(around)) for k in around
            ]
            sure = np.concatenate([of_frames(chances[good], p)[p.sum(1) == n_views] for p in parts])
            lowest = (
                [np.quantile(sure, _LEAST_SHARE), _LEAST_OF_MEDIAN * np.median(sure)] if len(sure) else []
            )
            least.append(float(min(lowest, default=least[-1] if least else 0.0)))
        return replace(result, least=tuple(least))


def _learned(stated: np.ndarray, error: np.ndarray) -> Knots:
    # A network that diverged states nothing.
    known = np.isfinite(error) & np.isfinite(stated)
    return monotone(stated[known], error[known] <= TOLERANCE) if known.any() else _ALIKE


def monotone(stated: Float[np.ndarray, ' n'], right: Bool[np.ndarray, ' n']) -> Knots:
    """Fit a map that never falls to which of n statements were right (pool adjacent violators, Ayer et al. 1955).

    A confidence of 0 is no chance: there may be nothing below what was seen.
    """
    order = np.argsort(stated, kind='stable')
    blocks: list[list[float]] = []
    for rows in np.array_split(order, min(_MOST_BINS, len(order))):
        blocks.append([float(len(rows)), float(stated[rows].sum()), float(right[rows].sum())])
        while len(blocks) > 1 and blocks[-2][2] / blocks[-2][0] >= blocks[-1][2] / blocks[-1][0]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last)]
    count, x, y = np.array(blocks).T
    x, y = (x / count).clip(0, 1), np.maximum.accumulate((y + 0.5) / (count + 1))
    return (0.0, *x.tolist(), 1.0), (0.0, *y.tolist(), float(y[-1]))


def agreement(off: np.ndarray, sd: float) -> np.ndarray:
    """Return how well a body's images and the heat maps' modes agree, in [0, 1]."""
    return np.exp(-(np.where(np.isfinite(off), off, np.inf) ** 2) / (2 * sd**2))


def stated_in_space(
    confidence: Float[np.ndarray, 'T K'],
    covariance: Float[np.ndarray, 'T K 3 3'] | None,
    points: Float[np.ndarray, 'T K 3'],
) -> Float[np.ndarray, 'T K']:
    """Return what a network states of points in space: that views show them, and that their covariance leaves them
    within the tolerance along its longest axis. A single view knows no depth, whatever it recognises.

    Args:
        confidence: that views show the points.
        covariance: of the points, world unit squared; None where it is not known.
        points: of the body, for its size.
    """
    stated = confidence.clip(0, 1)
    if covariance is None:
        return stated
    usable = np.isfinite(covariance).all((-2, -1))
    longest = np.linalg.eigvalsh(np.where(usable[..., None, None], covariance, np.eye(3)))[..., -1]
    room = TOLERANCE * _size(points)[:, None] / np.sqrt(np.maximum(longest, 1e-30))
    return stated * usable * torch.special.erf(torch.from_numpy(room / math.sqrt(2))).numpy()


def of_frames(
    confidence2d: Float[np.ndarray, 'T C K'], view_mask: Bool[np.ndarray, 'T C']
) -> Float[np.ndarray, ' T']:
    """Return each frame's confidence: the median, over keypoints, of what the second best view gives (one view: its
    own). Nobody sees an animal with all cameras, and one camera alone may take anything for it."""
    ranked = -np.sort(-confidence2d * view_mask[..., None], axis=1)
    second = (view_mask.sum(1) > 1).astype(np.int64)
    return np.median(ranked[np.arange(len(ranked)), second], -1)


def sizes_in_views(
    points: Float[np.ndarray, 'T K 3'],
    K: Float[np.ndarray, 'T C 3 3'],
    R: Float[np.ndarray, 'T C 3 3'],
    t: Float[np.ndarray, 'T C 3'],
) -> Float[np.ndarray, 'T C']:
    """Return how large an animal looks, px: its size at the depth of its centre; 0 behind a camera."""
    size = _size(points)
    depth = depths(points.mean(1, keepdims=True), R, t)[..., 0]
    focal = np.sqrt(np.abs(np.linalg.det(K[..., :2, :2])))
    return np.where(depth > 0, focal * size[:, None] / np.where(depth > 0, depth, 1), 0.0)


def depths(
    points: Float[np.ndarray, 'T K 3'], R: Float[np.ndarray, 'T C 3 3'], t: Float[np.ndarray, 'T C 3']
) -> Float[np.ndarray, 'T C K']:
    """Return how far points are in front of cameras, world unit."""
    return np.einsum('tci,tki->tck', R[..., 2, :], points) + t[..., 2:3]


def distances(
    pixels: Float[np.ndarray, 'T C K 2'], others: Float[np.ndarray, 'T C K 2'], size_px: np.ndarray
) -> Float[np.ndarray, 'T C K']:
    """Return how far places in images are from others, in the animal's size there; infinite where it has none."""
    # What is behind a camera may be anywhere in its image.
    away = np.linalg.norm(np.clip(pixels, -1e6, 1e6) - np.clip(others, -1e6, 1e6), axis=-1)
    return away / np.where(size_px > 0, size_px, 1e-9)[..., None]


def checked(
    sample: Mapping[str, torch.Tensor], truth: Mapping[str, torch.Tensor], cameras: Mapping[str, torch.Tensor]
) -> Checked:
    """Compare what was predicted of one sample with its truth.

    Args:
        sample: of `KeypointRegressor.predict`: the body's keypoints, and what the heat maps gave.
        truth: labels of it, px of the same images.
        cameras: of the same images.
    """

    def one(value: torch.Tensor) -> np.ndarray:
        return value.detach().double().numpy()[None]

    mask = one(sample['view_mask']) > 0
    points, pixels = one(sample['keypoints3d']), one(sample['keypoints2d'])
    size_px = sizes_in_views(points, *(one(cameras[name]) for name in ('K', 'R', 't')))
    true3d, known3d = one(truth['keypoints3d']), one(truth['confidence3d']) > 0
    true2d, known2d = one(truth['keypoints2d']), (one(truth['confidence2d']) > 0) & mask[..., None]
    error3d = np.linalg.norm(points - true3d, axis=-1) / _size(true3d, known3d)[..., None]
    size = _size(true2d, known2d) / _FLAT
    known2d &= np.isfinite(size)[..., None]
    error2d = distances(pixels, true2d, size)
    return Checked(
        stated3d=stated_in_space(one(sample['points_confidence']), one(sample['points_covariance']), points),
        error3d=np.where(known3d, error3d, np.nan),
        stated2d=one(sample['seen_confidence']) * mask[..., None],
        error2d=np.where(known2d, error2d, np.nan),
        off=distances(pixels, one(sample['seen2d']), size_px),
        view_mask=mask,
    )


def _size(
    points: Float[np.ndarray, '*s K d'], known: Bool[np.ndarray, '*s K'] | None = None
) -> Float[np.ndarray, '*s']:
    """Return twice the RMS distance of points from their centre; where not all are known, NaN of fewer than three."""
    weight = np.ones(points.shape[:-1]) if known is None else known.astype(np.float64)
    count = np.maximum(weight.sum(-1), 1)
    centre = (weight[..., None] * points).sum(-2, keepdims=True) / count[..., None, None]
    size = 2 * np.sqrt((weight[..., None] * np.square(points - centre)).sum((-2, -1)) / count)
    return size if known is None else np.where((count >= 3) & (size > 0), size, np.nan)
