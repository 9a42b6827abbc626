"""Single images of a SMILify file as sessions of images whose cameras are unknown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from smilfit.datasets.frame_plan import PreprocessOptions, SessionPlan
from smilfit.datasets.image_session import CAMERA, FOCAL_PER_SIDE
from smilfit.datasets.label_scores import camera_counts, counting_scores, thresholds_of
from smilfit.datasets.smilify.images import ImageReader
from smilfit.datasets.smilify.single_schema import SingleViewTables
from smilfit.datasets.store_layout import ImageTable
from smilfit.datasets.stored_views import StoredSession
from smilfit.structures import Cameras, Keypoints2d, SkippedAnnotation


class SmilifyImages(StoredSession):
    """Images of one session and camera: a camera of each image's own, guessed, and no telling what was cut off.

    Args:
        name: of the session here.
        tables: the file's.
        rows: which of its images.
        images: gives their bytes.
        lookup: model keypoint -> number of the file's joint.
        focal_px: focal length in stored px; guessed if None.
    """

    unit, fps = None, None

    def __init__(
        self,
        name: str,
        tables: SingleViewTables,
        rows: np.ndarray,
        images: ImageReader,
        lookup: dict[str, int],
        focal_px: float | None = None,
    ) -> None:
        rows = rows[np.argsort(tables.frames[rows], kind='stable')]
        n, side = len(rows), tables.side
        self.name, self.side, self._rows, self._images = name, side, rows, images
        seen = tables.visibility[rows] > 0
        columns = {model: j for model, j in lookup.items() if seen[:, j].any()}
        self.keypoint_names = tuple(columns)
        order = list(columns.values())
        xy, confidence = tables.keypoints[rows][:, order], tables.visibility[rows][:, order]
        corner = (xy == 0).all(-1) & (confidence > 0)
        self._xy, self._confidence = xy[:, None], np.where(corner, 0.0, confidence)[:, None]
        self.report: dict[str, Any] = {
            'visible_labels_at_0_0_taken_as_missing': int(corner.sum()),
            'source_px': {CAMERA: 'unknown'},
        }
        self.scales_unknown = (CAMERA,)
        self.affine, self.has_view = np.tile(np.eye(2, 3), (n, 1, 1, 1)), np.ones((n, 1), np.bool_)
        self.frame_numbers = tables.frames[rows]
        self.confidence_thresholds = {CAMERA: 0.5}
        self._focal_known = focal_px is not None
        focal = FOCAL_PER_SIDE * side if focal_px is None else focal_px
        middle = (side - 1) / 2
        K = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]], dtype=torch.float64)
        self.cameras = Cameras(
            (CAMERA,),
            K.expand(n, 1, 3, 3).contiguous(),
            torch.eye(3, dtype=torch.float64).expand(n, 1, 3, 3).contiguous(),
            torch.zeros(n, 1, 3, dtype=torch.float64),
            torch.full((n, 1, 2), float(side), dtype=torch.float64),
        )
        shown = [tables.labels[i] or f'{tables.path.name}, image {i}' for i in rows]
        self._labels = tuple(f'{label}, frame {frame}' for label, frame in zip(shown, self.frame_numbers))
        self._entries = tuple(f'{tables.path.name}, image {i}' for i in rows)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Give labels, stored px."""
        seen = Keypoints2d(
            torch.from_numpy(self._xy), torch.from_numpy(self._confidence), self.keypoint_names, self.cameras
        )
        return seen if names is None else seen.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> None:
        """Say that there are none."""

    def encoded(self, sample: int, camera: int) -> UInt8[np.ndarray, ' n']:
        """Give the bytes of an image, looked through."""
        return self._images.read(int(self._rows[sample]), 0)[0]

    def decoded(self, sample: int, camera: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode an image, RGB."""
        return self._images.read(int(self._rows[sample]), 0)[1]

    def plan(
        self, names: Sequence[str], options: PreprocessOptions
    ) -> tuple[SessionPlan, tuple[SkippedAnnotation, ...]]:
        """Keep images with a keypoint of sufficient confidence."""
        seen = self.keypoints2d(tuple(names))
        thresholds = thresholds_of(self, (CAMERA,), options.confidence_threshold)
        confidence = counting_scores(seen.confidence, thresholds)
        below = seen.visible & (confidence == 0)
        usable = (confidence > 0).any(-1).numpy()[:, 0]
        reason = 'an image must have a keypoint that counts; it has none.'
        skipped = tuple(SkippedAnnotation(self._entries[i], reason) for i in np.flatnonzero(~usable))
        chosen = np.flatnonzero(usable)[:: options.frame_skip][: options.max_frames_per_session]
        rows = torch.from_numpy(chosen)
        n, K = len(chosen), len(names)
        counts = {
            'frames': len(usable),
            'frames_stored': n,
            'frames_left_out': len(skipped),
            'frames_skipped': int(usable.sum()) - n,
            'views_stored': n,
            'keypoints_stored': int((confidence[rows] > 0).sum()),
            'keypoints_missing': int((~seen.visible[rows]).sum()),
            'keypoints_below_threshold': int(below[rows].sum()),
            'points3d_stored': 0,
            'cameras': camera_counts((CAMERA,), seen.visible[rows], below[rows], thresholds),
            'pictures_with_guessed_intrinsics': 0 if self._focal_known else n,
        }
        plan = SessionPlan(
            session=self,
            cameras=self.cameras[rows],
            frames=chosen,
            view_mask=np.ones((n, 1), np.bool_),
            names=seen.names,
            keypoints2d=seen.xy[rows].numpy() * (confidence[rows] > 0).numpy()[..., None],
            confidence2d=confidence[rows].numpy(),
            keypoints3d=np.zeros((n, K, 3)),
            confidence3d=np.zeros((n, K)),
            undistorted=True,
            counts=counts,
            numbers=self.frame_numbers[chosen],
            boxes=np.full((n, 1, 4), np.nan),
            images=ImageTable(
                tuple(self._labels[i] for i in chosen),
                np.full(n, self._focal_known),
                # Each was cut elsewhere: one after the other they show no motion.
                False,
                tuple(self._entries[i] for i in chosen),
            ),
            stored=self,
        )
        return plan, skipped
