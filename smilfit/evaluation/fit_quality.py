"""How well a fit explains what the cameras saw, beside points without a body, given points and the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.baseline import mean_pose, place_at_prediction
from smilfit.evaluation.keypoint_errors import mpjpe, pa_mpjpe, percentiles
from smilfit.evaluation.units import unit_suffix
from smilfit.io import triangulate_keypoints
from smilfit.structures import BodyParams, Keypoints2d, Keypoints3d
from smilfit.structures.body import by_blocks


def errors_against_truth(
    fitted: Float[Tensor, 'B K 3'], truth: Keypoints3d, placed: Keypoints3d | None, unit: str
) -> dict[str, int | float]:
    """Measure fitted keypoints against true ones.

    Beside `mpjpe_<unit>` and `pa_mpjpe_<unit>` stand trivial answers, for `strongest_baselines`: the truth's own mean
    pose, aligned or put where each frame was fitted (`_mean_pose`, `_mean_pose_at_predicted_place`), and, over the
    keypoints that it places (`mpjpe_shared_<unit>`), the labels' triangulation (`_triangulated`).

    Args:
        fitted: world unit.
        truth: the same keypoints.
        placed: the labels' triangulation; None where there is none.
        unit: the end of the names.
    """
    points = fitted.detach().cpu().double().numpy()
    true, observed = truth.xyz.cpu().double().numpy(), (truth.confidence > 0).cpu().numpy()
    result = {
        f'mpjpe_{unit}': mpjpe(points, true, observed),
        f'pa_mpjpe_{unit}': pa_mpjpe(points, true, observed),
    }
    if placed is not None:
        shared = observed & (placed.confidence > 0).cpu().numpy()
        without = placed.xyz.cpu().double().numpy()
        result[f'mpjpe_shared_{unit}'] = mpjpe(points, true, shared)
        result[f'mpjpe_shared_triangulated_{unit}'] = mpjpe(without, true, shared)
    if len(true) and observed.sum(1).max() >= 3:
        pose = mean_pose(true, observed)
        at_place = place_at_prediction(pose, points, observed)
        result[f'mpjpe_mean_pose_at_predicted_place_{unit}'] = mpjpe(at_place, true, observed)
        result[f'pa_mpjpe_mean_pose_{unit}'] = pa_mpjpe(np.broadcast_to(pose, true.shape), true, observed)
    return {name: float(value) for name, value in result.items() if not np.isnan(value)}


# Labels that are triangulated to less than this were made, not seen.
LEAST_PX = 0.01


@dataclass(frozen=True)
class CameraFit:
    """One camera's reprojection errors, px of the images whose keypoints and cameras the benchmark was given.

    The `common` medians are over the `n_common` keypoints seen there that a triangulation of the same labels places;
    `given_px` is over those with a given 3D point. None without such. A point without an image in the camera is
    infinitely wrong.
    """

    camera: str
    n_points: int
    median_fitted_px: float | None
    p90_fitted_px: float | None
    n_common: int = 0
    common_fitted_px: float | None = None
    common_triangulated_px: float | None = None
    given_px: float | None = None

    @property
    def ratio(self) -> float | None:
        """The fit's median over that of points triangulated from the same labels.

        Those are free to follow the labels, noise and all: 1 says that the fit follows them as closely, not that
        it is right. Given points are no such measure: smoothed ones follow no label. None of labels without noise,
        of which any fit is many times as far.
        """
        fitted, triangulated = self.common_fitted_px, self.common_triangulated_px
        if fitted is None or triangulated is None or triangulated < LEAST_PX:
            return None
        return fitted / triangulated


@dataclass(frozen=True)
class FitBenchmark:
    """Errors of a fit: per camera in px, and against known truth in the session's unit."""

    cameras: tuple[CameraFit, ...]
    n_frames: int
    n_frames_finite: int
    unit: str | None = None
    keypoint_names: tuple[str, ...] = ()
    keypoint_median_px: tuple[float | None, ...] = ()
    against_truth: dict[str, int | float] = field(default_factory=dict)

    def metrics(self) -> dict[str, int | float]:
        """Return all scalars by name, each name with its unit."""
        result: dict[str, int | float] = {'n_frames': self.n_frames, 'n_frames_finite': self.n_frames_finite}
        for row in self.cameras:
            values = {
                'median_fitted_px': row.median_fitted_px,
                'median_triangulated_px': row.common_triangulated_px,
                'median_given_px': row.given_px,
                'ratio_to_triangulated': row.ratio,
            }
            result |= {f'{row.camera}/{k}': v for k, v in values.items() if v is not None}
        return result | self.against_truth


