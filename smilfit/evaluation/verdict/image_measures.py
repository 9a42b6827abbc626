"""The numbers that fits of single images are judged by: keypoints, masks, and what one view leaves open."""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.fit_quality import errors_px, keypoints_of
from smilfit.evaluation.image_fit import mask_iou
from smilfit.evaluation.verdict.body_measures import betas_sd, body_frames, frame_meshes
from smilfit.evaluation.verdict.judge import Measured
from smilfit.evaluation.verdict.label_measures import count_places, extents_px
from smilfit.evaluation.verdict.refits import Inputs, null_maps, spread_rows
from smilfit.evaluation.verdict.session_measures import SessionNumbers, at_places, view_frames
from smilfit.registrants import OneViewAmbiguity
from smilfit.structures import FitResult, Keypoints2d

# Other images' silhouettes that are laid over a mask.
N_OTHERS = 5


def mask_margins(
    silhouettes: Mapping[int, tuple[Bool[np.ndarray, 'H W'], Bool[np.ndarray, 'H W']]],
    count: int,
    alone: Collection[int] = (),
) -> Float[np.ndarray, ' B']:
    """Compare each fit's overlap with its mask to what has nothing to do with the animal.

    Any body covers a part of any mask: what counts is by how much the right one covers more (IoU less the median IoU
    of other images' fits, moved and scaled over the mask's box). Where a mask is all that there is, a rock must not
    pass for an animal that is curled up: the fit must be better than plain shapes, too (`plain_overlap`). NaN of an
    image without mask, or where there is nothing to compare with.

    Args:
        silhouettes: by row, what the body covers and the mask.
        count: how many rows there are.
        alone: rows of which the mask is all that was seen.
    """
    result = np.full(count, np.nan)
    rows = list(silhouettes)
    for i, row in enumerate(rows):
        covered, mask = silhouettes[row]
        others = [rows[(i + k) % len(rows)] for k in range(1, min(N_OTHERS, len(rows) - 1) + 1)]
        overlaps = [
            mask_iou(moved, mask)
            for moved in (_over(silhouettes[other][0], mask) for other in others)
            if moved is not None
        ]
        least = [float(np.median(overlaps))] if overlaps else []
        if row in alone:
            least.append(plain_overlap(mask))
        if least:
            result[row] = mask_iou(covered, mask) - max(least)
    return result


def outline_convexity(mask: Bool[np.ndarray, 'H W']) -> float:
    """Divide the perimeter of a mask's convex hull by its own, of its largest piece; 1 of a convex one.

    Steps of less than a hundredth of the outline's extent do not count: pixels are steps.
    """
    import cv2

    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    smooth = cv2.approxPolyDP(outline, 0.01 * float(np.ptp(outline, axis=0).max()), True)
    around = cv2.arcLength(smooth, True)
    return min(cv2.arcLength(cv2.convexHull(smooth), True) / around, 1.0) if around > 0 else 1.0


def plain_overlap(mask: Bool[np.ndarray, 'H W']) -> float:
    """Return the larger IoU of a mask with its convex hull and with the ellipse of its second moments; 1 of a
    line."""
    import cv2

    rows, columns = np.nonzero(mask)
    points = np.stack((columns, rows), 1)
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(hull, [cv2.convexHull(points.astype(np.int32))], 1)
    spread = np.cov(points.T) if len(points) > 1 else np.zeros((2, 2))
    if np.linalg.eigvalsh(spread)[0] < 1 / 12:
        return 1.0
    grid = np.stack(np.meshgrid(*map(np.arange, mask.shape[::-1])), -1) - points.mean(0)
    # The ellipse whose area has these moments ends at two standard deviations.
    ellipse = np.einsum('hwi,ij,hwj->hw', grid, np.linalg.inv(spread), grid) <= 4.0
    return max(mask_iou(hull > 0, mask), mask_iou(ellipse, mask))


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


