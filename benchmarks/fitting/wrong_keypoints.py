"""Wrong keypoints under schedules of widened losses; mistaken sides with and without trying them exchanged."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.fitting.methods import lm_stage, registrant
from benchmarks.fitting.problems import (
    NOISE,
    NOISE_PX,
    Problem,
    plain_data,
    seen_by_cameras,
    seen_in_space,
)
from benchmarks.fitting.setting import Setting
from benchmarks.measuring import Row, seconds_of
from smilfit.body_models import BodyModelData
from smilfit.registrants import RigidInitializer
from smilfit.registrants.swaps import exchanged, pairs_of
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import FitResult, Keypoints3d
from smilfit.synthetic import make_insect, make_quadruped

SCHEDULES = {'none': (), '2': (2.0,), '4': (4.0,), '4, 2': (4.0, 2.0), '16, 8, 4, 2': (16.0, 8.0, 4.0, 2.0)}
OUTLIERS, SWAPS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4), (0.05, 0.1, 0.2, 0.3)
OUTLIER_LENGTHS, NEAR, SIGMAS = 0.3, 1.5, 6
# What is wrong, by its name: the problem as seen, and without what is wrong.
Spoil = Callable[[Problem, float], tuple[Problem, Problem]]


def wrong(setting: Setting) -> list[Row]:
    """Share of frames as near as 1.5 x a fit that is told what is wrong, from the rigid start, by schedule."""
    rows = []
    others = setting.size((make_insect, make_quadruped), ())
    for data in (_with_sides(setting.data), *(plain_data(make()) for make in others)):
        for views, make in ((0, seen_in_space), (4, _four_views)):
            clean = make(data, setting.size(256, 3), 0)
            for kind, (spoil, shares) in KINDS.items():
                for share in setting.size(shares, shares[:1]):
                    row: Row = {'model': data.name, 'views': views, 'wrong': kind, 'share': share}
                    rows.append(row | _by_schedule(*spoil(clean, share)))
    return rows


def _by_schedule(spoilt: Problem, known: Problem) -> Row:
    least = known.error(_fitted(known, SCHEDULES['16, 8, 4, 2'])[1].params).mean(1)
    row: Row = {}
    for name, schedule, tries in [
        *((n, s, False) for n, s in SCHEDULES.items()),
        ('swaps tried', (4.0, 2.0), True),
    ]:
        seconds, found = _fitted(spoilt, schedule, tries)
        row[name] = float((spoilt.error(found.params).mean(1) <= NEAR * least).float().mean())
        row[f'{name}, s'] = seconds
    told = found.report['swapped_keypoints']
    return row | {'exchanged': sum(given['count'] for given in told.values()), 'note': ''}


def _fitted(
    problem: Problem, schedule: tuple[float, ...], try_swaps: bool = False
) -> tuple[float, FitResult]:
    noise = NOISE if isinstance(problem.seen, Keypoints3d) else NOISE_PX
    problem = replace(problem, sigma=SIGMAS * noise)
    fitter = registrant(problem, LevenbergMarquardt(gnc_schedule=schedule), [lm_stage()])
    fitter.initializer, fitter.try_swaps = RigidInitializer(), try_swaps
    return seconds_of(lambda: fitter([problem.seen]))


def random_points(problem: Problem, share: float) -> tuple[Problem, Problem]:
    """Move points 30 % of a body length off, in any direction."""
    seen, rng = problem.seen, torch.Generator().manual_seed(7)
    space = isinstance(seen, Keypoints3d)
    points = seen.xyz if space else seen.xy
    length = OUTLIER_LENGTHS * float(np.ptp(problem.data.v_template, axis=0).max())
    way = torch.nn.functional.normalize(torch.randn(points.shape, generator=rng), dim=-1)
    hit = torch.rand(seen.confidence.shape, generator=rng) < share
    far = points + (length if space else length * NOISE_PX / NOISE) * way * hit.unsqueeze(-1)
    spoilt = replace(seen, **{'xyz' if space else 'xy': far})
    return replace(problem, seen=spoilt), _without(problem, hit)


def single_pairs(problem: Problem, share: float) -> tuple[Problem, Problem]:
    """Exchange left and right points, each pair by itself, in each view by itself."""
    pairs = pairs_of(problem.data, problem.seen.names)
    shape = (*problem.seen.confidence.shape[:-1], len(pairs.left))
    return _exchanged(problem, torch.rand(shape, generator=torch.Generator().manual_seed(7)) < share)


def whole_limbs(problem: Problem, share: float) -> tuple[Problem, Problem]:
    """Exchange all points of a limb at once."""
    pairs = pairs_of(problem.data, problem.seen.names)
    shape = (*problem.seen.confidence.shape[:-1], len(pairs.members))
    hit = torch.rand(shape, generator=torch.Generator().manual_seed(7)) < share
    return _exchanged(problem, hit[..., pairs.limb])


def _exchanged(problem: Problem, mask: Tensor) -> tuple[Problem, Problem]:
    pairs = pairs_of(problem.data, problem.seen.names)
    hit = torch.zeros_like(problem.seen.confidence, dtype=torch.bool)
    hit[..., pairs.left] = hit[..., pairs.right] = mask
    return replace(problem, seen=exchanged(problem.seen, pairs, mask)), _without(problem, hit)


def _without(problem: Problem, hit: Tensor) -> Problem:
    return replace(problem, seen=replace(problem.seen, confidence=problem.seen.confidence * ~hit))


def _four_views(data: BodyModelData, batch: int, seed: int) -> Problem:
    return seen_by_cameras(data, batch, seed, missing=0.0)


def _with_sides(data: BodyModelData) -> BodyModelData:
    """Name the sides of a model that does not, by `_l` and `_r` at the ends of its joints' names."""
    found = tuple(
        (n, f'{n[:-2]}_r') for n in data.joint_names if n.endswith('_l') and f'{n[:-2]}_r' in data.joint_names
    )
    return data if data.joint_symmetry else replace(data, joint_symmetry=found)


KINDS: dict[str, tuple[Spoil, tuple[float, ...]]] = {
    'random points': (random_points, OUTLIERS),
    'sides of pairs': (single_pairs, SWAPS),
    'sides of limbs': (whole_limbs, SWAPS),
}
