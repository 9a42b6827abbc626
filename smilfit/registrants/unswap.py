"""Labels of left and right that a detector took for each other: told apart by views and by motion, before a fit."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.geometry.side_swaps import IdealViews, SidePairs, SwapCosts, find_swaps
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.registrants.swaps import (
    KeypointPairs,
    exchanged_input,
    pairs_of,
    recorded_swaps,
    swap_record,
)
from smilfit.registry import REGISTRANTS
from smilfit.structures import Keypoints2d, Keypoints3d


@REGISTRANTS.register_module()
class SideUnswapper:
    """Finds left and right keypoints that were taken for each other, and puts them back.

    It compares labels with one another alone (`find_swaps`), knows no body, and works before anything is fitted. What
    all views exchange at once over most of a clip it cannot see; `SMPLify(try_swaps=True)` asks the body.

    Args:
        limit: as of `SwapCosts`, like all that follow.
        motion_limit: bound on a label's step.
        exchanged: cost of a view and frame whose labels are exchanged.
        change: cost of beginning and of ending to exchange.
        least_noise_px: what labels miss by at least.
    """

    def __init__(
        self,
        limit: float = SwapCosts.limit,
        motion_limit: float = SwapCosts.motion_limit,
        exchanged: float = SwapCosts.exchanged,
        change: float = SwapCosts.change,
        least_noise_px: float = SwapCosts.least_noise_px,
    ) -> None:
        self.costs = SwapCosts(limit, motion_limit, exchanged, change, least_noise_px)

    def __call__(
        self, inputs: Mapping[str, BaseInput], data: BodyModelData, frames: Tensor
    ) -> tuple[dict[str, BaseInput], dict[str, Any]]:
        """Put labels back.

        Args:
            inputs: by handler key, their keypoints named by the model; those of no keypoints, and those whose cameras
                differ from frame to frame (images that are no recording), stay.
            data: the body model, which says what is left and right.
            frames: the frames' numbers.

        Returns:
            Inputs, copies where labels are exchanged; and by handler key what is, as `swap_record` says it.
        """
        result, report = dict(inputs), {}
        for key, given in inputs.items():
            if not isinstance(given, KeypointInput) or not _one_recording(given.keypoints):
                continue
            pairs = pairs_of(data, given.keypoints.names)
            if not len(pairs.left):
                continue
            mask = self.mask(given.keypoints, pairs, frames)
            record = swap_record(given.keypoints, pairs, mask, frames)
            if record:
                result[key], report[key] = exchanged_input(given, pairs, mask), record
        return result, report

    def mask(
        self, seen: Keypoints2d | Keypoints3d, pairs: KeypointPairs, frames: Tensor | None = None
    ) -> Tensor:
        """Return which pairs (B, [C,] P) are exchanged."""
        if isinstance(seen, Keypoints3d):
            points, valid, views = seen.xyz.unsqueeze(1), seen.visible.unsqueeze(1), None
        else:
            rig = seen.rig.to(torch.float64)
            points, inside = rig.undistort(seen.xy.double())
            valid, views = seen.visible & inside, IdealViews(rig.K, rig.R, rig.t)
        sides = SidePairs.of(points, valid, pairs.left, pairs.right, views, frames)
        result = find_swaps(sides, sides.groupings(pairs.limb), self.costs)
        return result[:, 0] if isinstance(seen, Keypoints3d) else result


def _one_recording(seen: Keypoints2d | Keypoints3d) -> bool:
    return isinstance(seen, Keypoints3d) or (seen.cameras is not None and seen.cameras.K.ndim == 3)


def labels_as_fitted(
    seen: Keypoints2d | Keypoints3d, report: Mapping[str, Any], frames: Sequence[int] | np.ndarray
) -> Keypoints2d | Keypoints3d:
    """Put labels back as a fit did, by its `FitResult.report`.

    Args:
        seen: labels of the recording that was fitted.
        report: of the fit.
        frames: the numbers of these frames.
    """
    planar = isinstance(seen, Keypoints2d)
    for record in report.get('unswapped_keypoints', {}).values():
        if any(('view' in entry) == planar for entry in record['pairs']):
            # Several handlers may see the same labels.
            result = recorded_swaps(seen, record, frames)
            return result.judged(seen.camera_report) if isinstance(seen, Keypoints2d) else result
    return seen


def input_as_fitted(
    given: BaseInput, report: Mapping[str, Any], frames: Sequence[int] | np.ndarray
) -> BaseInput:
    """Return an Input whose labels are put back as a fit did, by its `FitResult.report`."""
    if not isinstance(given, KeypointInput):
        return given
    changed = copy(given)
    changed.keypoints = labels_as_fitted(given.keypoints, report, frames)
    return changed


def swap_sentences(report: Mapping[str, Any]) -> list[str]:
    """Describe in words what was exchanged, from `FitResult.report`: one sentence a view."""
    result: dict[str, dict[str, Any]] = {}
    for record in report.get('unswapped_keypoints', {}).values():
        for entry in record['pairs']:
            view = entry.get('view', '')
            own = result.setdefault(view, {'count': 0, 'frames': set(), 'pairs': {}})
            own['count'] += len(entry['frames'])
            own['frames'] |= set(entry['frames'])
            name = ' and '.join(entry['keypoints'])
            own['pairs'][name] = own['pairs'].get(name, 0) + len(entry['frames'])
    return [
        f'{"camera " + view + ": " if view else ""}left and right were exchanged in {len(own["frames"])} frames '
        f'({own["count"]} pairs of labels: '
        + ', '.join(f'{name} in {count}' for name, count in own['pairs'].items())
        + ') and were put back'
        for view, own in result.items()
    ]
