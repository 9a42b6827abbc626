"""Errors of a fit against known truth, beside what answers without a body or without a pose of their own reach."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from smilfit.evaluation.baseline import mean_pose, place_at_prediction
from smilfit.evaluation.errors import mpjpe, pa_mpjpe
from smilfit.structures import Keypoints3d


def errors_against_truth(
    fitted: Float[Tensor, 'B K 3'], truth: Keypoints3d, placed: Keypoints3d | None, unit: str
) -> dict[str, int | float]:
    """Measure fitted keypoints against true ones.

    Beside `mpjpe_<unit>` and `pa_mpjpe_<unit>` stand trivial answers, for `strongest_baselines`: the truth's own mean
    pose, aligned or put where each frame was fitted (`_mean_pose`, `_mean_pose_at_predicted_place`), and, over the
    keypoints that it places (`mpjpe_shared_<unit>`), the labels' triangulation (`_triangulated`).

    Args:
        fitted: world unit.
        truth: the same keypoints.
        placed: the labels' triangulation; None where there is none.
        unit: the end of the names.
    """
    points = fitted.detach().cpu().double().numpy()
    true, seen = truth.xyz.cpu().double().numpy(), (truth.confidence > 0).cpu().numpy()
    found = {f'mpjpe_{unit}': mpjpe(points, true, seen), f'pa_mpjpe_{unit}': pa_mpjpe(points, true, seen)}
    if placed is not None:
        shared = seen & (placed.confidence > 0).cpu().numpy()
        without = placed.xyz.cpu().double().numpy()
        found[f'mpjpe_shared_{unit}'] = mpjpe(points, true, shared)
        found[f'mpjpe_shared_triangulated_{unit}'] = mpjpe(without, true, shared)
    if len(true) and seen.sum(1).max() >= 3:
        pose = mean_pose(true, seen)
        at_place = place_at_prediction(pose, points, seen)
        found[f'mpjpe_mean_pose_at_predicted_place_{unit}'] = mpjpe(at_place, true, seen)
        found[f'pa_mpjpe_mean_pose_{unit}'] = pa_mpjpe(np.broadcast_to(pose, true.shape), true, seen)
    return {name: float(value) for name, value in found.items() if not np.isnan(value)}
