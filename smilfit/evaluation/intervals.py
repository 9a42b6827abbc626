"""Where a fit expects keypoints in images, and how many labels its intervals hold.

A label of a camera that the fit was not given differs from what the fit expects there by its own noise and by what
the fit leaves open: their variances add up. One that the fit was given is nearer than its noise: the fit follows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Normal

from smilfit.structures import Cameras, FitResult, Keypoints2d

# A label that the fit follows all the way still has this share of its noise left.
LEAST_LEFT = 0.05
# Halvings between the smallest and the largest noise that is thought of.
HALVINGS = 60


@dataclass(frozen=True)
class ExpectedKeypoints:
    """Keypoints in images as a fit expects them, px; labels have noise beside the covariance.

    Args:
        xy: their places.
        covariance: what the fit leaves open of them, px squared; infinite where it knows nothing.
        valid: whether the camera has an image of the place.
    """

    names: tuple[str, ...]
    xy: Float[Tensor, 'B C K 2']
    covariance: Float[Tensor, 'B C K 2 2']
    valid: Bool[Tensor, 'B C K']

    def sd(self, noise_px: float = 0.0) -> Float[Tensor, 'B C K 2']:
        """Return standard deviations of coordinates, of labels if their noise is given."""
        return (self._variance() + noise_px**2).sqrt()

    def scores(
        self, observed: Keypoints2d, noise_px: float, fitted: Sequence[str] = ()
    ) -> Float[Tensor, 'B C K 2']:
        """Return by how many standard deviations labels miss what is expected; NaN without a label or an interval.

        Args:
            observed: labels, of the cameras of these expectations.
            noise_px: standard deviation of a label's coordinate.
            fitted: cameras whose labels the fit was given.
        """
        errors, variance = self._errors(observed), self._variance()
        given = torch.tensor([name in fitted for name in observed.rig.names])[:, None, None]
        left = (noise_px**2 - variance).clamp_min(LEAST_LEFT * noise_px**2)
        return errors / torch.where(given, left, noise_px**2 + variance).sqrt()

    def noise_px(self, observed: Keypoints2d, share: float = 0.9) -> float:
        """Find the noise by which intervals hold as many labels that the fit was given as they should.

        One number for all of them; by counts and not by squares, so that a few wrong labels count as few.

        Args:
            observed: the labels that the fit was given.
            share: how many of them the intervals should hold.

        Raises:
            ValueError: there is no label with an interval.
        """
        if not bool(self._errors(observed).isfinite().any()):
            raise ValueError('noise_px: some label must have an interval; got none. Give labels of the fit.')
        errors = self._errors(observed)
        low, high = 0.0, 2 * float(errors[errors.isfinite()].abs().max()) + 1e-6
        for _ in range(HALVINGS):
            centre = 0.5 * (low + high)
            inside = held(self.scores(observed, centre, observed.rig.names), share)
            low, high = (centre, high) if inside < share else (low, centre)
        return 0.5 * (low + high)

    def _variance(self) -> Float[Tensor, 'B C K 2']:
        return self.covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0)

    def _errors(self, observed: Keypoints2d) -> Float[Tensor, 'B C K 2']:
        known = observed.visible & self.valid & self._variance().isfinite().all(-1)
        return torch.where(known.unsqueeze(-1), observed.xy.to(self.xy) - self.xy, torch.nan)


def expected_keypoints(
    result: FitResult, cameras: Cameras, names: Sequence[str] | None = None
) -> ExpectedKeypoints:
    """Return where a fit expects keypoints in images.

    Args:
        result: a fit with its covariance and its body.
        cameras: any that look at the animal, those of the fit or others.
        names: joints, and keypoints that the fit was given; those of the covariance if None.

    Raises:
        ValueError: the fit has no covariance or no body.
        KeyError: the covariance lacks a keypoint.
    """
    if result.covariance is None or result.body is None:
        raise ValueError(
            'expected_keypoints: the fit must have its covariance and its body; got one without. Fit with '
            'LevenbergMarquardt(covariance=True).'
        )
    covariance = result.covariance if names is None else result.covariance.select(names)
    names, rig = covariance.keypoint_names, cameras.to(torch.float64)
    with torch.no_grad():
        points = result.body(result.params, names).select(names).double().cpu()
    xy, _, valid = rig.project(points)
    return ExpectedKeypoints(names, xy, covariance.in_cameras(points, rig).cpu().double(), valid)


def in_cameras(
    expected: ExpectedKeypoints, observed: Keypoints2d, names: Sequence[str]
) -> tuple[ExpectedKeypoints, Keypoints2d]:
    """Pick cameras by name, of what is expected and of labels."""
    rows = [observed.rig.names.index(name) for name in names]
    few = replace(
        expected,
        xy=expected.xy[:, rows],
        covariance=expected.covariance[:, rows],
        valid=expected.valid[:, rows],
    )
    cameras = observed.rig.select(names)
    return few, replace(
        observed, xy=observed.xy[:, rows], confidence=observed.confidence[:, rows], cameras=cameras
    )


def held(scores: Tensor, share: float) -> float:
    """Return how many of the scores lie in intervals that should hold a share of them; NaN if there is none."""
    known = scores[scores.isfinite()].abs()
    if not len(known):
        return float('nan')
    width = float(Normal(0.0, 1.0).icdf(torch.tensor(0.5 + 0.5 * share, dtype=torch.float64)))
    return float((known <= width).double().mean())
