"""Each camera of a recording left out in turn: px and ellipses there, beside what takes no body."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.evaluation.baseline import mean_pose, place_at_prediction
from smilfit.evaluation.ellipses import radii
from smilfit.evaluation.intervals import expected_keypoints, in_cameras
from smilfit.evaluation.verdict.refits import Fit, Inputs, changed_keypoints, keypoints_of
from smilfit.evaluation.verdict.yardstick import errors_px, without_camera
from smilfit.io import triangulate_keypoints
from smilfit.structures import FitResult, Keypoints2d, Keypoints3d

# A frame with fewer keypoints places no pose.
LEAST_KEYPOINTS = 3


@dataclass(frozen=True)
class LeftOutCamera:
    """A camera that a fit was not given.

    Args:
        px: between its labels and the fit.
        mean_pose_px: between them and the mean pose of the other cameras' triangulation, moved, turned and scaled
            onto that of each frame: what takes no body and no joints.
        radii: of its labels in the fit's ellipses; all NaN of a fit without covariance.
        noise_px: of labels, by those of the other cameras; NaN without covariance.
        fit_sd_px: median standard deviation of what the fit leaves open there; NaN without covariance.
    """

    px: Float[Tensor, 'B K']
    mean_pose_px: Float[Tensor, 'B K']
    radii: Float[Tensor, 'B K']
    noise_px: float
    fit_sd_px: float


def leave_out(fit: Fit, inputs: Inputs, seen: Keypoints2d, camera: int) -> LeftOutCamera:
    """Fit without a camera, and measure there.

    Points in space, which that camera may have had a part in, are triangulated anew from the others.

    Args:
        fit: fits.
        inputs: of the frames.
        seen: the labels of these frames, by all cameras.
        camera: which is left out.
    """
    others = triangulate_keypoints(without_camera(seen, camera))
    blind = [
        changed_keypoints(i, {Keypoints2d: _blinded(camera), Keypoints3d: _renewed(others)}) for i in inputs
    ]
    result = fit(blind)
    px = errors_px(seen, keypoints_of(result, seen.names))[:, camera]
    trivial = errors_px(seen, _mean_pose(others))[:, camera]
    return LeftOutCamera(px, trivial, *_in_ellipses(result, seen, camera, px))


def _blinded(camera: int) -> Callable[[Keypoints2d], Keypoints2d]:
    return lambda keypoints: without_camera(keypoints, camera)


def _renewed(others: Keypoints3d) -> Callable[[Keypoints3d], Keypoints3d]:
    """Put points where other cameras see them; those that they do not see are missing."""
    place: Mapping[str, int] = {name: k for k, name in enumerate(others.names)}

    def renew(given: Keypoints3d) -> Keypoints3d:
        known = [name in place for name in given.names]
        at = [place.get(name, 0) for name in given.names]
        there = others.confidence[:, at].to(given.confidence) * torch.tensor(known)
        return replace(
            given,
            xyz=others.xyz[:, at].to(given.xyz),
            confidence=torch.where(given.visible, there, 0.0),
        )

    return renew


def _mean_pose(points: Keypoints3d) -> Float[Tensor, 'B K 3']:
    there = points.visible.cpu().numpy()
    xyz = points.xyz.double().cpu().numpy()
    if there.sum(1).max(initial=0) < LEAST_KEYPOINTS:
        return torch.full(points.xyz.shape, torch.nan, dtype=torch.float64)
    xyz[~there] = float('nan')
    return torch.from_numpy(place_at_prediction(mean_pose(points.xyz.double().cpu().numpy(), there), xyz))


def _in_ellipses(
    result: FitResult, seen: Keypoints2d, camera: int, px: Tensor
) -> tuple[Float[Tensor, 'B K'], float, float]:
    nothing = torch.full_like(px, torch.nan), float('nan'), float('nan')
    covariance = result.covariance
    if covariance is None or not set(seen.names) <= set(covariance.keypoint_names):
        return nothing
    expected = expected_keypoints(result, seen.rig, seen.names)
    mine = seen.rig.names[camera]
    there, left = in_cameras(expected, seen, [name for name in seen.rig.names if name != mine])
    if not bool((left.visible & there.valid & there.covariance.isfinite().all(-1).all(-1)).any()):
        return nothing
    noise = there.noise_px(left)
    alone, labels = in_cameras(expected, seen, [mine])
    sd = alone.sd()[labels.visible & alone.valid]
    return radii(alone, labels, noise)[:, 0], noise, float(sd[sd.isfinite()].median())
