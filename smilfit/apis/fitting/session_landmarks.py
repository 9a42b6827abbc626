"""Landmarks on their way through a fit: from the dataset to the body, and from the result to `landmarks.json`."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from smilfit.body_models import SMIL
from smilfit.body_models.files.landmark_file import FittedLandmarks, expect_fitted, read_landmark_file
from smilfit.datasets import DatasetFile
from smilfit.registrants import Stage
from smilfit.structures import FitResult

logger = logging.getLogger('smilfit')

LANDMARKS = 'landmarks.json'
PARAMETER = 'landmark_offsets'


def body_with_landmarks(body: SMIL, dataset: DatasetFile, earlier: str | Path | None = None) -> SMIL:
    """Return a body with the landmarks of a dataset, as an earlier session fitted them if its file is given.

    Raises:
        ValueError: the file is of another model or another lookup; or the dataset has no landmarks.
        KeyError: no landmark in common.
    """
    landmarks = dict(dataset.landmarks)
    if earlier is not None:
        known = {**body.data.landmarks, **landmarks}
        if not known:
            raise ValueError(
                f'--landmarks: the dataset must have landmarks; {dataset.path} has none. Describe them in its joint '
                'lookup, and preprocess again.'
            )
        expected = expect_fitted(known, read_landmark_file(earlier), body.data, earlier)
        left = sorted(set(known) - set(expected))
        if left:
            logger.warning(
                '%s: has nothing of %s; they are expected as the lookup says.', earlier, ', '.join(left)
            )
        landmarks |= expected
    return body.with_landmarks(landmarks) if landmarks else body


def warn_of_unfitted(body: SMIL, stages: Iterable[Stage]) -> None:
    """Warn where no stage finds the offsets that are not known."""
    unknown = body.data.unknown_landmarks
    if unknown and not any(PARAMETER in stage.fit for stage in stages):
        logger.warning(
            'fit: no stage finds the offsets of %s (fit_%s); they are taken as the lookup expects them.',
            ', '.join(unknown),
            PARAMETER,
        )


def fitted_landmarks(body: SMIL, result: FitResult, session: str) -> FittedLandmarks | None:
    """Read where a fit found the landmarks of its session; None of a body without unknown ones."""
    data = body.data
    if not data.unknown_landmarks:
        return None
    fitted = result.fitted.cpu()
    offsets = result.params.as_dict().get(PARAMETER)
    landmarks = dict(data.landmarks)
    if offsets is not None and fitted.any():
        # One for the session: the frames agree where shape is shared, and are averaged where it is not.
        moved = offsets.detach().cpu().double()[fitted].mean(0)
        sds = _posterior_sd(result, len(data.unknown_landmarks))
        for k, name in enumerate(data.unknown_landmarks):
            mark = data.landmarks[name]
            x, y, z = (torch.tensor(mark.offset, dtype=torch.float64) + moved[k]).tolist()
            landmarks[name] = replace(
                mark, offset=(x, y, z), sd=mark.sd if sds is None else min(sds[k], mark.sd)
            )
    return FittedLandmarks(
        data.name,
        data.hash_without_landmarks(),
        session,
        landmarks,
        {n: data.landmarks[n] for n in landmarks},
    )


def _posterior_sd(result: FitResult, count: int) -> list[float] | None:
    """Return the standard deviation a direction of every offset; None where the fit has none."""
    covariance = result.covariance
    columns = [f'{PARAMETER}[{i}]' for i in range(3 * count)]
    if covariance is None or not set(columns) <= set(covariance.columns):
        return None
    places = [covariance.columns.index(column) for column in columns]
    sd = covariance.parameter_sd()[:, places].detach().cpu().double().reshape(-1, count, 3)
    known = sd[sd.isfinite().all(-1).all(-1)]
    return known.square().mean(-1).sqrt().median(0).values.tolist() if len(known) else None
