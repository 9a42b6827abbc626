"""Figures of a dataset's ground truth: do labels, 3D points, parameters, cameras and crops agree with each other?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from smilfit.body_models import SMIL, BodyModelData
from smilfit.datasets import DatasetFile
from smilfit.datasets.store.shape_agreement import ShapeAgreement, shape_agreement
from smilfit.evaluation.fit_quality import keypoints_of
from smilfit.io import check_cameras
from smilfit.structures import BodyParams, Cameras

# A label is said to be the other side's where it lies so much nearer to that one's point, and the two are so far
# apart.
_SWAP_NEARER, _SWAP_APART_PX = 0.5, 6.0


@dataclass(frozen=True)
class CameraFigures:
    """One camera of a session; px are of original images. NaN where there is nothing to measure."""

    views: int
    labels: int
    labels_outside_image: int
    points_outside_image: int
    points_seen: int
    label_to_point_px: float
    label_to_point_p90_px: float
    label_to_params_px: float
    extent_px: float


@dataclass(frozen=True)
class SessionFigures:
    """One session: counts, distances and what speaks against it. Lengths are in the world unit."""

    samples: int
    samples_without_view: int
    samples_labelled_twice: int
    repeated_frames: int
    cameras: dict[str, CameraFigures]
    labels_by_keypoint: dict[str, int]
    points_by_keypoint: dict[str, int]
    extent: float
    params_known: int
    params_to_point: float
    pairs_looked_at: int
    pairs_swapped: int
    mirrored_share: float
    shape: ShapeAgreement | None
    calibration: str = ''
    calibration_ok: bool = True


@dataclass(frozen=True)
class _Stored:
    """All samples of a session; an absent view has no label."""

    frames: np.ndarray
    view_mask: Bool[np.ndarray, 'n C']
    xy: Float[np.ndarray, 'n C K 2']
    visible: Bool[np.ndarray, 'n C K']
    xyz: Float[np.ndarray, 'n K 3']
    known: Bool[np.ndarray, 'n K']
    projected: Float[np.ndarray, 'n C K 2']
    scale: Float[np.ndarray, 'n C']
    by_params: Float[np.ndarray, 'n C K 2'] | None
    params_xyz: Float[np.ndarray, 'n K 3'] | None
    params_known: int


def session_figures(dataset: DatasetFile, session: str, body: SMIL | None = None) -> SessionFigures:
    """Measure a session of a dataset file.

    Args:
        body: the body model that the file was made with; without it parameters and sides are not looked at.
    """
    stored = _read(dataset, session, body)
    used = [c for c in range(len(dataset.camera_names)) if stored.view_mask[:, c].any()]
    names = dataset.keypoint_names
    data = None if body is None else body.data
    looked, swapped = _swaps(stored, _pairs(data, names))
    message, fine = _calibration(dataset, session)
    return SessionFigures(
        samples=len(stored.frames),
        samples_without_view=int((~stored.view_mask.any(1)).sum()),
        samples_labelled_twice=_repeated_labels(stored),
        repeated_frames=len(stored.frames) - len(np.unique(stored.frames))
        if dataset.session(session).temporal
        else 0,
        cameras={dataset.camera_names[c]: _camera(stored, c, dataset.target_resolution) for c in used},
        labels_by_keypoint=dict(zip(names, map(int, stored.visible.sum((0, 1))))),
        points_by_keypoint=dict(zip(names, map(int, stored.known.sum(0)))),
        extent=_extent(stored),
        params_known=stored.params_known,
        params_to_point=_params_to_point(stored),
        pairs_looked_at=looked,
        pairs_swapped=swapped,
        mirrored_share=float('nan') if data is None else _mirrored(stored, data, names),
        shape=None if data is None else _shape(stored, data, names),
        calibration=message,
        calibration_ok=fine,
    )


def _read(dataset: DatasetFile, session: str, body: SMIL | None) -> _Stored:
    records = [dataset.record(int(i)) for i in dataset.samples(session)]
    stack = {
        name: np.stack([getattr(r, name) for r in records]).astype(np.float64)
        for name in (
            'K',
            'R',
            't',
            'dist',
            'size',
            'to_original',
            'keypoints2d',
            'confidence2d',
            'keypoints3d',
        )
    }
    mask = np.stack([r.view_mask for r in records])
    # Absent views are zeros: some camera must stand there.
    for name in ('K', 'R'):
        stack[name][~mask] = np.eye(3)
    arrays: dict[str, Any] = {n: torch.from_numpy(stack[n]) for n in ('K', 'R', 't', 'size', 'dist')}
    cameras = Cameras(dataset.camera_names, **arrays)
    known = np.stack([r.confidence3d for r in records]) > 0
    scale = np.sqrt(np.abs(np.linalg.det(stack['to_original'][..., :2]))) * mask
    stated = {i: r.params for i, r in enumerate(records) if r.params is not None}
    rows = list(stated)
    params_xyz = None
    if body is not None and rows:
        params_xyz = np.full((len(records), len(dataset.keypoint_names), 3), np.nan)
        given = {n: np.stack([params[n] for params in stated.values()]) for n in stated[rows[0]]}
        params = BodyParams.of({n: torch.from_numpy(v) for n, v in given.items()})
        params_xyz[rows] = keypoints_of(body, params, dataset.keypoint_names).double().numpy()
    return _Stored(
        frames=np.array([r.frame for r in records]),
        view_mask=mask,
        xy=stack['keypoints2d'],
        visible=(stack['confidence2d'] > 0) & mask[..., None],
        xyz=stack['keypoints3d'],
        known=known,
        projected=_project(cameras, np.where(known[..., None], stack['keypoints3d'], np.nan), mask),
        scale=scale,
        by_params=None if params_xyz is None else _project(cameras, params_xyz, mask),
        params_xyz=params_xyz,
        params_known=len(rows),
    )


def _project(cameras: Cameras, xyz: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Project points into the stored images; NaN where a point or a view is not there."""
    pixels, _, valid = cameras.project(torch.from_numpy(np.nan_to_num(xyz)))
    present = valid.numpy() & mask[..., None] & np.isfinite(xyz).all(-1)[:, None]
    return np.where(present[..., None], pixels.numpy(), np.nan)