# Images that are fitted again with shuffled keypoints, and random maps.
N_REFITTED, N_SHUFFLED = 6, 2
MASK_ALONE = 'a mask alone shows front and back alike'


def image_numbers(
    body: SMIL,
    result: FitResult,
    observed: Keypoints2d,
    inputs: Inputs,
    fit: Callable[[Inputs, Tensor], FitResult] | None,
    silhouettes: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None,
    doubt: OneViewAmbiguity | None = None,
    step: Callable[[str], None] = lambda what: None,
) -> SessionNumbers:
    """Measure all that fits of single images are judged by.

    Args:
        result: its fits to B images.
        observed: the labels, a camera an image.
        inputs: what was fitted to, B images each.
        fit: fits such inputs of fewer images, whose rows are given, the way `result` was made; None where there is
            nothing to shuffle. Heavier priors would tell less: proportions of a single animal are its own, and right
            maps would miss as much as random ones.
        silhouettes: by row, what the body covers and the mask, for images that have one.
        doubt: what the other starts of each image came to, where it had several.
        step: told what is done next.
    """
    step('measuring')
    rows = result.fitted.cpu()
    params, labels = result.params[rows.to(result.params.transl.device)].to('cpu'), observed[rows]
    points = keypoints_of(body, params, labels.names)
    extent = extents_px(labels, pooled=False)
    errors = errors_px(labels, points) / extent.clamp_min(1e-9).unsqueeze(-1)
    frames = body_frames(body, params, labels) | frame_meshes(body, params)
    some = labels.visible.flatten(1).any(1)
    # An image of a mask alone has no keypoint to be judged by.
    frames['frame_error'] = errors.flatten(1).nanmedian(1).values.numpy()
    spread = (extent / labels.rig.size.amax(-1).reshape(-1, extent.shape[1]).to(extent)).amax(1)
    frames['spread'] = torch.where(some, spread, torch.nan).double().numpy()
    frames['keypoints'] = torch.where(some, count_places(labels).double(), torch.nan).numpy()
    if params.betas.shape[1]:
        frames['betas_sd'] = betas_sd(body, params).amax(1).double().cpu().numpy()
    whole = {name: at_places(value, rows) for name, value in frames.items()}
    of_view, notes = view_frames(body, result, doubt)
    whole |= of_view
    blind = (rows & ~observed.visible.flatten(1).any(1)).numpy()
    _ambiguity_of_masks(whole, notes, blind)
    if silhouettes:
        alone = [row for row in silhouettes if blind[row]]
        whole['mask_margin'] = mask_margins(silhouettes, len(rows), alone)
        plain = np.full(len(rows), np.nan)
        plain[alone] = [outline_convexity(silhouettes[row][1]) for row in alone]
        whole['mask_outline'] = plain
    values: dict[str, Measured] = {}
    few = spread_rows(rows & observed.visible.flatten(1).any(1), N_REFITTED)
    if fit is not None and len(few):
        step('fitting with shuffled keypoints')
        chosen = [i[few] for i in inputs]
        matches = null_maps(lambda changed: fit(changed, few), chosen, body.data, N_SHUFFLED, pooled=False)
        if matches is not None:
            values['shuffled_maps'] = Measured(min(matches.shuffled))
    return SessionNumbers(values, whole, (), notes)


def _ambiguity_of_masks(
    frames: dict[str, np.ndarray], notes: dict[str, tuple[str, ...]], blind: Bool[np.ndarray, ' B']
) -> None:
    """Doubt the direction of images without keypoints; fills in `frames` and `notes`."""
    if blind.any():
        doubted = frames.get('view_doubt', np.full(len(blind), np.nan))
        messages = notes.get('view_doubt', ('',) * len(blind))
        frames['view_doubt'] = np.where(blind, 1.0, doubted)
        notes['view_doubt'] = tuple(MASK_ALONE if b else note for b, note in zip(blind, messages))
