"""The numbers that a recording's fit is judged by: cameras, each left out in turn, and what one view leaves open."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.baseline import mean_pose, place_at_prediction
from smilfit.evaluation.ellipses import radii, scaled_by_other_cameras
from smilfit.evaluation.fit_quality import errors_px, keypoints_of
from smilfit.evaluation.intervals import expected_keypoints, in_cameras
from smilfit.evaluation.verdict.body_measures import body_frames, body_values
from smilfit.evaluation.verdict.judge import (
    FRAME_FAILED,
    FRAMES_FAILED,
    Measured,
    Threshold,
    Verdict,
    judge,
)
from smilfit.evaluation.verdict.label_measures import (
    FrameKeypoints,
    camera_medians,
    extents_px,
    kept_share,
    keypoint_excess,
    left_out_triangulation_px,
    triangulation_px,
    without_camera,
    worst_camera,
)
from smilfit.evaluation.verdict.refits import (
    Fit,
    Inputs,
    changed_keypoints,
    fitted_keypoints,
    null_maps,
    spread_rows,
)
from smilfit.io import triangulate_keypoints
from smilfit.registrants import OneViewAmbiguity
from smilfit.registrants.recovery import failure_sentence
from smilfit.structures import FitCovariance, FitResult, Keypoints2d, Keypoints3d


def view_frames(
    body: SMIL, result: FitResult, doubt: OneViewAmbiguity | None = None
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Measure the doubt of one view, frame by frame, of all frames of a fit.

    Args:
        result: its fit; its covariance is used where there is one.
        doubt: what the other starts of each frame came to.

    Returns:
        Numbers by measure, and of the doubt its reasons.
    """
    matches: dict[str, np.ndarray] = {}
    notes: dict[str, tuple[str, ...]] = {}
    if doubt is not None:
        doubted = torch.where(result.fitted.cpu(), doubt.doubted.cpu().double(), torch.nan)
        matches['view_doubt'], notes['view_doubt'] = doubted.numpy(), doubt.reasons
    if result.covariance is not None:
        matches['yaw_sd'] = rotation_sd_deg(body, result.covariance).cpu().numpy()
        matches['depth_sd'] = depth_sd(body, result, result.covariance).cpu().numpy()
    return matches, notes