def _camera(stored: _Stored, c: int, side: int) -> CameraFigures:
    visible, scale = stored.visible[:, c], stored.scale[:, c, None]
    labels = np.where(visible[..., None], stored.xy[:, c], np.nan)
    # Original px, which do not depend on how small images are stored.
    distance = np.linalg.norm(labels - stored.projected[:, c], axis=-1) * scale
    from_params = np.full(1, np.nan)
    if stored.by_params is not None:
        from_params = np.linalg.norm(labels - stored.by_params[:, c], axis=-1) * scale
    shown = np.isfinite(stored.projected[:, c]).all(-1)
    several = visible.sum(1) >= 3
    boxes = np.full(1, np.nan)
    if several.any():
        span = np.nanmax(labels[several], 1) - np.nanmin(labels[several], 1)
        boxes = span.max(-1) * stored.scale[several, c]
    return CameraFigures(
        views=int(stored.view_mask[:, c].sum()),
        labels=int(visible.sum()),
        labels_outside_image=int((_outside(stored.xy[:, c], side) & visible).sum()),
        points_outside_image=int((_outside(np.nan_to_num(stored.projected[:, c]), side) & shown).sum()),
        points_seen=int(shown.sum()),
        label_to_point_px=_quantile(distance, 0.5),
        label_to_point_p90_px=_quantile(distance, 0.9),
        label_to_params_px=_quantile(from_params, 0.5),
        extent_px=_quantile(boxes, 0.5),
    )


