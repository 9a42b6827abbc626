"""Which fitted frames may teach: judged one by one, by what each fit cannot game."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.fit_quality import errors_px, keypoints_of
from smilfit.evaluation.verdict import Threshold, Verdict, body_frames, judge
from smilfit.evaluation.verdict.label_measures import extents_px, without_camera
from smilfit.evaluation.verdict.refits import side_pairs
from smilfit.geometry.alignment import procrustes
from smilfit.structures import BodyParams, Keypoints2d

# Fits bodies again to keypoints: from where they are, to what is seen.
Refit = Callable[[BodyParams, Keypoints2d], BodyParams]


def judge_frames(
    body: SMIL,
    params: BodyParams,
    observed: Keypoints2d,
    thresholds: Mapping[str, Threshold],
    refit: Refit | None = None,
) -> Verdict:
    """Judge each fitted frame by itself: frames need not be of one recording.

    A frame is measured by how far its keypoints are from what the worst camera saw, joints beyond limits, places
    behind, too near or too far from cameras, how many keypoints were seen, whether left and right look exchanged,
    and, with `refit`, by how far off it is in each camera when fitted without it. Frames whose parameters are not
    finite count as not fitted.

    Args:
        observed: what was fitted to, with the cameras.
        thresholds: those of the verdict on sessions.
        refit: fits again without a camera; None leaves that out. Only frames that at least three cameras saw are.
    """
    good = torch.stack([x.isfinite().unsqueeze(-1).flatten(1).all(1) for x in params.as_dict().values()]).all(
        0
    )
    rows = good.nonzero().flatten()
    measured: dict[str, np.ndarray] = {}
    if len(rows):
        measured = _measures(body, params[rows], observed[rows], refit)
    whole = {name: np.full(len(good), np.nan) for name in measured} or {
        'frame_error': np.full(len(good), np.nan)
    }
    for name, values in measured.items():
        whole[name][rows.cpu().numpy()] = values
    return judge({}, thresholds, whole)


def _measures(
    body: SMIL, params: BodyParams, observed: Keypoints2d, refit: Refit | None
) -> dict[str, np.ndarray]:
    result = body_frames(body, params, observed)
    size = extents_px(observed, pooled=False).clamp_min(1e-9).unsqueeze(-1)
    errors = errors_px(observed, keypoints_of(body, params, observed.names)) / size
    # By camera: of several cameras the median would overlook that one sees another animal.
    by_camera = errors.nanmedian(2).values.nan_to_num(-torch.inf, torch.inf).amax(1)
    result['frame_error'] = torch.where(by_camera >= 0, by_camera, torch.nan).cpu().double().numpy()
    swapped = _swapped_sides(body, params, observed)
    if swapped is not None:
        result['swapped_sides'] = swapped
    if refit is not None:
        result['left_out_labels'] = _left_out(body, params, observed, size, refit)
    return result


def _swapped_sides(body: SMIL, params: BodyParams, observed: Keypoints2d) -> np.ndarray | None:
    """Ask whether left and right are exchanged: a body that is bent as it is not, to reach the other side's points.

    The body at rest, of the same shape, is laid over the fitted points as they are and with both sides exchanged: how
    much further off is it in the second case? None without pairs.
    """
    order = list(range(len(observed.names)))
    for a, b in side_pairs(body.data, observed.names):
        order[a], order[b] = b, a
    if order == list(range(len(order))):
        return None
    points = keypoints_of(body, params, observed.names)
    resting = body.zero_params(len(points)).replace(betas=params.betas.to(body.v_template))
    rest, valid = keypoints_of(body, resting, observed.names), observed.visible.any(1).float().cpu()
    given, swapped = (_misfit(rest, points[:, o], valid[:, o]) for o in (list(range(len(order))), order))
    return (swapped / given.clamp_min(1e-9)).double().numpy()


def _misfit(rest: Tensor, points: Tensor, valid: Tensor) -> Tensor:
    """Lay points over others, and give their RMS distance."""
    squared = (procrustes(rest, points, valid).apply(rest) - points).square().sum(-1) * valid
    return (squared.sum(1) / valid.sum(1).clamp_min(1)).sqrt()


def _left_out(
    body: SMIL, params: BodyParams, observed: Keypoints2d, size: Tensor, refit: Refit
) -> np.ndarray:
    """Fit without each camera in turn; give each frame's worst camera's median error, a share of the size there."""
    looks = observed.visible.any(2)
    worst = np.full(len(looks), np.nan)
    for camera in range(looks.shape[1]):
        rows = (looks[:, camera] & (looks.sum(1) > 2)).nonzero().flatten()
        if not len(rows):
            continue
        part = observed[rows]
        again = refit(params[rows], without_camera(part, camera))
        errors = (errors_px(part, keypoints_of(body, again, part.names)) / size[rows])[:, camera]
        at = rows.cpu().numpy()
        worst[at] = np.fmax(worst[at], _median(errors))
    return worst


def _median(errors: Tensor) -> np.ndarray:
    return errors.flatten(1).nanmedian(1).values.cpu().double().numpy()
