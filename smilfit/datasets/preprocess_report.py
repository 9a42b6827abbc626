"""Say what preprocessing kept and what it left out, each with the reason."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smilfit.datasets.frame_plan import SessionPlan
from smilfit.datasets.known_params import KnownParams
from smilfit.structures import SkippedAnnotation


def make_report(
    plans: Sequence[SessionPlan],
    names: Sequence[str],
    camera_names: Sequence[str],
    known: Sequence[KnownParams | None],
    left_out: Sequence[SkippedAnnotation] = (),
    faults: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Count by session and in all.

    Args:
        plans: one a session, in the order of the file.
        names: keypoints of the file.
        camera_names: cameras of the file.
        known: parameters that the sessions know, one a plan.
        left_out: annotations that are in no plan.
        faults: sample number -> why its image was left out while it was encoded.

    Returns:
        `{'sessions': {name: counts}, 'totals': counts, 'cameras', 'keypoints'}`; where there are images with
        cameras of their own, `left_out` lists each that is not in the file with file, entry and reason.
    """
    broken = _broken(plans, faults or {})
    by_session: dict[str, Any] = {}
    totals: dict[str, Any] = {}
    for plan, params, lost in zip(plans, known, broken):
        counts = dict(plan.counts)
        counts['frames_stored'] -= len(lost)
        if plan.images is not None:
            counts['views_stored'] -= len(lost)
            counts['frames_that_do_not_decode'] = len(lost)
            counts['params_stored'] = 0 if params is None else int(params.known[plan.frames].sum())
            counts['params_of_another_body'] = 0 if params is None else params.n_misfits
        own = getattr(plan.session, 'report', None) or {}
        counts |= _damaged_views(plan)
        counts['views_stored'] -= counts.get('views_that_do_not_decode', 0)
        for key, value in counts.items():
            if isinstance(value, int):
                totals[key] = totals.get(key, 0) + value
        annotated = set(plan.session.keypoint_names)
        by_session[plan.session.name] = counts | {
            'names_not_in_model': sorted(annotated - set(names)),
            'names_not_annotated': sorted(set(names) - set(plan.names)),
            **({'reader': own} if own else {}),
        }
    report: dict[str, Any] = {
        'sessions': by_session,
        'totals': totals,
        'cameras': list(camera_names),
        'keypoints': list(names),
    }
    if left_out or any(broken) or any(plan.images is not None for plan in plans):
        every = [*left_out, *(entry for lost in broken for entry in lost)]
        report['left_out'] = [{'where': entry.where, 'reason': entry.reason} for entry in every]
    return report


def _damaged_views(plan: SessionPlan) -> dict[str, int]:
    """Count views whose image did not decode, and those that the decoder made up in part; nothing of whole videos."""
    damage = getattr(plan.session, 'damage', {})
    counts = {'views_that_do_not_decode': 0, 'views_mended_by_the_decoder': 0}
    for c, name in enumerate(plan.cameras.names if damage else ()):
        if name in damage:
            frames = plan.frames[plan.view_mask[:, c]]
            counts['views_that_do_not_decode'] += int(np.isin(frames, damage[name].lost).sum())
            counts['views_mended_by_the_decoder'] += int(np.isin(frames, damage[name].mended).sum())
    return counts if damage else {}


def _broken(plans: Sequence[SessionPlan], faults: Mapping[int, str]) -> list[list[SkippedAnnotation]]:
    """Give each plan's images that did not decode; samples are numbered through all plans."""
    broken, first = [], 0
    for plan in plans:
        here = [n for n in sorted(faults) if first <= n < first + len(plan.frames)]
        numbers = [int(plan.frames[n - first]) for n in here]
        places = [
            f'{plan.session.name}, frame {k}' if plan.images is None else plan.session.images[k].where
            for k in numbers
        ]
        broken.append([SkippedAnnotation(place, faults[n]) for place, n in zip(places, here)])
        first += len(plan.frames)
    return broken