def _outside(xy: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(((xy < -0.5) | (xy > side - 0.5)).any(-1))


def _quantile(values: np.ndarray, share: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else float('nan')


def _extent(stored: _Stored) -> float:
    rows = stored.known.sum(1) >= 3
    if not rows.any():
        return float('nan')
    points = np.where(stored.known[rows][..., None], stored.xyz[rows], np.nan)
    return float(np.median((np.nanmax(points, 1) - np.nanmin(points, 1)).max(-1)))


def _params_to_point(stored: _Stored) -> float:
    if stored.params_xyz is None:
        return float('nan')
    distance = np.linalg.norm(stored.params_xyz - stored.xyz, axis=-1)
    return _quantile(np.where(stored.known, distance, np.nan), 0.5)


def _repeated_labels(stored: _Stored) -> int:
    """Count samples whose labels are those of another one to the last digit."""
    rows = np.where(stored.visible[..., None], stored.xy, -1.0).reshape(len(stored.xy), -1)
    labelled = stored.visible.sum((1, 2)) >= 3
    return int(labelled.sum()) - len(np.unique(rows[labelled], axis=0))


def _pairs(data: BodyModelData | None, names: Sequence[str]) -> list[tuple[int, int]]:
    if data is None:
        return []
    place = {name: k for k, name in enumerate(names)}
    return [(place[a], place[b]) for a, b in data.joint_symmetry if a in place and b in place]


def _swaps(stored: _Stored, pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Count pairs of labels of a view, and those where each lies on the other side's 3D point."""
    looked = swapped = 0
    for a, b in pairs:
        both = stored.visible[:, :, a] & stored.visible[:, :, b]
        straight = _distance(stored, a, a) + _distance(stored, b, b)
        crossed = _distance(stored, a, b) + _distance(stored, b, a)
        between = (
            np.linalg.norm(stored.projected[:, :, a] - stored.projected[:, :, b], axis=-1) * stored.scale
        )
        usable = both & np.isfinite(straight + crossed) & (between > _SWAP_APART_PX)
        looked += int(usable.sum())
        swapped += int((usable & (crossed < _SWAP_NEARER * straight)).sum())
    return looked, swapped


def _distance(stored: _Stored, label: int, point: int) -> np.ndarray:
    return np.linalg.norm(stored.xy[:, :, label] - stored.projected[:, :, point], axis=-1)


def _of_joints(
    stored: _Stored, data: BodyModelData, names: Sequence[str]
) -> tuple[list[int], Float[np.ndarray, 'k 3']]:
    places = {name: j for j, name in enumerate(data.joint_names)}
    columns = [k for k, name in enumerate(names) if name in places]
    return columns, np.asarray(data.joints)[[places[names[k]] for k in columns]]


def _shape(stored: _Stored, data: BodyModelData, names: Sequence[str]) -> ShapeAgreement | None:
    columns, rest = _of_joints(stored, data, names)
    return shape_agreement(stored.xyz[:, columns], stored.known[:, columns], rest) if columns else None


def _mirrored(stored: _Stored, data: BodyModelData, names: Sequence[str]) -> float:
    """Return the share of samples whose 3D points fit the mirrored rest pose clearly better than the rest pose."""
    columns, rest = _of_joints(stored, data, names)
    better = []
    for xyz, known in zip(stored.xyz[:, columns], stored.known[:, columns]):
        if known.sum() < 6:
            continue
        straight, mirrored = _similarity_residuals(rest[known], xyz[known])
        better.append(mirrored < 0.8 * straight)
    return float(np.mean(better)) if better else float('nan')


def _similarity_residuals(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the squared distances that the best similarity leaves, without and with a reflection (Umeyama, 1991)."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, v = np.linalg.svd(a.T @ b)
    sign = np.sign(np.linalg.det(u @ v))
    norm_a, norm_b = float((a * a).sum()), float((b * b).sum())
    left = [norm_b - float(s[0] + s[1] + k * s[2]) ** 2 / max(norm_a, 1e-30) for k in (sign, -sign)]
    return left[0], left[1]


def _calibration(dataset: DatasetFile, session: str) -> tuple[str, bool]:
    """Judge a rig's cameras by each other."""
    recorded = dataset.session(session)
    if recorded.kind == 'images':
        return 'every image has a camera of its own; nothing to judge them by', True
    rig = recorded.rig
    if rig is None:
        return 'no camera is known; nothing to judge', True
    visible, points = dataset.keypoints2d(session), dataset.keypoints3d(session)
    if len(rig) < 2:
        return 'one camera; nothing to judge it by', True
    report = check_cameras(visible, points)
    return report.message(), report.ok


# Shares from which a thing is told.
OUTSIDE, SWAPPED, RARE, MIRRORED = 0.02, 0.02, 0.02, 0.5
# Distances that are told, in shares of the animal's size: an ear's worth, not a limb's.
PARAMS_OFF = 0.1


def warnings_of(figures: Mapping[str, SessionFigures], unit: str | None) -> list[str]:
    """Return what is wrong or doubtful, session by session; none where all is well."""
    result = []
    for name, session in figures.items():
        result += [f'{name}: {text}' for text in _of_session(session, unit)]
    return result


def _of_session(session: SessionFigures, unit: str | None) -> list[str]:
    result = []
    if session.samples_without_view:
        result.append(f'{session.samples_without_view} of {session.samples} samples have no image.')
    if session.samples_labelled_twice:
        result.append(
            f'{session.samples_labelled_twice} samples have the labels of another one to the last digit: are frames '
            'there twice, or labels copied on?'
        )
    if session.repeated_frames:
        result.append(f'{session.repeated_frames} frame numbers are there more than once.')
    if not session.calibration_ok:
        result.append(session.calibration)
    for camera, figures in session.cameras.items():
        result += [f'camera {camera}: {text}' for text in _of_camera(figures, session)]
    result += _of_keypoints(session)
    if session.pairs_swapped > SWAPPED * session.pairs_looked_at:
        result.append(
            f'left and right are exchanged in {session.pairs_swapped} of {session.pairs_looked_at} pairs of labels, '
            'by their 3D points.'
        )
    if session.mirrored_share > MIRRORED:
        result.append(
            f'3D points look like the mirrored animal in {100 * session.mirrored_share:.0f} % of the samples: are '
            'left and right exchanged, or is an axis flipped?'
        )
    if session.shape is not None and session.shape.is_chance:
        result.append(
            f'distances between 3D points go with those of the body by {session.shape.correlation:.2f}, and joints '
            f'drawn at random reach {session.shape.chance:.2f}: keypoints have the names of others.'
        )
    if session.params_to_point > PARAMS_OFF * session.extent:
        result.append(
            f"the parameters' keypoints lie {session.params_to_point:.3g} {unit or 'units'} (median) from the 3D "
            f'points of an animal of {session.extent:.3g}: another body model, unit or joint order?'
        )
    return result


def _of_camera(figures: CameraFigures, session: SessionFigures) -> list[str]:
    result = []
    if figures.labels == 0 and session.points_by_keypoint and not any(session.points_by_keypoint.values()):
        result.append('none of its views has a label.')
    if figures.labels_outside_image > OUTSIDE * figures.labels:
        share = 100 * figures.labels_outside_image / figures.labels
        result.append(f'{share:.0f} % of its labels lie outside the stored image: boxes cut the animal.')
    elif figures.points_outside_image > OUTSIDE * figures.points_seen and figures.label_to_point_px < _near(
        figures
    ):
        share = 100 * figures.points_outside_image / figures.points_seen
        result.append(
            f'{share:.0f} % of the 3D points lie outside the stored image: boxes cut unlabelled parts of the animal.'
        )
    if figures.label_to_params_px > PARAMS_OFF * figures.extent_px:
        result.append(
            f"labels lie {figures.label_to_params_px:.1f} px (median) from the parameters' keypoints; the animal is "
            f'{figures.extent_px:.0f} px.'
        )
    if figures.label_to_point_px > _near(figures):
        result.append(
            f'labels lie {figures.label_to_point_px:.1f} px (median) from the 3D points; the animal is '
            f'{figures.extent_px:.0f} px.'
        )
    return result


def _near(figures: CameraFigures) -> float:
    return PARAMS_OFF * figures.extent_px if math.isfinite(figures.extent_px) else math.inf


def _of_keypoints(session: SessionFigures) -> list[str]:
    most = max(session.labels_by_keypoint.values(), default=0)
    never = [
        n
        for n, count in session.labels_by_keypoint.items()
        if count == 0 and not session.points_by_keypoint[n]
    ]
    rare = [n for n, count in session.labels_by_keypoint.items() if 0 < count < RARE * most]
    result = []
    if most == 0:
        return ['there is no label at all.']
    if never:
        result.append(f'never labelled: {", ".join(never)}.')
    if rare:
        result.append(
            f'labelled in less than {100 * RARE:.0f} % of what the most frequent one is: {", ".join(rare)}.'
        )
    return result
