"""Decide which frames of points in space are kept, and what cameras saw of them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from smilfit.datasets.frame_plan import median_figures, require_consistent_cameras
from smilfit.datasets.session_plan import Counts, SessionPlan, camera_counts
from smilfit.datasets.store.sample_encoder import Placer
from smilfit.datasets.store.store_layout import EncodedSample, StoreHeader
from smilfit.io.camera_warning import warn_of_blind_cameras
from smilfit.io.points import PointSession
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.structures import CameraReport, Keypoints2d, Keypoints3d


class PointPlan(SessionPlan):
    """What will be stored of points in space."""

    has_images = False

    def encode(
        self, index: int, header: StoreHeader, options: PreprocessOptions, skip: int
    ) -> Iterator[EncodedSample]:
        """Return the samples: points, and no images."""
        place = Placer(index, self, header, options)
        for n in range(skip, len(self.frames)):
            # A file of points does not know its images: stored px are original px.
            affines = [np.eye(2, 3) if valid else None for valid in self.view_mask[n]]
            yield place.sample(n, affines, {}, {}, '')


def plan_points(session: PointSession, names: Sequence[str], options: PreprocessOptions) -> PointPlan:
    """Choose the frames with a point; what cameras saw of them comes along, lens undone.

    Args:
        session: the points.
        names: the keypoints to keep, all of them the session's.
        options: which frames to keep, and from which confidence points count (all if None).

    Raises:
        ValueError: no frame with a point, or cameras that contradict the points.
    """
    points = session.keypoints3d(tuple(names))
    least = options.confidence_threshold or 0.0
    counts = (points.confidence >= least) & points.visible
    points = Keypoints3d(points.xyz, torch.where(counts, points.confidence, 0.0), points.names, points.unit)
    observed = session.keypoints2d(tuple(names))
    some = points.visible.any(-1)
    chosen = some.nonzero().squeeze(-1)[:: options.frame_skip][: options.max_frames_per_session]
    if not len(chosen):
        raise ValueError(
            f'{session.path}: a frame must have a point of a known keypoint'
            f'{f", of confidence {least:g}" if least else ""}; of {len(some)} none has. Lower the threshold, or look '
            'at the joint lookup.'
        )
    kept = points[chosen]
    n, C = len(chosen), len(session.rig)
    xy, confidence = np.zeros((n, C, len(names), 2)), np.zeros((n, C, len(names)))
    report: Counts = {
        'frames': len(some),
        'frames_stored': n,
        'frames_without_points': int((~some).sum()),
        'frames_skipped': int(some.sum()) - n,
        'points3d_stored': int(kept.visible.sum()),
        'points3d_missing': int((~kept.visible).sum()),
        'points3d_below_threshold': int((~counts & session.keypoints3d(tuple(names)).visible)[chosen].sum()),
        'points3d_from': 'the session',
        'cameras': {},
    }
    judged = None
    if observed is None and session.cameras is not None:
        warn_of_blind_cameras(str(session.path), session.cameras, points)
    if observed is not None:
        xy, confidence, of_cameras, judged = _views(session, observed, points, chosen, options)
        report |= of_cameras
    return PointPlan(
        session=session,
        cameras=session.rig,
        frames=chosen.numpy(),
        view_mask=np.asarray((confidence > 0).any(-1)),
        names=tuple(names),
        keypoints2d=xy,
        confidence2d=confidence,
        keypoints3d=kept.xyz.double().numpy(),
        confidence3d=kept.confidence.double().numpy(),
        undistorted=True,
        counts=report,
        numbers=session.frame_numbers[chosen.numpy()],
        camera_report=judged,
    )


def _views(
    session: PointSession,
    observed: Keypoints2d,
    points: Keypoints3d,
    chosen: torch.Tensor,
    options: PreprocessOptions,
) -> tuple[np.ndarray, np.ndarray, Counts, CameraReport | None]:
    """Undo the lens of what cameras saw, and hold them against the points."""
    judged = require_consistent_cameras(session.name, observed, points, options)
    ideal, inside = observed.rig.undistort(observed.xy)
    confidence = torch.where(inside, observed.confidence, 0.0)[chosen]
    xy = torch.where((confidence > 0).unsqueeze(-1), ideal[chosen], 0.0)
    none = torch.zeros_like(observed.visible[chosen])
    counts = {
        'keypoints_stored': int((confidence > 0).sum()),
        'keypoints_missing': int((~observed.visible[chosen]).sum()),
        'keypoints_beyond_lens_fold': int((observed.visible & ~inside)[chosen].sum()),
        'camera_median_px': median_figures(judged),
        'cameras': camera_counts(
            observed.rig.names, observed.visible[chosen], none, torch.zeros(len(observed.rig))
        ),
    }
    return xy.numpy(), confidence.numpy(), counts, judged
