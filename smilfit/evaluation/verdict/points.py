"""The numbers that a fit to points in space is judged by where no camera saw anything."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.point_fit import point_benchmark
from smilfit.evaluation.verdict.body_measures import body_values, limits_share
from smilfit.evaluation.verdict.judge import Found
from smilfit.evaluation.verdict.refits import Inputs, keypoints_of, null_maps, spread_rows
from smilfit.evaluation.verdict.session import N_REFITTED, N_SHUFFLED, SessionNumbers, at_places
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.structures import FitResult, Keypoints3d

# Keypoints are left out in so many groups in turn.
N_GROUPS = 4
# Fewer keypoints than this leave too few to fit to.
LEAST_KEYPOINTS = 8
# What `point_numbers` does, for a progress bar.
N_STEPS = 2 + N_GROUPS


def point_numbers(
    body: SMIL,
    result: FitResult,
    given: Keypoints3d,
    inputs: Inputs,
    fit: Callable[[Inputs, Tensor], FitResult],
    stiff: Callable[[Inputs, Tensor], FitResult],
    step: Callable[[str], None] = lambda what: None,
) -> SessionNumbers:
    """Measure all that a fit to points is judged by: points that it met, points that it did not see, and the body.

    Args:
        body: the body.
        result: its fit, of B frames.
        given: the points of these frames.
        inputs: what was fitted to, B frames each.
        fit: fits such inputs of fewer frames, whose rows are given, the way `result` was made.
        stiff: fits them likewise with heavier priors.
        step: told what is done next.
    """
    step('measuring')
    rows = result.fitted.cpu()
    params = result.params[rows.to(result.params.transl.device)].to('cpu')
    measured = point_benchmark(given[rows], keypoints_of(result, given.names)[rows])
    worst = [measured.median(k) / measured.size for k in range(len(given.names))]
    values = body_values(body, params)
    if np.isfinite(worst).any():
        at = int(np.nanargmax(worst))
        values['point_error'] = Found(
            measured.median() / measured.size, f'most {given.names[at]}: {worst[at]:.1%}'
        )
    frames = {
        'limits': limits_share(body, params).detach().cpu().double().numpy(),
        'keypoints': given[rows].visible.sum(1).double().numpy(),
        'point_frame_error': measured.by_frame() / measured.size,
    }
    few = spread_rows(rows, N_REFITTED)
    chosen = [i[few] for i in inputs]
    left_out = _left_out(lambda changed: fit(changed, few), chosen, given[few], measured.size, step)
    if left_out is not None:
        values['left_out_points'] = left_out
    step('fitting with shuffled keypoints')
    found = null_maps(lambda changed: stiff(changed, few), chosen, body.data, N_SHUFFLED)
    if found is not None:
        values['shuffled_maps'] = Found(min(found.shuffled))
        if found.swapped is not None:
            values['swapped_sides'] = Found(found.swapped)
    return SessionNumbers(values, {n: at_places(v, rows) for n, v in frames.items()}, ())


def _left_out(
    fit: Callable[[Inputs], FitResult],
    inputs: Inputs,
    given: Keypoints3d,
    size: float,
    step: Callable[[str], None],
) -> Found | None:
    """Fit without every n-th keypoint in turn, and measure there; the median, as a share of the animal's size."""
    names = given.names
    if len(names) < LEAST_KEYPOINTS:
        return None
    found, worst = [], (0.0, '')
    for group in range(N_GROUPS):
        hidden = names[group::N_GROUPS]
        step(f'fitting without {", ".join(hidden)}')
        points = keypoints_of(fit([_without(i, hidden) for i in inputs]), names)
        measured = point_benchmark(given, points)
        for k in range(group, len(names), N_GROUPS):
            share = measured.median(k) / size
            if np.isfinite(share):
                found.append(measured.distances[:, k] / size)
                worst = max(worst, (share, names[k]))
    if not found:
        return None
    return Found(float(np.nanmedian(np.stack(found))), f'most {worst[1]}: {worst[0]:.1%}')


def _without(given: BaseInput, names: Sequence[str]) -> BaseInput:
    """Copy an input with some keypoints missing."""
    if not isinstance(given, KeypointInput) or not isinstance(given.keypoints, Keypoints3d):
        return given
    changed, seen = copy(given), given.keypoints
    confidence = seen.confidence.clone()
    confidence[:, [k for k, name in enumerate(seen.names) if name in names]] = 0
    changed.keypoints = replace(seen, confidence=confidence)
    return changed
