"""A stage told to the fused kernel: which terms it takes, and how bodies become trees of joints."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    BodyState,
    JointLimitHandler,
    Keypoint3dMSEHandler,
    MultiviewKeypoint2dMSEHandler,
)
from smilfit.losses import JointLimitLoss, KeypointMSELoss, PoseRegLoss, ShapePriorLoss
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.stage_task import ActiveTerm, FitState, StageTask
from smilfit.solvers import ChainProblem, ChainSolution, ChainState
from smilfit.structures import BodyOutput, BodyParams

# What a stage may move by the kernel.
MOVABLE = ('betas', 'log_scale')


@dataclass
class ChainTerms:
    """What handlers say, gathered as the arguments of a `ChainProblem`."""

    joints: list[Tensor] = field(default_factory=list)
    seen3d: list[dict[str, Tensor]] = field(default_factory=list)
    seen2d: list[dict[str, Tensor]] = field(default_factory=list)
    arguments: dict[str, object] = field(default_factory=dict)


def unsupported_reason(task: StageTask, layout: Layout, params: BodyParams) -> str | None:
    """Say what of a stage the kernel cannot take; None if it takes all."""
    body = task.body
    for name, _ in layout.extras:
        if name not in MOVABLE:
            return f'fit_{name}'
    shared = {bool(name in dict(layout.shared)) for name, _ in layout.extras}
    if len(shared) > 1:
        return 'a shape that is shared in part'
    if params.log_joint_scales is not None or body.scaledirs is not None:
        return 'joint scales'
    if body.transdirs is not None and 'betas' in dict(layout.extras):
        return 'joint offsets that betas drive'
    for term in task.terms:
        handler = term.handler
        known = TERMS.get(type(handler))
        if known is None or type(handler.loss) is not known[0]:
            return f'{type(handler).__name__} {handler.handler_key!r} with {type(handler.loss).__name__}'
        if term.related_input is not None:
            names = term.related_input.keypoints.names
            if len(body.keypoint_rows(tuple(names)).vertices):
                return f'keypoints on the skin ({handler.handler_key!r})'
    taken = [type(t.handler) for t in task.terms]
    priors = [kind for kind in taken if kind not in (Keypoint3dMSEHandler, MultiviewKeypoint2dMSEHandler)]
    if taken.count(MultiviewKeypoint2dMSEHandler) > 1 or len(set(priors)) < len(priors):
        return 'two terms of one kind'
    if not set(taken) - set(priors):
        return 'a stage without keypoints'
    return None


def chain_problem(task: StageTask, layout: Layout, start: FitState) -> ChainProblem:
    """Write a stage as a tree of joints with seen points; `unsupported_reason` must be None."""
    params = start.params
    terms = ChainTerms()
    weights = dict(task.keypoint_weights)
    found = {'camera_shift': start.camera_shift, 'log_focal': start.log_focal}
    state = BodyState(task.body, params, BodyOutput(), weights, **found)
    for term in task.terms:
        TERMS[type(term.handler)][1](terms, term, state)
    fits_betas = 'betas' in dict(layout.extras)
    free = torch.zeros(task.body.n_joints, dtype=torch.bool, device=params.transl.device)
    free[layout.free] = True
    begin = ChainState(
        params.rotations().contiguous(), params.transl.clone(), params.scale.log(), params.betas.clone()
    )
    bones, shapedirs = _bones(task, params, fits_betas)
    parents = task.body.tree.parents.clone()
    parents[0] = -1
    offset = params.transl.new_zeros(sum(len(j) for j in terms.joints), 3)
    return ChainProblem(
        parents=parents,
        bones=bones,
        bone_dirs=shapedirs,
        start=begin,
        free_joints=free,
        fit_transl=layout.transl,
        fit_scale='log_scale' in dict(layout.extras),
        fit_coefficients=torch.full_like(params.betas[0], fits_betas, dtype=torch.bool),
        point_joint=torch.cat(terms.joints)[:, None],
        point_share=torch.ones_like(offset[:, :1]),
        point_offset=offset[None, :, None],
        **_points(terms),
        **terms.arguments,
    )


def _bones(task: StageTask, params: BodyParams, fits_betas: bool) -> tuple[Tensor, Tensor | None]:
    """Give each joint's offset from its parent at rest, and how it changes with a shape that is fitted."""
    body = task.body
    above = body.tree.parents[1:]

    def steps(places: Tensor) -> Tensor:
        return torch.cat((places[:, :1], places[:, 1:] - places.index_select(1, above)), 1)

    betas = torch.zeros_like(params.betas[:1]) if fits_betas else params.betas
    if bool((betas == betas[:1]).all()):
        betas = betas[:1]
    rest = body.rest_joints_of(params, body.rest_shape(betas))
    bones = steps(rest)
    offsets = body.joint_scales_and_offsets(params)[1]
    bones = bones if offsets is None else bones + offsets
    moved = fits_betas and body.joint_shapedirs is not None
    return bones, steps(body.joint_shapedirs).permute(1, 2, 0).contiguous() if moved else None


