"""The verdict on a session's fit: measured, judged, and kept as a file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smilfit.apis.fitting.image_outputs import ImageOutputs
from smilfit.apis.progress import steps
from smilfit.evaluation.verdict import (
    PictureNumbers,
    SessionNumbers,
    Threshold,
    Verdict,
    judge,
    judged_by_failures,
    n_steps,
    picture_numbers,
    point_numbers,
    session_numbers,
    stiffened,
    with_covariance,
    with_failed_frames,
)
from smilfit.evaluation.verdict.evidence import extents_px
from smilfit.evaluation.verdict.points import N_STEPS as N_POINT_STEPS
from smilfit.files import read_json, reading, write_text
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.registrants import OneViewDoubt, SMPLify, one_view_doubt
from smilfit.registrants.swaps import input_as_fitted
from smilfit.structures import FitResult, Keypoints2d

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_session import SessionFits

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
    lost = None if bool(result.fitted.any()) else judged_by_failures(result, thresholds)
    if lost is not None:
        return lost, []
    frames = fits.dataset.frame_indices(session)
    given = (i.resolve(fits.body.data).to(fits.body.v_template.dtype) for i in fits.inputs(session))
    inputs = [input_as_fitted(i, result.report, frames) for i in given]
    images = fits.dataset.has_own_cameras(session)
    # How sure a fit is tells something of cameras that are left out.
    cfg = with_covariance(fits.cfg) if fits.dataset.has_views(session) and not images else fits.cfg
    registrant = fits.probe(cfg)
    extent_px = None
    if fits.dataset.has_views(session) and not images:
        extent_px = float(extents_px(fits.dataset.keypoints2d(session))[0].nanmedian())
    stiff = fits.probe(stiffened(fits.cfg, fits.registrant.handlers, extent_px))
    # Rendering masks takes most of the time of images, and whether a map of keypoints is right shows in keypoints.
    asked = [i for i in inputs if not images or _needed(i, registrant)]

    def fit_by(registrant: SMPLify) -> Callable[[Sequence[BaseInput], torch.Tensor], FitResult]:
        return lambda changed, rows: registrant(changed, frames=frames[rows.numpy()])

    if not fits.dataset.has_views(session):
        points = fits.dataset.keypoints3d(session)
        with steps(f'{session}: judging', N_POINT_STEPS, fits.options.progress) as step:
            of_points = point_numbers(
                fits.body, result, points, asked, fit_by(registrant), fit_by(stiff), _told(step)
            )
        of_points = with_failed_frames(of_points, result)
        return judge(of_points.values, thresholds, of_points.frames, of_points.notes), []
    seen = fits.annotated(session, result)
    total = _PICTURE_STEPS if images else n_steps(len(seen.rig))
    with steps(f'{session}: judging', total, fits.options.progress) as step:
        if images:
            numbers = _pictures(fits, session, result, asked, fit_by(registrant), _told(step))
            numbers = with_failed_frames(numbers, result)
            return judge(numbers.values, thresholds, numbers.frames, numbers.notes), []
        doubt = _doubt(fits, result, seen)
        matches: SessionNumbers = session_numbers(
            fits.body, result, seen, asked, fit_by(registrant), fit_by(stiff), doubt, _told(step)
        )
    matches = with_failed_frames(matches, result)
    verdict = judge(matches.values, thresholds, matches.frames, matches.notes, matches.keypoints)
    return verdict, [asdict(row) for row in matches.cameras]


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
    fit: Callable[[Sequence[BaseInput], torch.Tensor], FitResult],
    step: Callable[[str], None],
) -> PictureNumbers:
    drawn = ImageOutputs(fits.body, fits.dataset, session, result, fits.options.window_px)
    covered = {row: (body, mask) for row, body, mask in drawn.silhouettes()}
    some = any(isinstance(i, KeypointInput) for i in inputs)
    seen = replace(drawn.seen, cameras=drawn.fitted_cameras)
    doubt = _doubt(fits, result, seen)
    return picture_numbers(fits.body, result, seen, inputs, fit if some else None, covered, doubt, step)


def _doubt(fits: 'SessionFits', result: FitResult, seen: Keypoints2d) -> OneViewDoubt | None:
    """Compare the starts of each frame, where its config says how; of several cameras nothing is in doubt."""
    thresholds = getattr(fits.registrant, 'doubt', None)
    tried = result.start_losses
    if thresholds is None or tried is None or tried.shape[1] < 2 or len(seen.rig) > 1:
        return None
    return one_view_doubt(result, fits.body.data, seen.rig, seen, thresholds)
