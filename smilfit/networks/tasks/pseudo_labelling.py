"""Pseudo-labels: what a trained model and a fit make of unlabelled frames, kept where the verdict is good."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smilfit.apis.progress import ProgressCallback, counted, ignore, steps
from smilfit.datasets.pseudo_labels import PseudoLabels
from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.evaluation.verdict import GOOD, NOT_FITTED, Threshold, load_thresholds
from smilfit.evaluation.verdict.frames import Refit, judge_frames
from smilfit.networks.regressors.modal_regressor import ModalRegressor, chosen_rows
from smilfit.networks.scene_frame import cameras_of
from smilfit.networks.tasks.labels_of_fits import plain_reason
from smilfit.networks.training_set import DataSamples, SampleBatch
from smilfit.structures import BodyParams, Keypoints2d

# What a prediction must say of the pixels that it rests on.
_SEEN = ('seen2d', 'seen_confidence')


@dataclass(frozen=True)
class PseudoLabelRun:
    """What came out: the file, how many frames have which word, and the commonest reasons of those left out."""

    path: Path
    n_kept: int
    words: Mapping[str, int]
    reasons: tuple[tuple[str, int], ...]


@runtime_checkable
class HasParams(Protocol):
    """What a refinement gives."""

    @property
    def params(self) -> BodyParams:
        """The fitted bodies."""


Refine = Callable[[BodyParams, Keypoints2d], HasParams]


def make_pseudo_labels(
    model: ModalRegressor,
    dataset: Dataset,
    out: str | Path,
    *,
    refine: Refine | None = None,
    thresholds: str | Path | Mapping[str, Threshold] | None = None,
    only_unlabelled: bool = True,
    left_out: bool = True,
    batch_size: int = 16,
    progress: ProgressCallback | None = None,
) -> PseudoLabelRun:
    """Predict and refine the frames of a dataset, judge each, and write the good ones' parameters.

    A frame is kept where the verdict's thresholds call it good: keypoints near what was seen, joints within limits,
    enough keypoints, not behind or at a senseless distance from cameras, and, where three views or more saw it, near
    what each view shows when fitted without it. `AddPseudoLabels` gives the file to training with a weight.

    Args:
        model: predicts dicts with `params`, `seen2d`, `seen_confidence` and `keypoint_names` of its own.
        dataset: gives samples as they are stored, such as a `MultiViewDataset` with `test_mode=True`.
        out: the .npz to write; it appears whole or not at all.
        refine: fits predictions to what was seen; the model's own `refine` if None. Where that is None too,
            predictions are judged as they are, and no view is left out.
        thresholds: of the verdict, or a file that changes some of the shipped ones.
        only_unlabelled: whether frames whose parameters are known are left alone.
        left_out: whether frames are fitted without each view in turn: as many fits more as there are views.
        batch_size: frames predicted and fitted together.
        progress: called after every batch.

    Raises:
        TypeError: the model does not say what it saw.
        ValueError: no frame is to be labelled.
    """
    table = thresholds if isinstance(thresholds, Mapping) else load_thresholds(thresholds)
    refine = getattr(model, 'refine', None) if refine is None else refine
    result = _GoodLabels()
    loader = DataLoader(dataset, batch_size)
    model.eval()
    with steps('pseudo-labels', len(loader), progress or ignore) as step:
        for batch in counted(loader, step):
            rows = (
                ~batch['data_samples']['has_params']
                if only_unlabelled
                else torch.ones(len(batch['data_samples']['index']), dtype=torch.bool)
            )
            if bool(rows.any()):
                result.add(*_label(model, chosen_rows(batch, rows), refine, table, left_out))
    if not result.words:
        raise ValueError(
            'make_pseudo_labels: the dataset must have frames without parameters; got none. Set '
            'only_unlabelled=False to label all of them.'
        )
    metainfo = getattr(dataset, 'metainfo', {})
    labels = result.labels(tuple(metainfo.get('session_names', ())), model, metainfo.get('unit'))
    return PseudoLabelRun(
        labels.save(out), len(labels), dict(result.words), tuple(result.reasons.most_common(3))
    )


class _GoodLabels:
    """Labels of the good frames so far."""

    def __init__(self) -> None:
        self.params: list[BodyParams] = []
        self.session: list[Tensor] = []
        self.frame: list[Tensor] = []
        self.words: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(
        self, truth: DataSamples, params: BodyParams, words: tuple[str, ...], reasons: tuple[str, ...]
    ) -> None:
        self.words.update(words)
        # Numbers in reasons differ from frame to frame; their words tell what is common.
        self.reasons.update(plain_reason(r) for w, r in zip(words, reasons) if w not in (GOOD, NOT_FITTED))
        good = torch.tensor([word == GOOD for word in words])
        self.params.append(params[good])
        self.session.append(truth['session'][good])
        self.frame.append(truth['frame'][good])

    def labels(self, sessions: tuple[str, ...], model: ModalRegressor, unit: str | None) -> PseudoLabels:
        params, names = BodyParams.cat(self.params), tuple(model.keypoint_names)
        values = {n: v.numpy() for n, v in params.as_dict().items() if n in PARAM_NAMES}
        session, frame = torch.cat(self.session).numpy(), torch.cat(self.frame).numpy()
        body, points = model.body_model, np.zeros((0, len(names), 3), np.float32)
        # Where nothing is good the file has no rows, which tells so.
        if len(frame):
            with torch.no_grad():
                points = body(params.to(body.v_template), names).select(names).cpu().numpy()
        own = (np.ones(len(frame)), sessions, body.data.hash_without_landmarks())
        return PseudoLabels(values, session, frame, *own, points, names, unit)


def _label(
    model: ModalRegressor,
    batch: SampleBatch,
    refine: Refine | None,
    thresholds: Mapping[str, Threshold],
    left_out: bool,
) -> tuple[DataSamples, BodyParams, tuple[str, ...], tuple[str, ...]]:
    """Predict, refine and judge a batch: its truth, parameters, words and reasons."""
    device = next(iter(model.parameters())).device
    inputs = {n: x.to(device) for n, x in batch['inputs'].items()}
    predicted = model(inputs, None, mode='predict')
    missing = [name for name in _SEEN if name not in predicted[0]]
    if missing:
        raise TypeError(
            f'make_pseudo_labels: predictions of {type(model).__name__} must say what was seen; {missing} are '
            'missing. Give a KeypointRegressor.'
        )
    params = BodyParams.of(
        {n: torch.stack([p['params'][n] for p in predicted]) for n in predicted[0]['params']}
    )
    xy, confidence = (torch.stack([p[name] for p in predicted]) for name in _SEEN)
    cameras = cameras_of({n: x.cpu() for n, x in inputs.items()})
    confidence = confidence.clamp(0, 1) * batch['inputs']['view_mask'].unsqueeze(-1)
    observations = Keypoints2d(xy, confidence, tuple(model.keypoint_names), cameras)
    refit: Refit | None = None
    if refine is not None:
        params = refine(params, observations).params.to('cpu')
        refit = (lambda start, part: refine(start, part).params.to('cpu')) if left_out else None
    verdict = judge_frames(model.body_model, params, observations, thresholds, refit)
    return batch['data_samples'], params, verdict.frame_words, verdict.frame_reasons
