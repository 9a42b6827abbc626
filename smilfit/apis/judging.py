"""The verdict on a session's fit: measured, judged, and kept as a file."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smilfit.apis.image_outputs import ImageOutputs
from smilfit.apis.progress import steps
from smilfit.evaluation.verdict import (
    SessionNumbers,
    Threshold,
    Verdict,
    judge,
    n_steps,
    picture_numbers,
    session_numbers,
)
from smilfit.files import read_json, reading, write_text
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.registrants import SMPLify
from smilfit.structures import FitResult

if TYPE_CHECKING:
    from smilfit.apis.fit_session import SessionFits

VERDICT = 'verdict.json'
# Steps of judging images: measuring, and fitting with shuffled keypoints.
_PICTURE_STEPS = 2

CameraRow = dict[str, Any]


def judge_session(
    fits: 'SessionFits', session: str, result: FitResult, thresholds: dict[str, Threshold]
) -> tuple[Verdict, list[CameraRow]]:
    """Judge a session's fit by fits of few of its frames, its labels and its mesh.

    Returns:
        The verdict, and the table of a calibrated session's cameras.
    """
    inputs = [i.resolve(fits.body.data) for i in fits.inputs(session)]
    images = fits.dataset.has_own_cameras(session)
    registrant, frames = fits.probe(), fits.dataset.frame_indices(session)
    # Rendering masks takes most of the time of images, and whether a map of keypoints is right shows in keypoints.
    asked = [i for i in inputs if not images or _needed(i, registrant)]

    def fit(changed: list[BaseInput], rows: torch.Tensor) -> FitResult:
        return registrant(changed, frames=frames[rows.numpy()])

    total = _PICTURE_STEPS if images else n_steps(len(fits.seen(session, result).rig))
    with steps(f'{session}: judging', total, fits.options.progress) as step:
        if images:
            numbers = _pictures(fits, session, result, asked, fit, _told(step))
            return judge(numbers.values, thresholds, numbers.frames), []
        seen = fits.seen(session, result)
        found: SessionNumbers = session_numbers(fits.body, result, seen, asked, fit, _told(step))
    return judge(found.values, thresholds, found.frames), [asdict(row) for row in found.cameras]


def write_verdict(folder: Path, verdict: Verdict, cameras: list[CameraRow]) -> None:
    """Write `verdict.json`."""
    document = {**verdict.as_dict(), 'cameras': cameras}
    write_text(folder / VERDICT, json.dumps(_jsonable(document), indent=1))


def read_verdict(folder: Path) -> tuple[Verdict, list[CameraRow]]:
    """Read what `write_verdict` wrote."""
    document = read_json(folder / VERDICT, 'a verdict', dict)
    with reading(folder / VERDICT, 'a verdict'):
        numbers = {'value': float, 'threshold_doubtful': float, 'threshold_not_believable': float}
        for measure in document['measures']:
            measure |= {name: kind(measure[name]) for name, kind in numbers.items()}
        return Verdict.from_dict(document), document['cameras']


def _jsonable(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are written as words, which `float` reads."""
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_jsonable(v) for v in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _told(step: Callable[[], None]) -> Callable[[str], None]:
    return lambda what: step()


def _needed(given: BaseInput, registrant: SMPLify) -> bool:
    return isinstance(given, KeypointInput) or given.handler_key not in registrant.optional_handlers


def _pictures(
    fits: 'SessionFits',
    session: str,
    result: FitResult,
    inputs: list[BaseInput],
    fit: Callable[[list[BaseInput], torch.Tensor], FitResult],
    step: Callable[[str], None],
) -> Any:
    drawn = ImageOutputs(fits.body, fits.dataset, session, result, fits.options.window_px)
    covered = {row: (body, mask) for row, body, mask in drawn.silhouettes()}
    some = any(isinstance(i, KeypointInput) for i in inputs)
    seen = replace(drawn.seen, cameras=drawn.fitted_cameras)
    return picture_numbers(fits.body, result, seen, inputs, fit if some else None, covered, step=step)