def fit_benchmark(
    observed: Keypoints2d,
    fitted: Float[Tensor, 'B K 3'],
    given: Keypoints3d | None = None,
    truth: Keypoints3d | None = None,
    vertices: Float[Tensor, 'B V 3'] | None = None,
    true_vertices: Float[Tensor, 'B V 3'] | None = None,
) -> FitBenchmark:
    """Measure a fit.

    Args:
        observed: what the cameras saw, with its cameras; errors are in px of these images. Of calibrated views also
            triangulated by themselves, as what 3D points without a body reach.
        fitted: the fitted keypoints in the order of `observed.names`, world unit.
        given: 3D points that were recorded with the labels, whose reprojection error stands beside the fit's.
        truth: known 3D keypoints, for MPJPE and PA-MPJPE.
        vertices: the fitted mesh, with `true_vertices` for the vertex error.
        true_vertices: the known mesh, same topology.

    Raises:
        ValueError: no cameras, other keypoints, or one mesh without the other.
    """
    _check(observed, fitted, given, truth, vertices, true_vertices)
    errors = reprojection_errors(observed, fitted)
    without_body = _triangulated(observed)
    placed, recorded = (_errors_of(observed, points) for points in (without_body, given))
    rows = tuple(
        _camera(name, errors[:, c], placed[:, c], recorded[:, c]) for c, name in enumerate(observed.rig.names)
    )
    finite = fitted.isfinite().flatten(1).all(1)
    per_keypoint = tuple(_median(errors[:, :, k]) for k in range(len(observed.names)))
    unit = observed.rig.unit or (truth.unit if truth is not None else None)
    return FitBenchmark(
        cameras=rows,
        n_frames=len(fitted),
        n_frames_finite=int(finite.sum()),
        unit=unit,
        keypoint_names=tuple(observed.names),
        keypoint_median_px=per_keypoint,
        against_truth=_against_truth(fitted, truth, without_body, vertices, true_vertices, unit_suffix(unit)),
    )


def keypoints_of(body: SMIL, params: BodyParams, names: Sequence[str]) -> Float[Tensor, 'B K 3']:
    """Compute named keypoints of a body, world unit, on the CPU; memory does not grow with the frames."""
    params, wanted = params.to(body.v_template), tuple(names)
    with torch.no_grad():
        return by_blocks(params.batch_size, lambda rows: body(params[rows], wanted).select(wanted).cpu())


def errors_px(
    observed: Keypoints2d, points: Float[Tensor, 'B K 3'], valid: Tensor | None = None
) -> Float[Tensor, 'B C K']:
    """Measure px between labels and projected points.

    NaN where there is no label or (`valid` False) no point was given; inf where the point has no image.
    """

    def distances_px(rows: slice) -> Tensor:
        pixels, _, in_image = observed[rows].rig.to(torch.float64).project(points[rows].double())
        distance = (pixels - observed.xy[rows].double()).norm(dim=-1)
        return torch.where(in_image & points[rows].isfinite().all(-1).unsqueeze(1), distance, torch.inf)

    distance = by_blocks(len(points), distances_px)
    known = observed.visible if valid is None else observed.visible & valid.unsqueeze(1)
    return torch.where(known, distance, torch.nan)


def reprojection_errors(
    observed: Keypoints2d, points: Float[Tensor, 'B K 3'], valid: Tensor | None = None
) -> Float[np.ndarray, 'B C K']:
    """Measure `errors_px` on the CPU, as an array."""
    cpu = torch.device('cpu')
    known = None if valid is None else valid.cpu()
    return errors_px(observed.to(cpu), points.detach().cpu(), known).numpy()


def _triangulated(observed: Keypoints2d) -> Keypoints3d | None:
    """Place the labels' points by themselves; None where no point has two views."""
    if len(observed.rig) < 2 or observed.rig.K.ndim != 3:
        return None
    cpu = observed.to(torch.device('cpu')).to(torch.float64)
    placed = triangulate_keypoints(cpu)
    return placed if bool(placed.visible.any()) else None


