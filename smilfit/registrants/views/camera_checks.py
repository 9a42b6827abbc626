"""What a fit tells of its cameras before it begins: which contradict each other, and which may move."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from smilfit.handlers import BaseInput, MultiviewKeypoint2dMSEInput
from smilfit.io.camera_warning import judge_cameras
from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import first_cameras, known_cameras

# Single frames, as of live cameras, are fitted in less time than it takes to judge cameras, and prove little.
FEWEST = 4


def tell_of_cameras(
    inputs: Mapping[str, BaseInput], stages: Sequence[Stage], logger: logging.Logger
) -> dict[str, Any]:
    """Report in the log of cameras that contradict each other, and of stages that move all cameras.

    Judged is each Input of keypoints that has several cameras, the same in all of `FEWEST` frames or more, where its
    recording was not judged before.

    Args:
        inputs: as they were given: what they were judged to be stays with them.
        stages: all stages.
        logger: hears it.

    Returns:
        For the fit's report, by handler key: each camera's median distance (px) and those that contradict.

    Raises:
        KeyError: a stage names a camera that there is not.
    """
    cameras = first_cameras(inputs)
    result: dict[str, Any] = {}
    for stage in stages:
        if 'cameras' not in stage.fit or cameras is None:
            continue
        if not known_cameras(stage, cameras.names) and len(cameras) > 1:
            logger.warning(
                'SMPLify: %s moves all cameras (%s): a wrong one turns the good ones, and the world with them. '
                "Name those that may move, such as fit_cameras=('%s',).",
                *(stage.name or 'a stage', ', '.join(cameras.names), cameras.names[-1]),
            )
    for key, given in inputs.items():
        if not isinstance(given, MultiviewKeypoint2dMSEInput):
            continue
        if given.keypoints.batch_size < FEWEST:
            continue
        report = judge_cameras(given.keypoints)
        if report is None:
            continue
        result[key] = {'median_px': report.median_px, 'contradicting': list(report.contradicting)}
        if not report.ok:
            logger.warning(
                'SMPLify: cameras must agree with each other; %s %s', report.message(), report.advice()
            )
    return {'camera_consistency': result} if result else {}
