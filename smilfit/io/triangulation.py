"""Triangulation and camera checks of keypoints with names and cameras."""

import math
from dataclasses import dataclass

import torch

from smilfit.geometry.consistency import camera_consistency
from smilfit.geometry.triangulation import triangulate
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d

# Frames at once: bounds the memory of long sessions.
_CHUNK = 2000


def triangulate_keypoints(
    keypoints: Keypoints2d, huber_px: float | None = 10.0, n_refine: int = 10, min_confidence: float = 0.0
) -> Keypoints3d:
    """Place keypoints in the world from all views that see them.

    Pixels are undistorted first; one beyond its lens's fold counts as unseen. A placed point's confidence is
    the mean confidence of its views.

    Args:
        keypoints: labels with cameras attached.
        huber_px: as in `smilfit.geometry.triangulation.triangulate`.
        n_refine: as there.
        min_confidence: views of smaller confidence count as unseen.

    Raises:
        ValueError: no cameras, or fewer than two.
    """
    cameras = _calibrated(keypoints, 'triangulate_keypoints')
    if len(cameras) < 2:
        raise ValueError(
            f'triangulate_keypoints: a point must be seen by two cameras; got only {cameras.names}.'
        )
    xyz, confidence = [], []
    for start in range(0, keypoints.batch_size, _CHUNK):
        part = keypoints[start : start + _CHUNK]
        rig = part.cameras
        pixels, inside = rig.undistort(part.xy)
        weight = torch.where(
            inside & (part.confidence >= min_confidence), part.confidence, torch.zeros_like(part.confidence)
        )
        points, valid, _ = triangulate(pixels, weight, rig.K, rig.R, rig.t, n_refine, huber_px)
        mean = weight.sum(1) / (weight > 0).sum(1).clamp_min(1)
        xyz.append(points)
        confidence.append(torch.where(valid, mean, torch.zeros_like(mean)))
    return Keypoints3d(
        xyz=torch.cat(xyz), confidence=torch.cat(confidence), names=keypoints.names, unit=cameras.unit
    )


@dataclass(frozen=True)
class CameraReport:
    """How well each camera agrees with the others: median px by camera, and who does not.

    `contradicting` names cameras whose calibration cannot be that of the others. `ambiguous` says that
    cameras disagree without telling which. `same_place` lists pairs calibrated to one position.
    """

    median_px: dict[str, float]
    limit_px: dict[str, float]
    n_points: dict[str, int]
    contradicting: tuple[str, ...]
    ambiguous: bool
    same_place: tuple[tuple[str, str], ...]
    judged_by: str

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the calibration."""
        return not (self.contradicting or self.ambiguous)

    def message(self) -> str:
        """Say in words what was found, with each camera's figure."""
        figures = ', '.join(
            f'{name} {"unknown (too few points)" if math.isnan(px) else f"{px:.1f} px"}'
            for name, px in self.median_px.items()
        )
        parts = [f'median distance of labels from {self.judged_by}: {figures}.']
        for name in self.contradicting:
            parts.append(
                f'Camera {name!r} contradicts the others: {self.median_px[name]:.1f} px, '
                f'at most {self.limit_px[name]:.1f} px can be labelling.'
            )
        if self.ambiguous:
            parts.append('The cameras disagree, but these views do not tell which of them is wrong.')
        parts += [f'{a!r} and {b!r} are calibrated to the same place.' for a, b in self.same_place]
        return ' '.join(parts)


def check_cameras(keypoints: Keypoints2d, points: Keypoints3d | None = None) -> CameraReport:
    """Judge each camera's calibration by what all saw; see `smilfit.geometry.consistency`.

    Args:
        keypoints: labels of one session, with its cameras.
        points: 3D points of the same frames and names; found from the cameras themselves where None.

    Raises:
        ValueError: no cameras, cameras that differ between frames, or other points than the labels'.
    """
    cameras = _calibrated(keypoints, 'check_cameras')
    if cameras.K.ndim != 3:
        raise ValueError(
            f'check_cameras: cameras must be one set for the session; got K of shape '
            f'{tuple(cameras.K.shape)}.'
        )
    if points is not None and (points.names != keypoints.names or len(points.xyz) != len(keypoints.xy)):
        raise ValueError('check_cameras: 3D points must have the frames and names of the labels.')
    by_labels = _report(keypoints, cameras, None)
    if points is None:
        return by_labels
    by_points = _report(keypoints, cameras, points)
    # Points that were triangulated with a wrong camera lie between it and the others and blame none.
    return by_labels if by_points.ok and not by_labels.ok else by_points


def _report(keypoints: Keypoints2d, cameras: Cameras, points: Keypoints3d | None) -> CameraReport:
    found = camera_consistency(
        keypoints.xy,
        keypoints.confidence,
        cameras.K,
        cameras.R,
        cameras.t,
        cameras.size,
        cameras.dist,
        None if points is None else points.xyz,
        None if points is None else points.confidence,
    )
    names = cameras.names
    return CameraReport(
        median_px=dict(zip(names, found.median_px.tolist())),
        limit_px=dict(zip(names, found.limit_px.tolist())),
        n_points={name: int(n) for name, n in zip(names, found.n_points.tolist())},
        contradicting=tuple(name for name, bad in zip(names, found.contradicts.tolist()) if bad),
        ambiguous=found.ambiguous,
        same_place=tuple((names[i], names[j]) for i, j in found.same_place),
        judged_by='points that the consistent cameras place' if points is None else 'the given 3D points',
    )


def _calibrated(keypoints: Keypoints2d, where: str) -> Cameras:
    if keypoints.cameras is None:
        raise ValueError(f'{where}: keypoints must have cameras; got none. Is there a calibration.toml?')
    return keypoints.cameras