def _errors_of(observed: Keypoints2d, points: Keypoints3d | None) -> Float[np.ndarray, 'B C K']:
    if points is None:
        return np.full(observed.confidence.shape, np.nan)
    return reprojection_errors(observed, points.xyz, points.confidence > 0)


def _camera(name: str, fitted: np.ndarray, placed: np.ndarray, given: np.ndarray) -> CameraFit:
    valid = ~np.isnan(fitted)
    p90 = float(percentiles(fitted, valid, (90,))[0]) if valid.any() else None
    # A point without an image here says nothing of the camera.
    common = np.isfinite(placed)
    return CameraFit(
        name,
        int(valid.sum()),
        _median(fitted),
        p90,
        n_common=int(common.sum()),
        common_fitted_px=_median(np.where(common, fitted, np.nan)),
        common_triangulated_px=_median(np.where(common, placed, np.nan)),
        given_px=_median(given),
    )


def _median(errors: np.ndarray) -> float | None:
    valid = ~np.isnan(errors)
    return float(percentiles(errors, valid, (50,))[0]) if valid.any() else None


def _against_truth(
    fitted: Tensor,
    truth: Keypoints3d | None,
    placed: Keypoints3d | None,
    vertices: Tensor | None,
    true_vertices: Tensor | None,
    unit: str,
) -> dict[str, int | float]:
    result = {} if truth is None else errors_against_truth(fitted, truth, placed, unit)
    if vertices is not None and true_vertices is not None:
        distance = (vertices.detach() - true_vertices).norm(dim=-1)
        result[f'vertex_error_{unit}'] = float(distance.double().mean())
    return result


def _check(
    observed: Keypoints2d,
    fitted: Tensor,
    given: Keypoints3d | None,
    truth: Keypoints3d | None,
    vertices: Tensor | None,
    true_vertices: Tensor | None,
) -> None:
    if observed.cameras is None:
        raise ValueError(
            'fit_benchmark: the seen keypoints must have cameras; got none. Calibrate the session.'
        )
    if len(fitted) != observed.batch_size or fitted.shape[1] != len(observed.names):
        raise ValueError(
            f'fit_benchmark: fitted points must be {observed.batch_size} frames x {len(observed.names)} keypoints, '
            f'as seen; got {tuple(fitted.shape[:2])}. Select them with BodyOutput.select(seen.names).'
        )
    for thing, points in (('given', given), ('true', truth)):
        if points is not None and (
            tuple(points.names) != tuple(observed.names) or points.batch_size != observed.batch_size
        ):
            raise ValueError(
                f'fit_benchmark: the {thing} points must have the keypoints and frames of the seen ones; got '
                f'{points.batch_size} frames of {", ".join(points.names)}. Use points.select(seen.names).'
            )
    if (vertices is None) != (true_vertices is None):
        raise ValueError('fit_benchmark: give both meshes or none for the vertex error; got one of the two.')


# How the overlaps of `report['masks']['iou']` are shown.
_COLUMNS = {'keypoints': 'keypoints alone', 'masks': 'with masks', 'another_frame': 'as another time'}


def mask_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a fit's IoU of silhouettes and masks by camera, frames that took no part in the shape first; none
    without.
    """
    iou = report.get('masks', {}).get('iou', {})
    return [
        {'camera': camera, 'frames': kind} | {text: values[name] for name, text in _COLUMNS.items()}
        for kind, cameras in iou.items()
        for camera, values in cameras.items()
    ]


def mask_sentences(report: Mapping[str, Any]) -> list[str]:
    """Return where the shape came from, and which masks were refused."""
    masks = report.get('masks')
    if masks is None:
        return []
    text = [
        f'Shape came from {masks["masks_used"]} masks of {len(masks["frames_used"])} frames '
        f'({masks["segmenter"]}); {len(masks["frames_checked"])} further frames judge it.'
    ]
    for camera, reasons in masks['masks_refused'].items():
        notes = '; '.join(f'{count}: {reason}' for reason, count in reasons.items())
        text.append(f'Camera {camera}: {sum(reasons.values())} masks were refused ({notes}).')
    return text
