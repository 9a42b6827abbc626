"""The numbers that fits of single images are judged by: one view of each, no other to tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.image_fit import mask_iou
from smilfit.evaluation.verdict.body_measures import body_frames, frame_meshes
from smilfit.evaluation.verdict.evidence import extents_px, places_seen
from smilfit.evaluation.verdict.judge import Found
from smilfit.evaluation.verdict.one_view import view_frames
from smilfit.evaluation.verdict.priors import betas_sd
from smilfit.evaluation.verdict.refits import Inputs, mean_loss, null_maps, spread_rows
from smilfit.evaluation.verdict.yardstick import errors_px
from smilfit.structures import FitResult, Keypoints2d

# Images that are fitted again with shuffled keypoints, random maps, and other animals laid over a mask.
N_REFITTED, N_SHUFFLED, N_OTHERS = 6, 2, 5


@dataclass(frozen=True)
class PictureNumbers:
    """Numbers by measure, of all images together and of each."""

    values: Mapping[str, Found]
    frames: Mapping[str, Float[np.ndarray, ' B']]


def picture_numbers(
    body: SMIL,
    result: FitResult,
    seen: Keypoints2d,
    inputs: Inputs,
    fit: Callable[[Inputs, Tensor], FitResult] | None,
    silhouettes: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None,
    step: Callable[[str], None] = lambda what: None,
) -> PictureNumbers:
    """Measure all that fits of single images are judged by.

    Args:
        body: the body.
        result: its fits to B images.
        seen: the labels, a camera an image.
        inputs: what was fitted to, B images each.
        fit: fits such inputs of fewer images, whose rows are given; None where there is nothing to shuffle.
        silhouettes: by row, what the body covers and the mask, for images that have one.
        step: told what is done next.
    """
    step('measuring')
    rows = result.fitted.cpu()
    params, labels = result.params[rows.to(result.params.transl.device)], seen[rows]
    with torch.no_grad():
        points = body(params.to(body.v_template), labels.names).select(labels.names).cpu()
    extent = extents_px(labels, pooled=False)
    errors = errors_px(labels, points) / extent.clamp_min(1e-9).unsqueeze(-1)
    frames = body_frames(body, params, labels) | frame_meshes(body, params)
    some = labels.visible.flatten(1).any(1)
    # An image of a mask alone has no keypoint to be judged by.
    frames['frame_error'] = errors.flatten(1).nanmedian(1).values.numpy()
    spread = (extent / labels.rig.size.amax(-1).reshape(-1, extent.shape[1]).to(extent)).amax(1)
    frames['spread'] = torch.where(some, spread, torch.nan).double().numpy()
    frames['keypoints'] = torch.where(some, places_seen(labels).double(), torch.nan).numpy()
    if params.betas.shape[1]:
        frames['betas_sd'] = betas_sd(body, params).amax(1).double().cpu().numpy()
    whole = {name: _whole(value, rows) for name, value in frames.items()}
    if len(seen.rig) == 1:
        whole |= view_frames(body, result, seen)
    if silhouettes:
        whole['mask_margin'] = mask_margins(silhouettes, len(rows))
    values: dict[str, Found] = {}
    few = spread_rows(rows & seen.visible.flatten(1).any(1), N_REFITTED)
    if fit is not None and len(few):
        step('fitting with shuffled keypoints')
        chosen = [i[few] for i in inputs]
        loss = mean_loss(fit(chosen, few))
        found = null_maps(lambda changed: fit(changed, few), chosen, body.data, N_SHUFFLED, loss)
        values['shuffled_images'] = Found(min(found.shuffled))
    return PictureNumbers(values, whole)


def mask_margins(
    silhouettes: Mapping[int, tuple[Bool[np.ndarray, 'H W'], Bool[np.ndarray, 'H W']]], count: int
) -> Float[np.ndarray, ' B']:
    """Compare each fit's overlap with its mask to that of other images' fits, moved and scaled over the mask's box.

    Any body covers a part of any mask: what counts is by how much the right one covers more (IoU less the others'
    median IoU). NaN of an image without mask, or where there is no other image.

    Args:
        silhouettes: by row, what the body covers and the mask.
        count: how many rows there are.
    """
    found = np.full(count, np.nan)
    rows = list(silhouettes)
    for i, row in enumerate(rows):
        covered, mask = silhouettes[row]
        others = [rows[(i + k) % len(rows)] for k in range(1, min(N_OTHERS, len(rows) - 1) + 1)]
        overlaps = [
            mask_iou(moved, mask)
            for moved in (_over(silhouettes[other][0], mask) for other in others)
            if moved is not None
        ]
        if overlaps:
            found[row] = mask_iou(covered, mask) - float(np.median(overlaps))
    return found


def _over(silhouette: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Stretch a silhouette so that its box is the mask's; None of an empty one."""
    if not silhouette.any() or not mask.any():
        return None
    (y0, y1), (x0, x1) = _box(silhouette)
    (v0, v1), (u0, u1) = _box(mask)
    rows = np.round(np.linspace(y0, y1, v1 - v0 + 1)).astype(int)
    columns = np.round(np.linspace(x0, x1, u1 - u0 + 1)).astype(int)
    moved = np.zeros_like(mask)
    moved[v0 : v1 + 1, u0 : u1 + 1] = silhouette[np.ix_(rows, columns)]
    return moved


def _box(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))


def _whole(values: np.ndarray, rows: Tensor) -> np.ndarray:
    found = np.full(len(rows), np.nan)
    found[rows.numpy()] = values
    return found
