"""Whether a fit to one view may have the body turned wrongly: what its other starts came to."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.structures import Cameras, FitResult, Keypoints2d


@dataclass(frozen=True)
class AmbiguityThresholds:
    """When a frame is doubted. Losses are in units of noise, as the weights of configs/fit/smalify*.py give them.

    The usual ones were chosen on 150 made pictures of a family of quadrupeds, other animals and seeds than those of
    docs/benchmarks.md, a third of the keypoints missing and landmarks off by 3 % of the body's length: 24 % were
    doubted, of the others the side of the image plane was right in 94 %, and 2 % were turned by more than 40 degrees.

    Args:
        basin_deg: starts that end farther than this from the best are another answer.
        margin: another answer must cost so much more.
        sign_margin: so must an answer whose trunk points to the other side of the image plane.
        flat_deg: below this angle of the trunk to the image plane its side is not told.
        least_keypoints: fewer do not tell.
        least_spread: of the keypoints across their longest direction, as a share of that; a line tells no turn about
            it.
    """

    basin_deg: float = 40.0
    margin: float = 4.0
    sign_margin: float = 6.0
    flat_deg: float = 5.0
    least_keypoints: int = 8
    least_spread: float = 0.1


@dataclass(frozen=True)
class OneViewAmbiguity:
    """How sure a fit to one view is of which way the body points; NaN and doubted where nothing was fitted.

    Args:
        doubted: whether the body may well be turned otherwise.
        reasons: in words; empty where there is no doubt.
        margin: how much more the best answer costs that is turned by more than `basin_deg`, in units of noise;
            infinite where no start ended there.
        sign_margin: the same of answers that point to the other side of the image plane.
        depth_deg: the trunk's angle to the image plane, positive away from the camera.
        trunk_sd_deg: standard deviation of the trunk's direction by the fit's covariance, which knows of no other
            answer; NaN where the fit has none.
        n_keypoints: seen.
        spread: of the keypoints across their longest direction, as a share of that.
    """

    doubted: Bool[Tensor, ' B']
    reasons: tuple[str, ...]
    margin: Float[Tensor, ' B']
    sign_margin: Float[Tensor, ' B']
    depth_deg: Float[Tensor, ' B']
    trunk_sd_deg: Float[Tensor, ' B']
    n_keypoints: Int[Tensor, ' B']
    spread: Float[Tensor, ' B']

    def report(self) -> dict[str, object]:
        """Return which frames are doubted, and why."""
        rows = [row for row, reason in enumerate(self.reasons) if reason]
        return {'count': len(rows), 'rows': rows, 'reasons': [self.reasons[row] for row in rows]}


def one_view_ambiguity(
    result: FitResult,
    data: BodyModelData,
    cameras: Cameras,
    keypoints: Keypoints2d | None = None,
    thresholds: AmbiguityThresholds | None = None,
) -> OneViewAmbiguity:
    """Compare what each frame's fit costs with the best answer that is turned otherwise.

    The losses of starts are those of the stages that compared them; where a frame's least is more than noise of its
    keypoints explains, differences count less by as much: models and landmarks that fit badly are less sure. The
    answer that later stages went on from is compared, even where it is not the cheapest (a video's is the path's).

    Args:
        result: of `SMALify`.
        data: the body model's, for the trunk's direction.
        cameras: one a frame, or one for all.
        keypoints: what was seen; None where there were masks alone.
        thresholds: when to doubt.

    Raises:
        ValueError: a fit without starts.
    """
    limits = thresholds or AmbiguityThresholds()
    if result.start_losses is None or result.start_orients is None:
        raise ValueError('one_view_ambiguity: the fit must have start_losses; it has none. Fit by SMALify.')
    losses = result.start_losses.double().nan_to_num(torch.inf, torch.inf)
    R = (cameras.R if cameras.R.ndim == 4 else cameras.R.unsqueeze(0))[:, 0].to(losses)
    matches = trunk_direction(data, result.params.global_orient.to(losses), R)
    every = trunk_direction(data, result.start_orients.to(losses), R.unsqueeze(1))
    rotated = axis_angle_to_rotmat(result.start_orients.to(losses))
    chosen = axis_angle_to_rotmat(result.params.global_orient.to(losses)).unsqueeze(1)
    angle = torch.rad2deg(((((rotated * chosen).sum((-1, -2)) - 1) / 2).clamp(-1, 1)).acos())
    known = result.fitted.to(losses.device)
    own = losses.masked_fill(~(angle < limits.basin_deg), torch.inf).amin(1)
    # A later stage may have left the basin of all starts.
    own = torch.where(own.isfinite(), own, losses.amin(1))

    count, spread = _extent(keypoints, len(losses), losses)
    # Two squared residuals a keypoint: what is above is too much for noise, and makes differences less certain.
    noise = (losses.amin(1) / (2 * count.clamp_min(1))).clamp_min(1.0)
    noise = torch.where(count > 0, noise, torch.ones_like(noise))

    def margin(other: Tensor) -> Tensor:
        gap = (losses.masked_fill(~other, torch.inf).amin(1) - own) / noise
        return torch.where(known, gap, torch.nan)

    far, across = angle > limits.basin_deg, every[..., 2].sign() != matches[:, None, 2].sign()
    notes = OneViewAmbiguity(
        doubted=~known,
        reasons=(),
        margin=margin(far),
        sign_margin=margin(across),
        depth_deg=torch.rad2deg(matches[:, 2].clamp(-1, 1).asin()),
        trunk_sd_deg=_trunk_sd_deg(result, data, losses),
        n_keypoints=count,
        spread=spread,
    )
    reasons = tuple(_reason(notes, row, limits, keypoints is not None) for row in range(len(losses)))
    doubted = torch.tensor([bool(reason) for reason in reasons], device=losses.device)
    return OneViewAmbiguity(**{**vars(notes), 'doubted': doubted, 'reasons': reasons})


def trunk_direction(
    data: BodyModelData, orient: Float[Tensor, '*b 3'], R: Float[Tensor, '*#b 3 3']
) -> Float[Tensor, '*b 3']:
    """Return the trunk's direction as cameras of rotation R see it: +x right, +y down, +z away.

    It is the model's forward axis, turned as the root is; of a model that states none, the axis along which its
    vertices spread most, one way or the other.
    """
    along = _forward(data).to(orient)
    return (R @ (axis_angle_to_rotmat(orient) @ along.unsqueeze(-1))).squeeze(-1)


def _forward(data: BodyModelData) -> Float[Tensor, '3']:
    if data.forward_axis is None:
        points = torch.as_tensor(data.v_template).double()
        return torch.linalg.svd(points - points.mean(0), full_matrices=False).Vh[0]
    forward = torch.zeros(3, dtype=torch.float64)
    forward['xyz'.index(data.forward_axis[1])] = 1.0 if data.forward_axis[0] == '+' else -1.0
    return forward


def _extent(keypoints: Keypoints2d | None, batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Count keypoints, and give the ratio of their standard deviations across and along."""
    if keypoints is None:
        return torch.zeros(batch, dtype=torch.long, device=like.device), torch.full_like(
            like[:, 0], torch.nan
        )
    valid = keypoints.visible.flatten(1).to(like)
    xy = keypoints.xy.flatten(1, 2).to(like)
    xy = torch.where((valid > 0).unsqueeze(-1), xy, torch.zeros_like(xy))
    total = valid.sum(1).clamp_min(1)[:, None, None]
    off = valid.unsqueeze(-1) * (xy - xy.sum(1, keepdim=True) / total)
    along = torch.linalg.eigvalsh(off.mT @ off / total).clamp_min(0).sqrt()
    return valid.sum(1).long(), along[:, 0] / along[:, 1].clamp_min(1e-9)


