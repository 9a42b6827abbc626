"""Fit a case, judge the fit, and draw both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.believe.cases import Case
from benchmarks.image_scenes import SIDE, Scene, masks_of
from benchmarks.measuring import Row
from smilfit.body_models import SMIL
from smilfit.drawing import (
    OverlayPainter,
    Panel,
    ShownBody,
    View,
    enlarge,
    follow,
    free_views,
    write_image,
)
from smilfit.evaluation.image_fit import mask_iou
from smilfit.evaluation.verdict import (
    SessionNumbers,
    Verdict,
    image_numbers,
    judge,
    load_thresholds,
    session_numbers,
    stiffened,
)
from smilfit.handlers import BaseInput, ImageFrameInput, MultiviewKeypoint2dMSEInput
from smilfit.registrants import AmbiguityThresholds, one_view_ambiguity
from smilfit.registry import build_registrant
from smilfit.structures import Cameras, FitResult, Keypoints2d

WINDOW_PX, GREY = 300, 60
# By row what the fit covers and the mask, of images of masks alone.
Silhouettes = dict[int, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Judged:
    """A case with its fit and what was found."""

    case: Case
    result: FitResult
    seen: Keypoints2d
    masks: torch.Tensor | None
    verdict: Verdict
    row: Row
    overlaps: np.ndarray


def judged(case: Case) -> Judged:
    """Fit and judge a case."""
    body, given = case.make()
    cfg = case.registrant_config()
    fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    stiff = build_registrant({**stiffened(cfg, fitter.handlers), 'body_model': body, 'verbose': False})
    inputs, seen = (
        (_of_images(given), given.keypoints) if isinstance(given, Scene) else (_of_labels(given), given)
    )
    silhouettes: Silhouettes = {}
    start = time.process_time()
    numbers = case.apart * np.arange(inputs[0].batch_size)
    result = fitter(inputs, frames=numbers)
    fitted = time.process_time()
    if isinstance(given, Scene):
        silhouettes = _silhouettes(body, result, given)
        found: Any = _of_views(result, given, inputs, by(fitter, numbers), fitter.doubt, silhouettes)
    else:
        found = session_numbers(body, result, seen, inputs, by(fitter, numbers), by(stiff, numbers))
    keypoints = None if isinstance(given, Scene) else found.keypoints
    verdict = judge(found.values, load_thresholds(), found.frames, found.notes, keypoints)
    row: Row = {
        'case': case.name,
        'truth': 'right' if case.right else 'wrong',
        'word': verdict.word,
        'fit_s': fitted - start,
        'verdict_s': time.process_time() - fitted,
        'because': '; '.join(verdict.reasons),
    }
    masks = given.masks if isinstance(given, Scene) else None
    overlaps = np.array([mask_iou(*pair) for pair in silhouettes.values()])
    return Judged(case, result, seen.to(torch.float32), masks, verdict, row, overlaps)


def by(registrant: Any, numbers: np.ndarray | None = None) -> Callable:
    """Wrap a registrant as verdicts want it; `numbers` are those of the frames in the recording."""
    return lambda inputs, rows: registrant(inputs, frames=rows if numbers is None else numbers[rows.numpy()])


def _of_labels(labels: Keypoints2d) -> list[BaseInput]:
    return [MultiviewKeypoint2dMSEInput(labels)]


def _of_images(scene: Scene) -> list[BaseInput]:
    if bool(scene.keypoints.visible.any()):
        return [
            MultiviewKeypoint2dMSEInput(scene.keypoints),
            ImageFrameInput(scene.cameras, len(scene.masks)),
        ]
    return [scene.mask_input('mask_distance'), scene.mask_input('silhouette')]


def _silhouettes(body: SMIL, result: FitResult, scene: Scene) -> Silhouettes:
    if bool(scene.keypoints.visible.any()):
        return {}
    with torch.no_grad():
        covered = masks_of(SMIL(body.data).double(), result.params.map(torch.Tensor.double), scene.cameras)
    return {i: (a[0].numpy(), b[0].numpy()) for i, (a, b) in enumerate(zip(covered, scene.masks))}


def _of_views(
    result: FitResult,
    scene: Scene,
    inputs: list[BaseInput],
    fit: Callable,
    limits: AmbiguityThresholds | None,
    silhouettes: Silhouettes,
) -> SessionNumbers:
    body: Any = result.body
    some = bool(scene.keypoints.visible.any())
    doubt = None
    if limits is not None:
        doubt = one_view_ambiguity(result, body.data, scene.cameras, scene.keypoints, limits)
    asked = inputs if some else []
    return image_numbers(body, result, scene.keypoints, asked, fit if some else None, silhouettes, doubt)


def draw(found: Judged, path: Path) -> None:
    """Write the middle frame: the body in its cameras beside the labels, and from three free viewpoints."""
    row = found.result.params.batch_size // 2
    params = found.result.params[row]
    body = found.result.body
    with torch.no_grad():
        output = body(params, ('vertices', *found.seen.names))
    vertices, points = output.vertices[0].cpu(), output.select(found.seen.names).cpu()
    cameras = found.seen.rig if found.seen.rig.K.ndim == 3 else _one(found.seen.rig, row)
    pixels, _, valid = cameras.project(points.to(cameras.K))
    drawn = torch.where(valid.unsqueeze(-1), pixels, torch.nan)[0].double().numpy()
    visible = found.seen.confidence[row].unsqueeze(-1) > 0
    annotated = torch.where(visible, found.seen.xy[row], torch.nan).double().numpy()
    if found.masks is None:
        views = _windows(cameras, found.result, row)
        shown = [Panel(n, v, a, body=ShownBody(vertices, d)) for n, v, a, d in zip(
            cameras.names, views, annotated, drawn)]  # fmt: skip
    else:
        blank = np.full((SIDE, SIDE, 3), GREY, np.uint8)
        view = enlarge(blank, cameras, WINDOW_PX)
        shown = [
            Panel('mask' if not visible.any() else 'labels', view, annotated[0], found.masks[row, 0].numpy()),
            Panel('fit', view, annotated[0], body=ShownBody(vertices, drawn[0])),
        ]
    painter = OverlayPainter(body.faces)
    free = free_views(body, params, label=found.verdict.word)
    seen = painter.draw(shown, columns=min(len(shown), 4))
    # One below the other, both as wide as the drawing with the cameras.
    high = round(free.shape[0] * seen.shape[1] / free.shape[1])
    write_image(path, np.concatenate((cv2.resize(free, (seen.shape[1], high)), seen)))


def _one(cameras: Cameras, row: int) -> Cameras:
    return cameras[torch.tensor([row])].map(lambda x: x[0])


def _windows(cameras: Cameras, result: FitResult, row: int) -> list[View]:
    plain = cameras.map(lambda x: x)
    affine = follow(plain, result.joints().cpu(), WINDOW_PX)[row]
    canvas = np.full((WINDOW_PX, WINDOW_PX, 3), GREY, np.uint8)
    return [View(canvas, cameras.select([name]), affine[c]) for c, name in enumerate(cameras.names)]