def _points(terms: ChainTerms) -> dict[str, Tensor | None]:
    """Join the points of all terms; a point that a term does not speak of has the weight 0 there."""
    sizes = [len(j) for j in terms.joints]
    found: dict[str, Tensor | None] = {}
    for parts, weight, point_dim in ((terms.seen3d, 'weights3d', 1), (terms.seen2d, 'weights2d', 2)):
        if not any(parts):
            continue
        sample = next(p for p in parts if p)
        for name, value in sample.items():
            dim = point_dim if name in (weight, 'targets3d', 'xy') else 0
            if name.startswith('camera'):
                found[name] = value
                continue
            fill = 1.0 if name.startswith('sigma') else 0.0
            blocks = []
            for part, size in zip(parts, sizes):
                shape = list(value.shape)
                shape[dim] = size
                blocks.append(part[name] if part else value.new_full(shape, fill))
            found[name] = torch.cat(blocks, dim)
    return found


def _add_points(terms: ChainTerms, term: ActiveTerm, state: BodyState) -> Tensor:
    """Note the joints of a term's points, and give every observation's weight."""
    seen = term.related_input.keypoints
    rows = state.body.keypoint_rows(tuple(seen.names))
    terms.joints.append(rows.joints.index_select(0, rows.order))
    terms.seen3d.append({})
    terms.seen2d.append({})
    # At a distance of zero a robust loss has its whole weight.
    zero = torch.zeros_like(seen.confidence)
    names = state.weights_of(seen.names)
    return term.handler.loss.reweight(zero, seen.confidence, names, term.weight, term.reduction)[1]


def _sigma(term: ActiveTerm, like: Tensor) -> Tensor:
    sigma = term.handler.loss.sigma
    count = len(term.related_input.keypoints.names)
    return like.new_full((count,), float('inf') if sigma is None else sigma)


def _points3d(terms: ChainTerms, term: ActiveTerm, state: BodyState) -> None:
    weights = _add_points(terms, term, state)
    seen = term.related_input.keypoints
    terms.seen3d[-1] = {'targets3d': seen.xyz, 'weights3d': weights, 'sigma3d': _sigma(term, weights)}


def _points2d(terms: ChainTerms, term: ActiveTerm, state: BodyState) -> None:
    weights = _add_points(terms, term, state)
    seen = term.related_input.keypoints
    cameras = state.corrected(seen.cameras)
    found = {'camera_K': cameras.K, 'camera_R': cameras.R, 'camera_t': cameras.t}
    if cameras.dist is not None:
        found |= {'camera_dist': cameras.dist, 'camera_fold': cameras.fold}
    batched = cameras.K.ndim == 4
    found = {name: (value if batched else value.unsqueeze(0)).to(seen.xy) for name, value in found.items()}
    terms.seen2d[-1] = {'xy': seen.xy, 'weights2d': weights, 'sigma2d': _sigma(term, weights), **found}


def _pose(terms: ChainTerms, term: ActiveTerm, state: BodyState) -> None:
    curvature = term.handler.loss.curvature(state.params.body_pose, term.weight, term.reduction)
    weight = 0.5 * curvature[0, :, 0, 0]
    terms.arguments['pose_weight'] = torch.cat((weight.new_zeros(1), weight))


def _limits(terms: ChainTerms, term: ActiveTerm, state: BodyState) -> None:
    loss, pose = term.handler.loss, state.params.body_pose
    share = loss.share(pose, None, term.weight, term.reduction)
    wide = pose.new_tensor([-1e3, 1e3]).expand(1, 3, 2)
    terms.arguments |= {'limits': torch.cat((wide, loss.limits.to(pose))), 'limit_weight': float(share)}


def _betas(terms: ChainTerms, term: ActiveTerm, state: BodyState) -> None:
    betas, loss = state.params.betas, term.handler.loss
    precision = 0.5 * loss.curvature(betas, term.weight, term.reduction)[0]
    mean = torch.zeros_like(betas[0]) if loss.mean is None else loss.mean.to(betas)
    terms.arguments |= {'coefficient_precision': precision, 'coefficient_mean': mean}


# The loss that each kind of handler must have, and how the term is told.
TERMS: dict[type, tuple[type, Callable[[ChainTerms, ActiveTerm, BodyState], None]]] = {
    Keypoint3dMSEHandler: (KeypointMSELoss, _points3d),
    MultiviewKeypoint2dMSEHandler: (KeypointMSELoss, _points2d),
    BodyPosePriorHandler: (PoseRegLoss, _pose),
    JointLimitHandler: (JointLimitLoss, _limits),
    BetasPriorHandler: (ShapePriorLoss, _betas),
}


def solved_params(start: BodyParams, found: ChainSolution) -> BodyParams:
    """Put the kernel's answer into body parameters."""
    axis_angle = rotmat_to_axis_angle(found.rotations)
    return start.replace(
        global_orient=axis_angle[:, 0],
        body_pose=axis_angle[:, 1:],
        transl=found.transl,
        scale=found.log_scale.exp(),
        betas=found.coefficients,
    )