def rotation_sd_deg(body: SMIL, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Return the standard deviation of the body's turn about the worst of the world's axes, degrees."""
    columns = [f'{body.joint_names[0]}.turn_{axis}' for axis in 'xyz']
    return _of(covariance, columns).amax(1) * (180 / math.pi)


def depth_sd(body: SMIL, result: FitResult, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Return the standard deviation of the body's place along the worst of the world's axes, in its lengths.

    Under one camera that is depth, but for the turn of its axes.
    """
    size = body.rest_size * result.params.scale.cpu().double()
    return _of(covariance, [f'transl_{axis}' for axis in 'xyz']).amax(1) / size


def _of(covariance: FitCovariance, columns: list[str]) -> Tensor:
    """Return the standard deviations of some unknowns; NaN where they were not fitted."""
    sd, known = covariance.parameter_sd().cpu().double(), list(covariance.columns)
    if any(name not in known for name in columns):
        return torch.full((len(sd), len(columns)), torch.nan).double()
    return sd[:, [known.index(name) for name in columns]]


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


def leave_out(fit: Fit, inputs: Inputs, observed: Keypoints2d, camera: int) -> LeftOutCamera:
    """Fit without a camera, and measure there.

    Points in space, which that camera may have had a part in, are triangulated anew from the others.

    Args:
        fit: fits.
        observed: the labels of these frames, by all cameras.
        camera: which is left out.
    """
    others = triangulate_keypoints(without_camera(observed, camera))
    blind = [
        changed_keypoints(i, {Keypoints2d: _blinded(camera), Keypoints3d: _renewed(others)}) for i in inputs
    ]
    result = fit(blind)
    px = errors_px(observed, fitted_keypoints(result, observed.names))[:, camera]
    trivial = errors_px(observed, _mean_pose(others))[:, camera]
    return LeftOutCamera(px, trivial, *_in_ellipses(result, observed, camera, px))


def _blinded(camera: int) -> Callable[[Keypoints2d], Keypoints2d]:
    return lambda keypoints: without_camera(keypoints, camera)


def _renewed(others: Keypoints3d) -> Callable[[Keypoints3d], Keypoints3d]:
    """Put points where other cameras see them; those that they do not see are missing."""
    place: Mapping[str, int] = {name: k for k, name in enumerate(others.names)}

    def renew(given: Keypoints3d) -> Keypoints3d:
        known = [name in place for name in given.names]
        at = [place.get(name, 0) for name in given.names]
        valid = others.confidence[:, at].to(given.confidence) * torch.tensor(known)
        return replace(
            given,
            xyz=others.xyz[:, at].to(given.xyz),
            confidence=torch.where(given.visible, valid, 0.0),
        )

    return renew


def _mean_pose(points: Keypoints3d) -> Float[Tensor, 'B K 3']:
    valid = points.visible.cpu().numpy()
    xyz = points.xyz.double().cpu().numpy()
    if valid.sum(1).max(initial=0) < LEAST_KEYPOINTS:
        return torch.full(points.xyz.shape, torch.nan, dtype=torch.float64)
    xyz[~valid] = float('nan')
    return torch.from_numpy(place_at_prediction(mean_pose(points.xyz.double().cpu().numpy(), valid), xyz))


def _in_ellipses(
    result: FitResult, observed: Keypoints2d, camera: int, px: Tensor
) -> tuple[Float[Tensor, 'B K'], float, float]:
    nothing = torch.full_like(px, torch.nan), float('nan'), float('nan')
    covariance = result.covariance
    if covariance is None or not set(observed.names) <= set(covariance.keypoint_names):
        return nothing
    expected = expected_keypoints(result, observed.rig, observed.names)
    mine = observed.rig.names[camera]
    valid, left = in_cameras(expected, observed, [name for name in observed.rig.names if name != mine])
    if not bool((left.visible & valid.valid & valid.covariance.isfinite().all(-1).all(-1)).any()):
        return nothing
    noise = valid.noise_px(left)
    alone, labels = in_cameras(expected, observed, [mine])
    sd = alone.sd()[labels.visible & alone.valid]
    return radii(alone, labels, noise)[:, 0], noise, float(sd[sd.isfinite()].median())


# Frames that are fitted again, and random maps that are tried.
N_REFITTED, N_SHUFFLED = 12, 3


def n_steps(n_cameras: int) -> int:
    """Return how often `session_numbers` tells what it does, of a session of so many cameras."""
    return 2 + (n_cameras if n_cameras > 2 else 0)


@dataclass(frozen=True)
class CameraNumbers:
    """One camera's medians, px: of the fit, of the labels' triangulation, and both where the camera is left out.

    NaN is what could not be measured.

    Args:
        labels_kept: the share of its keypoints that it has labels of.
        triangulation_px: of the labels' triangulation.
        left_out_fit_px: of a fit without this camera.
        left_out_triangulation_px: of the other cameras' triangulation.
        left_out_mean_pose_px: of their mean pose, put where they have each frame's animal.
        left_out_inside: share of the camera's labels in ellipses that should hold 90 %, after the scale.
        left_out_scale: of their standard deviations, one number for all labels, by the other cameras.
        left_out_sd_px: what the fit leaves open there, before the scale.
        label_noise_px: of the other cameras' labels.
    """

    camera: str
    labels_kept: float
    fit_px: float
    triangulation_px: float
    left_out_fit_px: float
    left_out_triangulation_px: float
    left_out_mean_pose_px: float = float('nan')
    left_out_inside: float = float('nan')
    left_out_scale: float = float('nan')
    left_out_sd_px: float = float('nan')
    label_noise_px: float = float('nan')


@dataclass(frozen=True)
class SessionNumbers:
    """Numbers by measure of the session and of its frames, notes on frames' numbers, and the table of cameras.

    `keypoints` has a number of every keypoint of every frame.
    """

    values: Mapping[str, Measured]
    frames: Mapping[str, Float[np.ndarray, ' B']]
    cameras: tuple[CameraNumbers, ...]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keypoints: FrameKeypoints | None = None


def session_numbers(
    body: SMIL,
    result: FitResult,
    observed: Keypoints2d,
    inputs: Inputs,
    fit: Callable[[Inputs, Tensor], FitResult],
    stiff: Callable[[Inputs, Tensor], FitResult],
    doubt: OneViewAmbiguity | None = None,
    step: Callable[[str], None] = lambda what: None,
) -> SessionNumbers:
    """Measure all that a recording's fit is judged by.

    Args:
        result: its fit, of B frames.
        observed: the labels of these frames and their cameras.
        inputs: what was fitted to, B frames each.
        fit: fits such inputs of fewer frames, whose rows are given, the way `result` was made.
        stiff: fits them likewise with heavier priors (`stiffened`), to compare maps.
        doubt: of one camera, what the other starts of each frame came to, where it had several.
        step: told what is done next.
    """
    step('measuring')
    rows = result.fitted.cpu()
    params = result.params[rows.to(result.params.transl.device)].to('cpu')
    labels = observed if bool(rows.all()) else observed[rows]
    extent = extents_px(labels)
    errors = errors_px(labels, keypoints_of(body, result.params, labels.names)[rows])
    own = triangulation_px(labels)
    values, frames = body_values(body, params, labels.rig.unit), body_frames(body, params, labels)
    frames['frame_error'] = (errors / extent.unsqueeze(-1)).flatten(1).nanmedian(1).values.numpy()
    notes: dict[str, tuple[str, ...]] = {}
    whole = {n: at_places(v, rows) for n, v in frames.items()}
    few = spread_rows(rows, N_REFITTED)
    if len(observed.rig) == 1:
        of_view, notes = view_frames(body, result, doubt)
        whole |= of_view
    keypoints = None
    if len(observed.rig) > 1:
        excess = keypoint_excess(errors, own, extent)
        keypoints = FrameKeypoints(labels.names, at_places(excess.numpy(), rows))
    table = _cameras(labels, errors, own, extent, values)
    chosen = [i[few] for i in inputs]

    def again(changed: Inputs) -> FitResult:
        return fit(changed, few)

    if len(table) > 2:
        table = _left_out(again, chosen, observed[few], extent, table, values, step)
    _against_null_maps(body, lambda changed: stiff(changed, few), chosen, values, step)
    return SessionNumbers(values, whole, tuple(table), notes, keypoints)


def _cameras(
    observed: Keypoints2d, errors: Tensor, own: Tensor, extent: Tensor, values: dict[str, Measured]
) -> list[CameraNumbers]:
    """Compare the fit with the labels' own triangulation; fills in `values`."""
    names, size = observed.rig.names, extent[0]
    several = len(names) > 1
    fitted, given = camera_medians(errors), camera_medians(own)
    values['fit_error'] = Measured(*worst_camera(fitted / size, names))
    kept = kept_share(observed)
    at = int(kept.argmin())
    values['labels_kept'] = Measured(float(kept[at]), names[at])
    if several and bool((~own.isnan()).any()):
        valid = ~own.isnan()
        values['fit_excess'] = Measured(*worst_camera((camera_medians(errors, valid) - given) / size, names))
        values['triangulation'] = Measured(*worst_camera(given / size, names))
    nothing = float('nan')
    rows = zip(names, kept.tolist(), fitted.tolist(), given.tolist())
    return [CameraNumbers(n, k, f, g, nothing, nothing) for n, k, f, g in rows]


def _left_out(
    fit: Fit,
    inputs: Inputs,
    observed: Keypoints2d,
    extent: Tensor,
    table: list[CameraNumbers],
    values: dict[str, Measured],
    step: Callable[[str], None],
) -> list[CameraNumbers]:
    """Fit without each camera in turn; fills in `values`."""
    own, result, medians = left_out_triangulation_px(observed), {}, []
    for c, row in enumerate(table):
        step(f'fitting without camera {row.camera}')
        out = result[row.camera] = leave_out(fit, inputs, observed, c)
        # The same points in both: where the others see a keypoint twice at least.
        valid = ~own[:, c].isnan()
        medians.append([_median(e, valid) for e in (out.px, own[:, c], out.mean_pose_px)])
    inside = scaled_by_other_cameras({name: out.radii for name, out in result.items()})
    rows = [
        replace(
            row,
            left_out_fit_px=fit_px,
            left_out_triangulation_px=triangulated_px,
            left_out_mean_pose_px=mean_pose_px,
            left_out_inside=inside[row.camera].inside,
            left_out_scale=inside[row.camera].scale,
            left_out_sd_px=result[row.camera].fit_sd_px,
            label_noise_px=result[row.camera].noise_px,
        )
        for row, (fit_px, triangulated_px, mean_pose_px) in zip(table, medians)
    ]
    fitted, given, _ = (torch.tensor(m).double() for m in zip(*medians))
    names, size = observed.rig.names, extent[0]
    if bool((~given.isnan()).any()):
        values['left_out_labels'] = Measured(*worst_camera(given / size, names))
        values['left_out_excess'] = Measured(*worst_camera((fitted - given) / size, names))
    return rows


def _median(errors: Tensor, valid: Tensor) -> float:
    return float(errors[valid].nanmedian()) if bool(valid.any()) else float('nan')


def _against_null_maps(
    body: SMIL, fit: Fit, inputs: Inputs, values: dict[str, Measured], step: Callable[[str], None]
) -> None:
    """Compare with wrong maps; fills in `values`."""
    step('fitting with shuffled keypoints')
    result = null_maps(fit, inputs, body.data, N_SHUFFLED)
    if result is not None:
        values['shuffled_maps'] = Measured(min(result.shuffled))
    if result is not None and result.swapped is not None:
        values['swapped_sides'] = Measured(result.swapped)


def at_places(values: np.ndarray, rows: Tensor) -> np.ndarray:
    """Put the numbers of fitted frames at their places; a frame that was not fitted has none."""
    result = np.full((len(rows), *values.shape[1:]), np.nan)
    result[rows.numpy()] = values
    return result


def with_failed_frames(numbers: SessionNumbers, result: FitResult) -> SessionNumbers:
    """Add how many frames of a fit have failed, and which; numbers of one without such stay as they are."""
    failed = result.report.get('frames_failed')
    if failed is None:
        return numbers
    count = len(result.converged)
    rows, causes = np.full(count, np.nan), [''] * count
    for row, cause in zip(failed['rows'], failed['causes']):
        rows[row], causes[row] = 1.0, cause
    notes = Measured(float(failed['count']), failure_sentence(failed))
    return replace(
        numbers,
        values={**numbers.values, FRAMES_FAILED: notes},
        frames={**numbers.frames, FRAME_FAILED: rows},
        notes={**numbers.notes, FRAME_FAILED: causes},
    )


def judged_by_failures(result: FitResult, thresholds: Mapping[str, Threshold]) -> Verdict | None:
    """Judge a fit by its failed frames alone, as where no other has a fit; None where none has failed."""
    if 'frames_failed' not in result.report:
        return None
    matches = with_failed_frames(SessionNumbers({}, {}, ()), result)
    return judge(matches.values, thresholds, matches.frames, matches.notes)