def _trunk_sd_deg(result: FitResult, data: BodyModelData, like: Tensor) -> Tensor:
    """Return the larger part of the root's turns across the trunk, from their standard deviations."""
    covariance = result.covariance
    columns = [f'{data.joint_names[0]}.turn_{axis}' for axis in 'xyz']
    if covariance is None or not set(columns) <= set(covariance.columns):
        return torch.full_like(like[:, 0], torch.nan)
    at = [covariance.columns.index(name) for name in columns]
    sd = covariance.parameter_sd()[:, at].to(like)
    along = trunk_direction(data, result.params.global_orient.to(like), torch.eye(3).to(like))
    # What turns about the trunk does not turn it.
    return torch.rad2deg((sd.square() * (1 - along.square())).sum(1).sqrt())


def _reason(ambiguity: OneViewAmbiguity, row: int, limits: AmbiguityThresholds, with_keypoints: bool) -> str:
    if bool(ambiguity.doubted[row]):
        return 'not fitted'
    result = []
    margin, sign = float(ambiguity.margin[row]), float(ambiguity.sign_margin[row])
    depth, spread = float(ambiguity.depth_deg[row]), float(ambiguity.spread[row])
    count = int(ambiguity.n_keypoints[row])
    if margin < limits.margin:
        result.append(
            f'a body turned by more than {limits.basin_deg:.0f} degrees costs {max(margin, 0.0):.1f} more'
        )
    if sign < limits.sign_margin:
        result.append(f'one that points to the other side of the image plane costs {max(sign, 0.0):.1f} more')
    if abs(depth) < limits.flat_deg:
        result.append(f'the trunk lies in the image plane to {abs(depth):.0f} degrees')
    if with_keypoints and count < limits.least_keypoints:
        result.append(f'{count} keypoints')
    if with_keypoints and spread < limits.least_spread:
        result.append('the keypoints lie on a line')
    return '; '.join(result)
