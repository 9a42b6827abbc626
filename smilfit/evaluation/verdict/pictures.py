"""The numbers that fits of single images are judged by: one view of each, no other to tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.verdict.body_measures import body_frames, frame_meshes
from smilfit.evaluation.verdict.evidence import extents_px, places_seen
from smilfit.evaluation.verdict.judge import Found
from smilfit.evaluation.verdict.masks import mask_margins, outline_convexity
from smilfit.evaluation.verdict.one_view import view_frames
from smilfit.evaluation.verdict.priors import betas_sd
from smilfit.evaluation.verdict.refits import Inputs, null_maps, spread_rows
from smilfit.evaluation.verdict.yardstick import errors_px
from smilfit.registrants import OneViewDoubt
from smilfit.structures import FitResult, Keypoints2d

# Images that are fitted again with shuffled keypoints, and random maps.
N_REFITTED, N_SHUFFLED = 6, 2
MASK_ALONE = 'a mask alone shows front and back alike'


@dataclass(frozen=True)
class PictureNumbers:
    """Numbers by measure, of all images together and of each, and notes on the numbers of images."""

    values: Mapping[str, Found]
    frames: Mapping[str, Float[np.ndarray, ' B']]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def picture_numbers(
    body: SMIL,
    result: FitResult,
    seen: Keypoints2d,
    inputs: Inputs,
    fit: Callable[[Inputs, Tensor], FitResult] | None,
    silhouettes: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None,
    doubt: OneViewDoubt | None = None,
    step: Callable[[str], None] = lambda what: None,
) -> PictureNumbers:
    """Measure all that fits of single images are judged by.

    Args:
        body: the body.
        result: its fits to B images.
        seen: the labels, a camera an image.
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
    params, labels = result.params[rows.to(result.params.transl.device)].to('cpu'), seen[rows]
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
    of_view, notes = view_frames(body, result, doubt)
    whole |= of_view
    blind = (rows & ~seen.visible.flatten(1).any(1)).numpy()
    _doubt_of_masks(whole, notes, blind)
    if silhouettes:
        alone = [row for row in silhouettes if blind[row]]
        whole['mask_margin'] = mask_margins(silhouettes, len(rows), alone)
        plain = np.full(len(rows), np.nan)
        plain[alone] = [outline_convexity(silhouettes[row][1]) for row in alone]
        whole['mask_outline'] = plain
    values: dict[str, Found] = {}
    few = spread_rows(rows & seen.visible.flatten(1).any(1), N_REFITTED)
    if fit is not None and len(few):
        step('fitting with shuffled keypoints')
        chosen = [i[few] for i in inputs]
        found = null_maps(lambda changed: fit(changed, few), chosen, body.data, N_SHUFFLED, pooled=False)
        if found is not None:
            values['shuffled_maps'] = Found(min(found.shuffled))
    return PictureNumbers(values, whole, notes)


def _doubt_of_masks(
    frames: dict[str, np.ndarray], notes: dict[str, tuple[str, ...]], blind: Bool[np.ndarray, ' B']
) -> None:
    """Doubt the direction of images without keypoints; fills in `frames` and `notes`."""
    if blind.any():
        doubted = frames.get('view_doubt', np.full(len(blind), np.nan))
        told = notes.get('view_doubt', ('',) * len(blind))
        frames['view_doubt'] = np.where(blind, 1.0, doubted)
        notes['view_doubt'] = tuple(MASK_ALONE if b else note for b, note in zip(blind, told))


def _whole(values: np.ndarray, rows: Tensor) -> np.ndarray:
    found = np.full(len(rows), np.nan)
    found[rows.numpy()] = values
    return found
