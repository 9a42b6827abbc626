"""Observations of one body with noise of many kinds: what a fit's own intervals must cover."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.fitting.problems import (
    NOISE,
    NOISE_PX,
    POSE_SD_RAD,
    SHAPE_SD,
    Problem,
    seen_by_cameras,
    seen_in_space,
)
from smilfit.body_models import BodyModelData

# Wrong keypoints lie so far off, in the world's unit and px.
FAR, FAR_PX = 0.5, 100.0
# Noise by view, px, and by joint; the fit is told neither.
BY_VIEW, BY_JOINT = (1.0, 1.0, 1.0, 6.0), (0.005, 0.02)


def weighted(problem: Problem) -> Problem:
    """Weight as the noise and the poses drawn say, so that the energy is a negative log posterior."""
    sd = NOISE if problem.seen.confidence.ndim == 2 else NOISE_PX
    prior = dict(weight_pose=0.5 / POSE_SD_RAD**2, weight_shape=0.5 / SHAPE_SD**2)
    return replace(problem, weight=0.5 / sd**2, **prior)


def in_space(data: BodyModelData, batch: int, missing: float) -> Problem:
    """Keypoints in 3D with equal noise."""
    return weighted(seen_in_space(data, batch, 0, missing=missing))


def in_views(data: BodyModelData, batch: int, missing: float) -> Problem:
    """Keypoints in four views with equal noise."""
    return weighted(seen_by_cameras(data, batch, 0, missing=missing))


def noisy_view(data: BodyModelData, batch: int) -> Problem:
    """One view is noisier."""
    problem = in_views(data, batch, 0.1)
    pixels, _, _ = problem.seen.cameras.project(problem.clean)
    sd = torch.tensor(BY_VIEW)[:, None, None]
    return replace(problem, seen=replace(problem.seen, xy=pixels + sd * _normal(pixels)))


def noisy_joints(data: BodyModelData, batch: int) -> Problem:
    """Every second joint is noisier."""
    problem = in_space(data, batch, 0.2)
    sd = torch.tensor(BY_JOINT)[torch.arange(problem.clean.shape[1]) % 2].unsqueeze(1)
    return replace(problem, seen=replace(problem.seen, xyz=problem.clean + sd * _normal(problem.clean)))


def with_wrong(problem: Problem, share: float) -> Problem:
    """Some keypoints are far off, and the loss is robust."""
    space = problem.seen.confidence.ndim == 2
    name, far, sd = ('xyz', FAR, NOISE) if space else ('xy', FAR_PX, NOISE_PX)
    points = getattr(problem.seen, name)
    hit = torch.rand(points.shape[:-1], generator=torch.Generator().manual_seed(7)) < share
    way = torch.nn.functional.normalize(_normal(points), dim=-1)
    moved = {name: points + far * way * hit.unsqueeze(-1)}
    return replace(problem, seen=replace(problem.seen, **moved), sigma=6 * sd)


def one_camera(data: BodyModelData, batch: int) -> Problem:
    """Every fourth frame is seen by one camera alone."""
    problem = in_views(data, batch, 0.0)
    confidence = problem.seen.confidence.clone()
    confidence[::4, 1:] = 0
    return replace(problem, seen=replace(problem.seen, confidence=confidence))


def _normal(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(5))


def cases(data: BodyModelData, batch: int) -> dict[str, Callable[[], Problem]]:
    """Give all of them by name."""
    return {
        **{f'3D, {m:.0%} missing': lambda m=m: in_space(data, batch, m) for m in (0.2, 0.5, 0.75)},
        **{f'4 views, {m:.0%} missing': lambda m=m: in_views(data, batch, m) for m in (0.0, 0.3)},
        'a noisy view': lambda: noisy_view(data, batch),
        'noisy joints': lambda: noisy_joints(data, batch),
        **{
            f'3D, {s:.0%} wrong': lambda s=s: with_wrong(in_space(data, batch, 0.2), s)
            for s in (0.0, 0.1, 0.2)
        },
        '4 views, 10% wrong': lambda: with_wrong(in_views(data, batch, 0.1), 0.1),
        'one camera in every 4th frame': lambda: one_camera(data, batch),
    }
