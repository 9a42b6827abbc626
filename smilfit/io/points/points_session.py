"""A recording of which there are points in space, and no images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.files import folder_name
from smilfit.io.camera_warning import warn_of_blind_cameras, warn_of_cameras
from smilfit.io.lookup import names_by_lookup
from smilfit.io.points.recorded import RecordedPoints, RecordedViews
from smilfit.io.sequence_names import sequence_name
from smilfit.structures import CameraReport, Cameras, Keypoints2d, Keypoints3d


class PointSession:
    """One animal's points in space, and what calibrated cameras saw of them where the file says it.

    Args:
        points: what a file holds.
        animal: number of the animal among the file's.
        joint_lookup: csv (columns `model,data`) that renames keypoints to a body model's; what it does not map is
            left out.
        unit: world unit where the file states none.
        fps: frames a second where the file states none.
        cameras: of the recording, where the file has none.
        judge: report in the log cameras that contradict each other by what they saw.

    Raises:
        ValueError: a unit that contradicts the file's.
        KeyError: a lookup of other names.
    """

    def __init__(
        self,
        points: RecordedPoints,
        animal: int = 0,
        joint_lookup: str | Path | None = None,
        unit: str | None = None,
        fps: float | None = None,
        cameras: Cameras | None = None,
        judge: bool = True,
    ) -> None:
        if points.unit and unit and points.unit != unit:
            raise ValueError(
                f'{points.path}: the unit must be one; the file states {points.unit}, --unit {unit}. Leave it away, '
                'or convert the points.'
            )
        self.path, self._points = points.path, points
        own = folder_name(points.path.stem)
        who = points.animals[animal]
        self.name = sequence_name(own, who) if who else own
        self.animal, self.unit = who, points.unit or unit
        self.fps = points.fps or fps
        self.frame_numbers = points.frames
        self._lookup = names_by_lookup(joint_lookup, points.names or ())
        self._nodes = [list(points.names or ()).index(node) for node in self._lookup.values()]
        self._xyz, self._confidence = points.xyz[:, animal], points.confidence[:, animal]
        self._views: RecordedViews | None = points.views
        result = cameras if points.views is None else points.views.cameras
        self.cameras = None if result is None else Cameras(**{**vars(result), 'unit': self.unit})
        valid = self._confidence[:, self._nodes] > 0
        self.report: dict[str, Any] = {
            'file': points.path.name,
            'points': int(valid.sum()),
            'points_missing': int((~valid).sum()),
            'unmapped_labels': sorted(set(points.names or ()) - set(self._lookup.values())),
        }
        self._camera_report: CameraReport | None = None
        if judge:
            self._judge_cameras()

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints: the model's with a lookup, else the file's."""
        return tuple(self._lookup)

    @property
    def rig(self) -> Cameras:
        """The cameras, a rig without any where none are known."""
        return Cameras.none(self.unit) if self.cameras is None else self.cameras

    @property
    def n_frames(self) -> int:
        """How many frames the file has."""
        return len(self.frame_numbers)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d:
        """Return the points of all frames."""
        keypoints = Keypoints3d(
            xyz=torch.from_numpy(self._xyz[:, self._nodes]),
            confidence=torch.from_numpy(self._confidence[:, self._nodes]),
            names=self.keypoint_names,
            unit=self.unit,
        )
        return keypoints if names is None else keypoints.select(names)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d | None:
        """Return what the cameras saw, px of the recorded images; None where the file does not say."""
        if self._views is None or self.cameras is None:
            return None
        xy = self._views.xy[:, :, self._nodes]
        keypoints = Keypoints2d(
            xy=torch.from_numpy(xy),
            confidence=torch.from_numpy(np.isfinite(xy).all(-1).astype(np.float64)),
            names=self.keypoint_names,
            cameras=self.cameras,
        ).judged(self._camera_report)
        return keypoints if names is None else keypoints.select(names)

    def frames(self, indices: Sequence[int] | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Return the frames' numbers; there are no images."""
        return ((i, {}) for i in (range(self.n_frames) if indices is None else indices))

    def _judge_cameras(self) -> None:
        keypoints = self.keypoints2d()
        if keypoints is not None:
            self._camera_report = warn_of_cameras(str(self.path), keypoints)
        elif self.cameras is not None:
            warn_of_blind_cameras(str(self.path), self.cameras, self.keypoints3d())
