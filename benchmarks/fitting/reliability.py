"""How far a fit can be relied on: among wrong keypoints, and in what it says of its own error."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.fitting.coverage_cases import cases
from benchmarks.fitting.methods import PEER_B, joint_lbfgs, own_methods
from benchmarks.fitting.problems import NOISE, Problem, seen_in_space
from benchmarks.fitting.setting import Setting, absent
from benchmarks.measuring import Row
from smilfit.structures import Keypoints3d

OUTLIER_SHARE, OUTLIER_LENGTHS = 0.05, 0.3
# Of a distance in space, whose root mean square is 1.7 standard deviations.
SIGMA = 6 * NOISE
NEAR, OUTLIER_GOAL = 1.5, 0.95
# Of a normal distribution: 90 % lie within so many standard deviations.
QUANTILE_90 = 1.6449
COVERAGE_GOAL = (0.87, 0.93)


def outliers(setting: Setting) -> list[Row]:
    """5 % of the 3D keypoints 30 % of a body length off; goal 95 % of frames as good as 1.5 x without them.

    Fewer good keypoints are left, so the bound is what a fit reaches that is told which ones are wrong.
    """
    batch = setting.size(256, 3)
    # What is reached without outliers and without the robust loss, which can be caught far from the truth.
    clean = seen_in_space(setting.data, batch, 0)
    spoilt, without = with_outliers(clean)
    spoilt, known = replace(clean, seen=spoilt, sigma=SIGMA), replace(clean, seen=without)
    chosen = {PEER_B: lambda p: joint_lbfgs(p, setting.size(30, 2)), **own_methods()}
    columns = ('clean_error', 'error', 'median_ratio', 'share_near', 'share_near_if_known', 'goal_met')
    rows = []
    for name, method in chosen.items():
        row: Row = {'method': name, 'batch': batch}
        if method is None:
            rows.append(absent(row, columns))
            continue
        least, among, bound = (p.error(method(p).params).mean(1) for p in (clean, spoilt, known))
        share, most = (float((error <= NEAR * least).float().mean()) for error in (among, bound))
        middle = float((among / least).median())
        values = (float(least.mean()), float(among.mean()), middle, share, most, share >= OUTLIER_GOAL)
        rows.append({**row, **dict(zip(columns, values)), 'note': f'Geman-McClure, {SIGMA}'})
    return rows


def with_outliers(problem: Problem) -> tuple[Keypoints3d, Keypoints3d]:
    """Move some keypoints far off, in any direction; and the same keypoints without those."""
    rng = torch.Generator().manual_seed(7)
    seen = problem.seen
    length = float(np.ptp(problem.data.v_template, axis=0).max())
    way = torch.nn.functional.normalize(torch.randn(seen.xyz.shape, generator=rng), dim=-1)
    hit = torch.rand(seen.confidence.shape, generator=rng) < OUTLIER_SHARE
    spoilt = replace(seen, xyz=seen.xyz + OUTLIER_LENGTHS * length * way * hit.unsqueeze(-1))
    return spoilt, replace(seen, confidence=seen.confidence * ~hit)


def coverage(setting: Setting) -> list[Row]:
    """Share of true joint coordinates inside the fit's own 90 % intervals, with noise of many kinds.

    The weights are those of the usual noise and of the poses drawn; what is noisier or wrong is not said.
    """
    batch = setting.size(256, 3)
    columns = ('observed', 'not_observed', 'one_camera', 'all', 'goal_met')
    rows = []
    for case, make in cases(setting.data, batch).items():
        problem = make()
        for name, method in own_methods(covariance=True).items():
            row: Row = {'case': case, 'method': name, 'batch': batch}
            if method is None:
                rows.append(absent(row, columns))
                continue
            found = method(problem).result
            inside = within(problem, found.joints(), found.covariance.keypoints)
            shares = [_share(inside, mask) for mask in _kinds(problem, inside)]
            low, high = COVERAGE_GOAL
            met = low <= shares[-1] <= high
            rows.append({**row, **dict(zip(columns, (*shares, met))), 'note': ''})
    return rows


def _kinds(problem: Problem, inside: Tensor) -> tuple[Tensor, ...]:
    """Mark coordinates: of joints that were seen and not, in frames that one camera alone saw, and all."""
    visible = problem.seen.visible
    alone = torch.zeros(len(inside), dtype=torch.bool)
    if visible.ndim == 3:
        alone, visible = visible.any(-1).sum(1) == 1, visible.any(1)
    seen = visible.unsqueeze(-1).expand_as(inside)
    return seen, ~seen, alone[:, None, None].expand_as(inside), torch.ones_like(inside)


def _share(inside: Tensor, mask: Tensor) -> float | None:
    return float(inside[mask].float().mean()) if bool(mask.any()) else None


def within(problem: Problem, points: Tensor, covariance: Tensor) -> Tensor:
    """Say which coordinates of the true joints lie in their 90 % interval (B, J, 3) bool."""
    spread = covariance[:, : points.shape[1]].diagonal(dim1=-2, dim2=-1).sqrt()
    return (points - problem.clean).abs() <= QUANTILE_90 * spread
