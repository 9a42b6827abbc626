"""A body of known shape as the fused kernel's tree of one frame."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.body_models.joint_limits import default_joint_limits
from smilfit.geometry.alignment import procrustes
from smilfit.geometry.triangulation import triangulate
from smilfit.registrants.initializer import MIN_POINTS
from smilfit.registrants.second_order.kernel_terms import camera_fields
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.rigid_points import (
    Coefficients,
    RigidPoints,
    bones_at_rest,
    share_of_bone,
)
from smilfit.solvers import ChainProblem, ChainRecording, ChainState
from smilfit.structures import BodyParams, Cameras, FitResult, parameter_names

# Angles of joints without limits, rad.
ANY = 1e3


def shape_of(body: SMIL, given: BodyParams | FitResult) -> BodyParams:
    """Take what all frames share out of a fit: one body at rest, scale, shape and landmarks as given.

    Raises:
        ValueError: frames differ in what they must share, or none was fitted.
    """
    params = given.params if isinstance(given, FitResult) else given
    rows = params.transl.isfinite().all(1).nonzero().flatten()
    if not len(rows):
        raise ValueError('Tracker: shape must be of a fitted frame; got none. Give the params of a good fit.')
    shared = {n: v for n, v in params.as_dict().items() if n in parameter_names(of='body', shared=True)}
    for name, value in shared.items():
        if not torch.equal(value[rows], value[rows[:1]].expand_as(value[rows])):
            raise ValueError(
                f'Tracker: shape must be one for all frames; got several {name}. Fit with '
                'use_one_betas_per_video=True, or give the params of one frame.'
            )
    rest = body.zero_params(1).to('cpu')
    result = rest.replace(**{n: v[rows[:1]].detach().cpu().to(rest.transl) for n, v in shared.items()})
    if result.log_joint_scales is not None and not bool(result.log_joint_scales.any()):
        result = result.replace(log_joint_scales=None)
    return result


def pose_problem(
    body: SMIL,
    cameras: Cameras,
    shape: BodyParams,
    names: tuple[str, ...],
    sigma_px: float,
    pose_weight: float,
    limit_weight: float,
    motion_reach: float | None,
) -> ChainProblem:
    """Write the fit of a pose to keypoints in images as a tree, of which nothing is seen yet.

    The points are the keypoints, then, with motion, all joints: a motion term is where they are expected in space.

    Args:
        body: the body.
        cameras: that see it.
        shape: of one row, at rest.
        names: of the keypoints.
        sigma_px: width of the robust term of pixels.
        pose_weight: of squared angles.
        limit_weight: of what is beyond the limits.
        motion_reach: width of the robust term of motion, world unit; None for no such term.

    Raises:
        ValueError: a body that the kernel does not take.
    """
    like, count = shape.transl, len(names)
    none = Coefficients((), ())
    _check(body, shape, names)
    points = RigidPoints.of(body, names, shape, none)
    joint, share, offset = points.joint, points.share, points.offset
    if motion_reach is not None:
        spare = joint.shape[1] - 1
        joints = torch.nn.functional.pad(torch.arange(body.n_joints)[:, None], (0, spare))
        joint = torch.cat((joint, joints))
        share = torch.cat((share, torch.nn.functional.pad(like.new_ones(body.n_joints, 1), (0, spare))))
        offset = torch.cat((offset, offset.new_zeros(len(offset), body.n_joints, *offset.shape[2:])), 1)
        count += body.n_joints
    parents = body.tree.parents.clone()
    parents[0] = -1
    weights = like.new_full((body.n_joints,), pose_weight)
    weights[0] = 0
    return ChainProblem(
        parents=parents,
        bones=bones_at_rest(body, shape, none)[0],
        bone_dirs=None,
        start=ChainState(shape.rotations().contiguous(), like, shape.scale.log(), none.of(shape)),
        free_joints=torch.ones(body.n_joints, dtype=torch.bool),
        fit_transl=True,
        fit_scale=False,
        fit_coefficients=torch.zeros(0, dtype=torch.bool),
        point_joint=joint,
        point_share=share,
        point_offset=offset,
        xy=like.new_zeros(1, len(cameras), count, 2),
        weights2d=like.new_zeros(1, len(cameras), count),
        sigma2d=like.new_full((count,), sigma_px),
        **camera_fields(cameras, like),
        targets3d=None if motion_reach is None else like.new_zeros(1, count, 3),
        weights3d=None if motion_reach is None else like.new_zeros(1, count),
        sigma3d=None if motion_reach is None else like.new_full((count,), motion_reach),
        pose_weight=weights,
        limits=_limits(body, like),
        limit_maps=_limit_maps(body, like),
        limit_weight=limit_weight,
    )


def _limits(body: SMIL, like: Tensor) -> Tensor:
    own = body.data.joint_limits
    own = default_joint_limits(body.data) if own is None else own
    limits = torch.as_tensor(own).to(like)
    limits[0] = limits.new_tensor([-ANY, ANY])
    return limits


def _limit_maps(body: SMIL, like: Tensor) -> Tensor | None:
    data = body.data
    if data.joint_limits is None or data.joint_axes is None:
        return None
    maps = torch.as_tensor(data.joint_axes).to(like).mT.clone()
    maps[0] = torch.eye(3).to(like)
    return maps


def _check(body: SMIL, shape: BodyParams, names: tuple[str, ...]) -> None:
    points = point_set(body, names)
    reason = None
    if shape.log_joint_scales is not None or body.scaledirs is not None:
        reason = 'joint scales'
    elif body.posedirs is not None and points.landmarks is not None:
        reason = 'pose correctives of the skin'
    elif points.offsets is not None and bool((share_of_bone(body, points, points.offsets) <= 0).any()):
        reason = 'a landmark whose anchor does not hang on its bone'
    if reason is not None:
        raise ValueError(
            f'Tracker: the body must be one that the kernel takes; {body.data.name} has {reason}. '
            'Use SMPLify, frame by frame.'
        )


@dataclass(frozen=True)
class Triangulated:
    """Keypoints in space, and how much each counts.

    Args:
        points: world unit.
        weights: 0 where a point is not known.
    """

    points: Float[Tensor, 'K 3']
    weights: Float[Tensor, ' K']

    @property
    def known(self) -> Bool[Tensor, ' K']:
        """Which points are known."""
        return self.weights > 0

    @property
    def enough(self) -> bool:
        """Whether a body can be laid onto them."""
        return int(self.known.sum()) >= MIN_POINTS


def triangulated(
    cameras: Cameras, xy: Float[Tensor, 'C K 2'], weights: Float[Tensor, 'C K'], sigma_px: float
) -> Triangulated:
    """Place keypoints; those whose views contradict each other by several sigma count little.

    Args:
        cameras: float64.
        xy: px; of any value where the weight is 0.
        weights: 0 where a camera does not see a keypoint.
        sigma_px: as in the fit.
    """
    ideal, inside = cameras.undistort(xy.double()[None])
    sure = torch.where(inside[0], weights.double(), 0.0)[None]
    result = triangulate(ideal, sure, cameras.K, cameras.R, cameras.t, n_refine=2, huber_px=sigma_px)
    worst = result.residual[0].amax(0) / sigma_px
    mean = sure[0].sum(0) / (sure[0] > 0).sum(0).clamp_min(1)
    share = torch.where(result.valid[0], mean / (1 + worst.square()), 0.0)
    return Triangulated(result.points[0], share)


def laid_onto(recording: ChainRecording, state: ChainState, observed: Triangulated) -> ChainState | None:
    """Move a posed body as one piece onto points in space; None where they leave it free to turn.

    The recording is left at the posed body.
    """
    put(recording, state)
    recording.measure()
    source = recording.view.points[: len(observed.points)].double()[None]
    result = procrustes(source, observed.points[None], observed.weights[None], with_scale=False)
    if not bool(result.determined):
        return None
    rotations, rotation = state.rotations.clone(), result.rotation[0].to(state.rotations)
    rotations[0, 0] = rotation @ rotations[0, 0]
    # The body turns about its root joint, an alignment about the origin.
    root = recording.view.joints[0].double()
    moved = result.rotation[0] @ root + result.translation[0] - root
    transl = state.transl + moved.to(state.transl)
    return ChainState(rotations, transl, state.log_scale, state.coefficients)


def put(recording: ChainRecording, state: ChainState) -> None:
    """Write a state into a recording."""
    recording.state.rotations.copy_(state.rotations)
    recording.state.transl.copy_(state.transl)


def taken(recording: ChainRecording) -> ChainState:
    """Copy the state of a recording."""
    s = recording.state
    return ChainState(s.rotations.clone(), s.transl.clone(), s.log_scale, s.coefficients)
