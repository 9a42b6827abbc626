"""The numbers that a fit to points in space is judged by where no camera saw anything."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.baseline import mean_pose, place_at_prediction
from smilfit.evaluation.point_fit import point_benchmark
from smilfit.evaluation.verdict.body_measures import body_values, limits_share
from smilfit.evaluation.verdict.judge import Measured
from smilfit.evaluation.verdict.refits import (
    Inputs,
    changed_keypoints,
    fitted_keypoints,
    null_maps,
    spread_rows,
)
from smilfit.evaluation.verdict.session_measures import N_REFITTED, N_SHUFFLED, SessionNumbers, at_places
from smilfit.structures import FitResult, Keypoints3d

# Each keypoint is left out of every so many frames, in as many fits.
N_GROUPS = 4
# Fewer keypoints than this leave too few to fit to; so many place a pose.
LEAST_KEYPOINTS, LEAST_PLACED = 8, 3
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
    measured = point_benchmark(given[rows], fitted_keypoints(result, given.names)[rows])
    worst = [measured.median(k) / measured.size for k in range(len(given.names))]
    values = body_values(body, params, given.unit)
    if np.isfinite(worst).any():
        at = int(np.nanargmax(worst))
        values['point_error'] = Measured(
            measured.median() / measured.size, f'most {given.names[at]}: {worst[at]:.1%}'
        )
    frames = {
        'limits': limits_share(body, params).detach().cpu().double().numpy(),
        'keypoints': given[rows].visible.sum(1).double().numpy(),
        'point_frame_error': measured.by_frame() / measured.size,
    }
    few = spread_rows(rows, N_REFITTED)
    chosen = [i[few] for i in inputs]
    values |= left_out_points(lambda changed: fit(changed, few), chosen, given[few], measured.size, step)
    step('fitting with shuffled keypoints')
    matches = null_maps(lambda changed: stiff(changed, few), chosen, body.data, N_SHUFFLED)
    if matches is not None:
        values['shuffled_maps'] = Measured(min(matches.shuffled))
        if matches.swapped is not None:
            values['swapped_sides'] = Measured(matches.swapped)
    return SessionNumbers(values, {n: at_places(v, rows) for n, v in frames.items()}, ())


def left_out_points(
    fit: Callable[[Inputs], FitResult],
    inputs: Inputs,
    given: Keypoints3d,
    size: float,
    step: Callable[[str], None],
) -> dict[str, Measured]:
    """Hide every keypoint in every fourth frame, and measure it there.

    The other frames tell where it is on the body and how long bones are; in its frame the pose has to tell. Beside it
    stands the mean pose of what was not hidden, moved, turned and scaled onto what was not hidden in the frame: what
    labels without a body and without joints say. Noise of the labels is in both.

    Args:
        fit: fits.
        given: the points of these frames.
        size: of the animal, world unit.
        step: told what is done next.

    Returns:
        The median distance as a share of the size, and over that of the mean pose; empty of too few frames or
        keypoints.
    """
    names, valid = given.names, given.visible
    if len(names) < LEAST_KEYPOINTS or len(valid) < N_GROUPS:
        return {}
    group = torch.arange(len(valid)).unsqueeze(1) + torch.arange(len(names))
    errors, trivial = (torch.full(valid.shape, torch.nan, dtype=torch.float64) for _ in range(2))
    for g in range(N_GROUPS):
        step(f'fitting without a quarter of the keypoints ({g + 1} of {N_GROUPS})')
        hidden = group % N_GROUPS == g
        result = fit([changed_keypoints(i, {Keypoints3d: _hiding(names, hidden)}) for i in inputs])
        errors[hidden] = _distances(given, fitted_keypoints(result, names))[hidden]
        trivial[hidden] = _distances(given, _mean_pose(given, valid & ~hidden))[hidden]
    both = errors.isfinite() & trivial.isfinite()
    if not bool(both.any()):
        return {}
    medians = torch.where(both, errors, torch.nan).nanmedian(0).values
    worst = int(medians.nan_to_num(-1.0).argmax())
    most = f'most {names[worst]}: {float(medians[worst]) / size:.1%}'
    error, mean = float(errors[both].median()), float(trivial[both].median())
    matches = {'left_out_points': Measured(error / size, most)}
    if mean > 0:
        matches['left_out_points_ratio'] = Measured(
            error / mean, f'{error / size:.1%} against {mean / size:.1%}'
        )
    return matches


def _distances(given: Keypoints3d, points: Tensor) -> Float[Tensor, 'B K']:
    distance = (points.double() - given.xyz.double()).norm(dim=-1)
    return torch.where(given.visible, distance, torch.nan)


def _mean_pose(given: Keypoints3d, shown: Tensor) -> Float[Tensor, 'B K 3']:
    """Put the mean pose of the shown points onto those of each frame; NaN where it cannot be put."""
    valid, xyz = shown.numpy(), given.xyz.double().numpy()
    if valid.sum(1).max() < LEAST_PLACED:
        return torch.full(given.xyz.shape, torch.nan, dtype=torch.float64)
    points = np.where(valid[..., None], xyz, np.nan)
    return torch.from_numpy(
        place_at_prediction(mean_pose(np.where(valid[..., None], xyz, 0.0), valid), points)
    )


def _hiding(names: Sequence[str], hidden: Tensor) -> Callable[[Keypoints3d], Keypoints3d]:
    """Return a function that takes the hidden ones of named keypoints away."""

    def hide(observed: Keypoints3d) -> Keypoints3d:
        confidence = observed.confidence.clone()
        for k, name in enumerate(names):
            if name in observed.names:
                confidence[hidden[:, k], observed.names.index(name)] = 0
        return replace(observed, confidence=confidence)

    return hide
