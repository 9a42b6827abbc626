"""Frames that could not be fitted at all: they make a fit unbelievable, whatever the others reach."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from smilfit.evaluation.verdict.judge import FRAME_FAILED, FRAMES_FAILED, Found, Verdict, judge
from smilfit.evaluation.verdict.pictures import PictureNumbers
from smilfit.evaluation.verdict.session import SessionNumbers
from smilfit.evaluation.verdict.thresholds import Threshold
from smilfit.registrants.recovery import failure_sentence
from smilfit.structures import FitResult

Numbers = TypeVar('Numbers', SessionNumbers, PictureNumbers)


def with_failed_frames(numbers: Numbers, result: FitResult) -> Numbers:
    """Add how many frames of a fit have failed, and which; numbers of one without such stay as they are."""
    failed = result.report.get('frames_failed')
    if failed is None:
        return numbers
    count = len(result.converged)
    rows, causes = np.full(count, np.nan), [''] * count
    for row, cause in zip(failed['rows'], failed['causes']):
        rows[row], causes[row] = 1.0, cause
    told = Found(float(failed['count']), failure_sentence(failed))
    return replace(
        numbers,
        values={**numbers.values, FRAMES_FAILED: told},
        frames={**numbers.frames, FRAME_FAILED: rows},
        notes={**numbers.notes, FRAME_FAILED: causes},
    )


def judged_by_failures(result: FitResult, thresholds: Mapping[str, Threshold]) -> Verdict | None:
    """Judge a fit by its failed frames alone, as where no other has a fit; None where none has failed."""
    if 'frames_failed' not in result.report:
        return None
    found = with_failed_frames(SessionNumbers({}, {}, ()), result)
    return judge(found.values, thresholds, found.frames, found.notes)
