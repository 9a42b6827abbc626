"""How well a fit explains what the cameras saw, beside the 3D points it was given, and beside the truth."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.evaluation.errors import distances, mpjpe, pa_mpjpe, percentiles
from smilfit.evaluation.units import unit_suffix
from smilfit.structures import Keypoints2d, Keypoints3d


@dataclass(frozen=True)
class CameraFit:
    """One camera's reprojection errors, px of the images that were annotated.

    The two `common` medians are over the keypoints that were seen there and have a given 3D point; they are
    None without given points. A fitted point without an image in the camera is infinitely wrong.
    """

    camera: str
    n_points: int
    median_fitted_px: float | None
    p90_fitted_px: float | None
    n_common: int = 0
    common_fitted_px: float | None = None
    common_given_px: float | None = None

    @property
    def ratio(self) -> float | None:
        """The fit's median over that of the given points; 1 is as good."""
        if self.common_fitted_px is None or not self.common_given_px:
            return None
        return self.common_fitted_px / self.common_given_px


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
        """Give all scalars by name, each name with its unit."""
        found: dict[str, int | float] = {'n_frames': self.n_frames, 'n_frames_finite': self.n_frames_finite}
        for row in self.cameras:
            values = {
                'median_fitted_px': row.median_fitted_px,
                'median_given_px': row.common_given_px,
                'ratio': row.ratio,
            }
            found |= {f'{row.camera}/{k}': v for k, v in values.items() if v is not None}
        return found | self.against_truth


def fit_benchmark(
    seen: Keypoints2d,
    fitted: Float[Tensor, 'B K 3'],
    given: Keypoints3d | None = None,
    truth: Keypoints3d | None = None,
    vertices: Float[Tensor, 'B V 3'] | None = None,
    true_vertices: Float[Tensor, 'B V 3'] | None = None,
) -> FitBenchmark:
    """Measure a fit.

    Args:
        seen: what the cameras saw, with its cameras.
        fitted: the fitted keypoints in the order of `seen.names`, world unit.
        given: triangulated or recorded 3D points, whose reprojection error stands beside the fit's.
        truth: known 3D keypoints, for MPJPE and PA-MPJPE.
        vertices: the fitted mesh, with `true_vertices` for the vertex error.
        true_vertices: the known mesh, same topology.

    Raises:
        ValueError: no cameras, other keypoints, or one mesh without the other.
    """
    _check(seen, fitted, given, truth, vertices, true_vertices)
    errors = reprojection_errors(seen, fitted)
    of_given = None if given is None else reprojection_errors(seen, given.xyz, given.confidence > 0)
    rows = tuple(
        _camera(name, errors[:, c], None if of_given is None else of_given[:, c])
        for c, name in enumerate(seen.rig.names)
    )
    finite = fitted.isfinite().flatten(1).all(1)
    per_keypoint = tuple(_median(errors[:, :, k]) for k in range(len(seen.names)))
    unit = seen.rig.unit or (truth.unit if truth is not None else None)
    return FitBenchmark(
        cameras=rows,
        n_frames=len(fitted),
        n_frames_finite=int(finite.sum()),
        unit=unit,
        keypoint_names=tuple(seen.names),
        keypoint_median_px=per_keypoint,
        against_truth=_against_truth(fitted, truth, vertices, true_vertices, unit_suffix(unit)),
    )


def reprojection_errors(
    seen: Keypoints2d, points: Float[Tensor, 'B K 3'], there: Tensor | None = None
) -> Float[np.ndarray, 'B C K']:
    """Measure px between seen keypoints and projected points.

    NaN where nothing was seen or (`there` False) no point was given; inf where the point has no image.
    """
    pixels, _, valid = seen.rig.to(torch.float64).project(points.detach().cpu().double())
    counted = seen.visible.cpu() if there is None else seen.visible.cpu() & there.cpu().unsqueeze(1)
    pixels = torch.where(valid.unsqueeze(-1), pixels, torch.nan)
    return distances(pixels.numpy(), seen.xy.cpu().double().numpy(), counted.numpy())


def _camera(name: str, fitted: np.ndarray, given: np.ndarray | None) -> CameraFit:
    there = ~np.isnan(fitted)
    p90 = float(percentiles(fitted, there, (90,))[0]) if there.any() else None
    if given is None:
        return CameraFit(name, int(there.sum()), _median(fitted), p90)
    # A given point without an image here says nothing of the camera.
    common = np.isfinite(given)
    return CameraFit(
        name,
        int(there.sum()),
        _median(fitted),
        p90,
        n_common=int(common.sum()),
        common_fitted_px=_median(np.where(common, fitted, np.nan)),
        common_given_px=_median(np.where(common, given, np.nan)),
    )


def _median(errors: np.ndarray) -> float | None:
    there = ~np.isnan(errors)
    return float(percentiles(errors, there, (50,))[0]) if there.any() else None


def _against_truth(
    fitted: Tensor,
    truth: Keypoints3d | None,
    vertices: Tensor | None,
    true_vertices: Tensor | None,
    unit: str,
) -> dict[str, int | float]:
    found = {}
    if truth is not None:
        points = fitted.detach().cpu().double().numpy()
        true, seen = truth.xyz.cpu().double().numpy(), (truth.confidence > 0).cpu().numpy()
        found = {
            f'mpjpe_{unit}': mpjpe(points, true, seen),
            f'pa_mpjpe_{unit}': pa_mpjpe(points, true, seen),
        }
    if vertices is not None and true_vertices is not None:
        distance = (vertices.detach() - true_vertices).norm(dim=-1)
        found[f'vertex_error_{unit}'] = float(distance.double().mean())
    return found


def _check(
    seen: Keypoints2d,
    fitted: Tensor,
    given: Keypoints3d | None,
    truth: Keypoints3d | None,
    vertices: Tensor | None,
    true_vertices: Tensor | None,
) -> None:
    if seen.cameras is None:
        raise ValueError(
            'fit_benchmark: the seen keypoints must have cameras; got none. Calibrate the session.'
        )
    if len(fitted) != seen.batch_size or fitted.shape[1] != len(seen.names):
        raise ValueError(
            f'fit_benchmark: fitted points must be {seen.batch_size} frames x {len(seen.names)} keypoints, '
            f'as seen; got {tuple(fitted.shape[:2])}. Select them with BodyOutput.select(seen.names).'
        )
    for thing, points in (('given', given), ('true', truth)):
        if points is not None and (
            tuple(points.names) != tuple(seen.names) or points.batch_size != seen.batch_size
        ):
            raise ValueError(
                f'fit_benchmark: the {thing} points must have the keypoints and frames of the seen ones; got '
                f'{points.batch_size} frames of {", ".join(points.names)}. Use points.select(seen.names).'
            )
    if (vertices is None) != (true_vertices is None):
        raise ValueError('fit_benchmark: give both meshes or none for the vertex error; got one of the two.')
