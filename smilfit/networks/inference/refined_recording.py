"""Predictions refined by a fit to the keypoints that the network saw, and the verdict on that fit."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.fitting.fit_config import load_fit_config, without_masks
from smilfit.apis.progress import ProgressCallback, steps
from smilfit.evaluation.verdict import (
    NOT_BELIEVABLE,
    NOT_FITTED,
    Verdict,
    judge,
    judged_by_failures,
    load_thresholds,
    n_steps,
    session_numbers,
    stiffened,
    with_failed_frames,
)
from smilfit.handlers import BaseHandler, BaseInput
from smilfit.io.camera_warning import judge_cameras
from smilfit.networks.inference.prediction_files import PredictedRecording
from smilfit.networks.inference.predictions import with_confidences
from smilfit.networks.inference.smoothed_predictions import keypoints_of_params, projected
from smilfit.registrants import SMPLify
from smilfit.registrants.input_matching import as_inputs
from smilfit.registry import build_registrant
from smilfit.structures import Cameras, FitResult, Keypoints2d

logger = logging.getLogger('smilfit')

# What the network saw in the images, where it says so: not what its body projects to.
SEEN, SEEN_CONFIDENCE = 'seen2d', 'seen2d_confidence'
NOT_JUDGED = (
    "not judged: this network gives no keypoints of its own, and a fit to its body's projections agrees with them "
    'whatever the images show'
)


@dataclass(frozen=True)
class Refinement:
    """A refined recording, and what its fit was judged to be; None, with the reason, where nothing was judged."""

    made: PredictedRecording
    verdict: Verdict | None
    cameras: list[dict[str, object]]


class Refiner:
    """Fits the body to predicted keypoints, from the predicted parameters.

    Args:
        made: a recording and its predictions.
        config: a registrant's config that takes 2D keypoints.
        progress: called with a `Progress`.

    Raises:
        ValueError: cameras that differ from frame to frame, or no frame with keypoints.
    """

    def __init__(self, made: PredictedRecording, config: str | Path, progress: ProgressCallback) -> None:
        if made.recording.cameras is None:
            raise ValueError(
                f'--refine: a recording must have one set of cameras; those of {made.recording.name} differ '
                'from frame to frame. Fit its images by smilfit fit.'
            )
        self.made, self.progress, self.body = made, progress, made.trained.body
        self.rig = made.recording.cameras
        self.cfg = without_masks(load_fit_config(config, {})) | {'body_model': self.body}
        self.rows = torch.from_numpy(np.flatnonzero(made.predictions.valid))
        self.sees = SEEN in made.predictions.further
        self.observations = observed(made, self.rig, self.rows)
        # Once for the fit and for all that the verdict fits.
        judge_cameras(self.observations)

    def fit(self) -> FitResult:
        """Fit all valid frames."""
        registrant = self._registrant(verbose=False)
        start = self.made.predictions.body_params[self.rows].to(self.body.v_template)
        logger.info(
            '%s: refining %d frames by %s', self.made.recording.name, len(self.rows), self.cfg['type']
        )
        return registrant(self._inputs(registrant), init_params=start, frames=self._frames())

    def judged(self, result: FitResult) -> tuple[Verdict, list[dict[str, object]]] | None:
        """Judge a fit by what it did not see; None where the keypoints are the body's own."""
        if not self.sees:
            logger.warning('%s: %s.', self.made.recording.name, NOT_JUDGED)
            return None
        probe = self._registrant(verbose=False)
        stiff = self._registrant(verbose=False, stiff=probe.handlers)
        frames, inputs = self._frames(), self._inputs(probe)

        def fit_by(registrant: SMPLify) -> Callable[[Sequence[BaseInput], torch.Tensor], FitResult]:
            return lambda changed, rows: registrant(changed, frames=frames[rows.numpy()])

        task = f'{self.made.recording.name}: judging'
        with steps(task, n_steps(len(self.observations.rig)), self.progress) as step:
            matches = session_numbers(
                self.body,
                result,
                self.observations,
                inputs,
                fit_by(probe),
                fit_by(stiff),
                None,
                lambda what: step(),
            )
        matches = with_failed_frames(matches, result)
        verdict = judge(
            matches.values, load_thresholds(None), matches.frames, matches.notes, matches.keypoints
        )
        return self.of_all_frames(verdict), [asdict(row) for row in matches.cameras]

    def of_all_frames(self, verdict: Verdict) -> Verdict:
        """Put the words of the fitted frames at their places among all that were to be predicted."""
        count = len(self.made.predictions)
        words, reasons = [NOT_FITTED] * count, [''] * count
        keypoints: list[tuple[str, ...]] = [()] * (count if verdict.frame_keypoints else 0)
        for row, word, reason in zip(self.rows.tolist(), verdict.frame_words, verdict.frame_reasons):
            words[row], reasons[row] = word, reason
        for row, names in zip(self.rows.tolist(), verdict.frame_keypoints):
            keypoints[row] = names
        return replace(
            verdict,
            frame_words=tuple(words),
            frame_reasons=tuple(reasons),
            frame_keypoints=tuple(keypoints),
        )

    def without_fit(self, reason: str) -> Refinement:
        """Let the predictions stay, which are not believable."""
        return Refinement(self.made, self.of_all_frames(Verdict(NOT_BELIEVABLE, (reason,), ())), [])

    def applied(self, result: FitResult) -> PredictedRecording:
        """Put the fitted parameters, and the points that follow from them, in the predictions' place."""
        made, before = self.made, self.made.predictions
        count, rows = len(before), self.rows.numpy()
        whole = result.expanded(torch.from_numpy(before.valid)).params.to(torch.float32)
        params = {name: value.detach().cpu().numpy() for name, value in whole.as_dict().items()}
        matches = np.zeros(count, np.bool_)
        matches[rows] = result.fitted.cpu().numpy()
        failed = result.report.get('frames_failed', {'rows': (), 'causes': ()})
        why = {int(rows[row]): cause for row, cause in zip(failed['rows'], failed['causes'])}
        reasons = tuple(
            reason or ('' if valid else f'not refined: {why.get(row, "no keypoint")}')
            for row, (reason, valid) in enumerate(zip(before.reasons, matches))
        )
        K, R, t = (np.repeat(x.numpy()[None], count, 0) for x in (self.rig.K, self.rig.R, self.rig.t))
        after = replace(
            before, params=params, valid=matches, reasons=reasons, camera_K=K, camera_R=R, camera_t=t
        ).filled()
        points = keypoints_of_params(self.body, after.body_params, made.keypoint_names)
        pixels = projected(after, points, made.lenses)
        after = replace(after, keypoints3d=points, keypoints2d=pixels)
        after = with_confidences(after, made.calibration, made.recording.cameras)
        made = made.changed(after, refined_by=self.cfg['type'], refinement=result.report)
        loss = _spread(result.per_frame_loss, rows, count)
        return replace(made, fit=replace(made.fit, history=result.history, per_frame_loss=loss))

    def _registrant(self, verbose: bool, stiff: Mapping[str, BaseHandler] | None = None) -> SMPLify:
        cfg = self.cfg if stiff is None else stiffened(self.cfg, stiff)
        silent = logging.Logger('smilfit.refinement', logging.CRITICAL)
        return build_registrant({**cfg, 'verbose': verbose, 'logger': silent})

    def _inputs(self, registrant: SMPLify) -> list[BaseInput]:
        return [i.resolve(self.body.data) for i in as_inputs([self.observations], registrant.handlers)]

    def _frames(self) -> np.ndarray:
        return self.made.predictions.frames[self.rows.numpy()]


