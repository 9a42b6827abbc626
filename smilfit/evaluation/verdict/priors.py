"""What a fit takes of the room that the model gives it: shape, offsets of landmarks, turns of joints."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.body_models.joint_limits import default_joints, own_components
from smilfit.losses.shape_prior import whitening_of
from smilfit.structures import BodyParams
from smilfit.structures.body import MILLIMETRES

# Limits are stated by component of the axis-angle, and what no keypoint shows (a bone's twist) strays beyond: joints
# count from so many degrees.
BEYOND_DEG = 15.0
# Where a model states no limits: no joint of a living animal is often turned so far from rest.
FAR_TURN_DEG = 100.0


def betas_sd(body: SMIL, params: BodyParams) -> Float[Tensor, 'B S']:
    """Return each shape coefficient in standard deviations of the model's shape space, along its main axes.

    Of a model that knows several kinds of animals: of the nearest one.
    """
    data, betas = body.data, params.betas.double()
    mixture = data.shape_mixture
    if mixture is None:
        if data.shape_cov is None:
            mean = 0.0 if data.shape_mean is None else torch.as_tensor(data.shape_mean).to(betas)
            return (betas - mean).abs()
        mean = (
            torch.zeros(len(data.shape_cov)) if data.shape_mean is None else torch.as_tensor(data.shape_mean)
        )
        means, covs = mean.to(betas).unsqueeze(0), torch.as_tensor(data.shape_cov).to(betas).unsqueeze(0)
    else:
        means, covs = (torch.as_tensor(x).to(betas) for x in (mixture.means, mixture.covs))
    most = float(covs.diagonal(dim1=1, dim2=2).max())
    factors = torch.stack([whitening_of(cov, most) for cov in covs]).to(betas)
    white = torch.einsum('bms,mst->bmt', betas.unsqueeze(1) - means, factors)
    nearest = white.square().sum(-1).argmin(1)
    return white[torch.arange(len(white)), nearest].abs()


def landmark_offsets_sd(body: SMIL, params: BodyParams) -> Float[Tensor, 'B K']:
    """Return how far each landmark with an unknown offset is from where it is expected, in its standard deviations.

    Of its three directions the farthest stands. Rows as `body.data.unknown_landmarks`; none where none was fitted.
    """
    if params.landmark_offsets is None:
        return params.transl.new_zeros(params.batch_size, 0)
    landmarks = body.data.landmarks
    sd = [landmarks[name].sd for name in body.data.unknown_landmarks]
    return params.landmark_offsets.abs().amax(-1) / params.landmark_offsets.new_tensor(sd)


def landmark_excess(body: SMIL, params: BodyParams) -> Float[Tensor, 'B K']:
    """Return how much farther each landmark with an unknown offset is than the lookup expects, in body lengths.

    Of an offset with the standard deviation s in each direction, `3 s^2` of its squared length are expected; the root
    of what it has beyond that counts, 0 where it has less. Rows as `body.data.unknown_landmarks`.
    """
    if params.landmark_offsets is None:
        return params.transl.new_zeros(params.batch_size, 0)
    landmarks = body.data.landmarks
    sd = params.landmark_offsets.new_tensor([landmarks[name].sd for name in body.data.unknown_landmarks])
    beyond = params.landmark_offsets.square().sum(-1) - 3 * sd.square()
    return beyond.clamp_min(0).sqrt() / body.rest_size


def part_sizes_sd(body: SMIL, params: BodyParams) -> Float[Tensor, 'B G']:
    """Return the size of each part in standard deviations of the model file; none where no size was fitted."""
    if params.part_sizes is None:
        return params.transl.new_zeros(params.batch_size, 0)
    return params.part_sizes.abs() / params.part_sizes.new_tensor([p.sd for p in body.part_sizes.values()])


def limits_share(body: SMIL, params: BodyParams) -> Float[Tensor, ' B']:
    """Return the share of joints that stand beyond a limit of the model, by `BEYOND_DEG` at least.

    Of joints whose limits nobody stated: that are turned by more than `FAR_TURN_DEG` from rest.
    """
    pose = params.as_axis_angle().body_pose
    far = pose.norm(dim=-1) > math.radians(FAR_TURN_DEG)
    if body.data.joint_limits is None:
        return far.double().mean(1)
    limits = torch.as_tensor(body.data.joint_limits[1:]).to(pose)
    axes = body.data.joint_axes
    own = own_components(pose, None if axes is None else torch.as_tensor(axes[1:]))
    beyond = ((limits[..., 0] - own).relu() + (own - limits[..., 1]).relu()).norm(dim=-1)
    guessed = torch.tensor(default_joints(body.data))[1:]
    return torch.where(guessed.to(far.device), far, beyond > math.radians(BEYOND_DEG)).double().mean(1)


def size_ratio(body: SMIL, params: BodyParams, unit: str | None) -> float | None:
    """Return how many times larger, or smaller, fitted bodies are than the model says; at least 1, the median.

    Args:
        body: the body.
        params: of the fit.
        unit: of the world.

    Returns:
        None where the model's unit or the world's is not a known length, or there is no body.
    """
    own = body.data.unit
    if own not in MILLIMETRES or unit not in MILLIMETRES or not params.batch_size:
        return None
    ratio = float(params.scale.double().median()) * MILLIMETRES[unit] / MILLIMETRES[own]
    return max(ratio, 1 / ratio) if ratio > 0 else math.inf


def camera_distance(body: SMIL, params: BodyParams, centres: Float[Tensor, '*b C 3']) -> Float[Tensor, 'B C']:
    """Return how far the root is from each camera, in the body's lengths."""
    size = body.rest_size * params.scale
    return (params.transl.unsqueeze(1) - centres.to(params.transl)).norm(dim=-1) / size.unsqueeze(1)