def observed(made: PredictedRecording, cameras: Cameras, rows: torch.Tensor) -> Keypoints2d:
    """Return what frames are fitted to, px of undistorted images: what the network saw, else its body's keypoints."""
    predictions = made.predictions
    if SEEN in predictions.further:
        xy, confidence = predictions.further[SEEN], predictions.further[SEEN_CONFIDENCE]
    else:
        xy, confidence = predictions.keypoints2d, predictions.confidence2d
    ideal, inside = cameras.to(torch.float64).undistort(torch.from_numpy(np.asarray(xy, np.float64))[rows])
    kept = torch.from_numpy(np.asarray(confidence, np.float64))[rows] * inside
    shown = torch.from_numpy(predictions.view_mask)[rows].unsqueeze(-1)
    like = made.trained.body.v_template
    return Keypoints2d(
        xy=torch.where(inside.unsqueeze(-1), ideal, 0.0).to(like),
        confidence=(kept.clamp(0, 1) * shown).to(like),
        names=made.keypoint_names,
        cameras=cameras.ideal().to(like),
    )


def refined(made: PredictedRecording, config: str | Path, progress: ProgressCallback) -> Refinement:
    """Refine predictions and judge the fit; those of which no frame can be fitted stay, and are not believable."""
    refiner = Refiner(made, config, progress)
    if not bool(refiner.observations.visible.any()):
        predicted = len(refiner.rows)
        return refiner.without_fit(
            f'no keypoint was seen in any of the {predicted} frames that are predicted'
        )
    try:
        return _judged(refiner, refiner.fit())
    except FloatingPointError as error:
        return refiner.without_fit(f'no frame could be fitted: {error}')


def _judged(refiner: Refiner, result: FitResult) -> Refinement:
    made = refiner.made
    lost = judged_by_failures(result, load_thresholds(None))
    if lost is not None and not bool(result.fitted.any()):
        return Refinement(made, refiner.of_all_frames(lost), [])
    judged = refiner.judged(result)
    if judged is None and lost is not None:
        judged = refiner.of_all_frames(lost), []
    verdict, cameras = (None, []) if judged is None else judged
    return Refinement(refiner.applied(result), verdict, cameras)


def _spread(values: torch.Tensor, rows: np.ndarray, count: int) -> torch.Tensor:
    result = torch.zeros(count)
    result[torch.from_numpy(rows)] = values.detach().cpu().float()
    return result
