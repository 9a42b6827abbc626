"""A stage handed to the fused kernel: its residuals as seen points and priors, and why not where it cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.losses import Energies, GemanMcClure, ParameterSource, PointSource, Residuals, Stated
from smilfit.registrants.second_order.point_sets import PointSet, point_set
from smilfit.registrants.second_order.quadratic_models import is_identity
from smilfit.registrants.second_order.rigid_points import (
    Coefficients,
    RigidPoints,
    bones_at_rest,
    hangs_on_several,
    share_of_bone,
)
from smilfit.registrants.second_order.unknowns import VariableLayout
from smilfit.registrants.stage_task import FitState, StageTask
from smilfit.solvers import ChainProblem, ChainSolution, ChainState
from smilfit.structures import BodyParams, Cameras, parameter_names


class UnsupportedError(Exception):
    """What of a stage the kernel does not take; the text names it."""


@dataclass(frozen=True)
class ObservedPoints:
    """Named points and where they were observed: targets (B, [C,] K, d), weights (B, [C,] K), the robust width."""

    names: tuple[str, ...]
    targets: Tensor
    weights: Tensor
    sigma: float


@dataclass
class ChainTerms:
    """What a stage's residuals are in the kernel's terms.

    Args:
        points3d: points observed in space.
        points2d: points observed in images, px, under `cameras`.
        pose_weight: per rad^2, by joint, of its angle.
        limits: of rotation vectors, what maps these to what the limits are of, and their weight.
        prior: P and l of the coefficients' quadratic `c' P c - 2 l' c`.
        mean: of the coefficients: where that is least.
        wall: of the coefficients, lowest and highest (S, 2), and the weight of what is beyond (S,).
        constant: energy of what does not move, by frame.
        by_torch: terms that torch has to evaluate and linearise.
        loose: whether a point hangs on several bones so much that the kernel's bound of its hessian is far off.
    """

    points3d: list[ObservedPoints] = field(default_factory=list)
    points2d: list[ObservedPoints] = field(default_factory=list)
    cameras: Cameras | None = None
    pose_weight: Tensor | None = None
    limits: Tensor | None = None
    limit_maps: Tensor | None = None
    limit_weight: float = 0.0
    prior: tuple[Tensor, Tensor] | None = None
    mean: Tensor | None = None
    wall: tuple[Tensor, Tensor] | None = None
    constant: Tensor | float = 0.0
    by_torch: list[ActiveTerm] = field(default_factory=list)
    loose: bool = False

    def copy(self) -> 'ChainTerms':
        """Return a copy that may be added to."""
        return replace(self, points3d=[*self.points3d], points2d=[*self.points2d], by_torch=[*self.by_torch])


def coefficients_of(task: StageTask, layout: VariableLayout, params: BodyParams) -> Coefficients:
    """Choose the coefficients that a stage fits.

    Raises:
        UnsupportedError: a parameter that moves bones otherwise than linearly, or is shared while another is not.
    """
    linear = parameter_names(of='body', linear=True)
    for name, _ in layout.extras:
        if name not in (*linear, 'log_scale'):
            raise UnsupportedError(f'fit_{name}')
    shared = {name in dict(layout.shared) for name, _ in layout.extras}
    if len(shared) > 1:
        raise UnsupportedError('a shape that is shared in part')
    if params.log_joint_scales is not None or task.body.scaledirs is not None:
        raise UnsupportedError('joint scales')
    extras = dict(layout.extras)
    if task.body.transdirs is not None and 'betas' in extras:
        raise UnsupportedError('joint offsets that betas drive')
    names = tuple(name for name in linear if name in extras)
    return Coefficients(names, tuple(extras[name] for name in names))


def chain_terms(
    task: StageTask, layout: VariableLayout, state: BodyState, fitted: Coefficients, with_torch: bool
) -> ChainTerms:
    """Sort a stage's statements into the kernel's terms.

    Args:
        task: the stage, with the totals of its means.
        layout: the unknowns.
        state: the body where the stage starts.
        fitted: the coefficients.
        with_torch: leave to torch what is of points and the kernel cannot evaluate.

    Raises:
        UnsupportedError: a term that neither takes, by name.
    """
    result, held = ChainTerms(), not layout.extras
    for term in task.terms:
        stated = term.stated(state)
        tried = result.copy()
        shares = [float(s) for s in term.shares(stated, state.params.transl)]
        taken = [_take(tried, item, s, layout, state, fitted) for item, s in zip(stated, shares)]
        if all(taken):
            result = tried
        elif with_torch and all(_on_joints(item, state.body, held) for item in stated):
            result.by_torch.append(term)
        else:
            raise UnsupportedError(_why_not(term, stated))
    if not (result.points3d or result.points2d or result.by_torch):
        raise UnsupportedError('a stage without observations')
    if state.body.posedirs is not None and result.by_torch:
        raise UnsupportedError('pose correctives of the skin')
    names = [name for points in (*result.points3d, *result.points2d) for name in points.names]
    result.loose = bool(names) and hangs_on_several(state.body, tuple(dict.fromkeys(names)))
    if result.prior is not None:
        precision, linear = (x.double() for x in result.prior)
        mean = torch.linalg.pinv(precision, hermitian=True) @ linear
        result.mean = mean.to(result.prior[0])
        # c' P c - 2 l' c = (c - m)' P (c - m) - m' P m
        result.constant = result.constant - (mean @ precision @ mean).to(result.prior[0])
    return result


def _on_joints(item: Residuals | Energies, body: SMIL, held: bool) -> bool:
    """Check whether torch can bring a statement's quadratic model to the joints.

    Args:
        item: the statement.
        body: the body.
        held: whether the bones and the points on them keep their shape: of what couples frames only joints move
            with the coefficients.
    """
    if isinstance(item, Energies) or not isinstance(item.source, PointSource):
        return False
    names = item.source.names
    if names is None and item.source.cameras is None:
        # Of whole meshes and scans in space the exact hessian is worth its price: a few steps instead of many.
        return False
    points = None if names is None else point_set(body, names)
    if (
        points is not None
        and not points.only_joints
        and not (item.order and held and _is_carried(body, points))
    ):
        return False
    if item.order:
        return names is not None and item.by_vector and item.value is item.source.argument
    return item.pointwise and item.slope is not None


def _is_carried(body: SMIL, points: PointSet) -> bool:
    """Check whether every landmark hangs on the bone in whose frame it is moved."""
    offsets = points.offsets
    return offsets is None or bool((share_of_bone(body, points, offsets) > 0).all())


def _why_not(term: ActiveTerm, stated: Stated) -> str:
    if any(isinstance(item, Energies) for item in stated):
        return f'{term.name}, an energy'
    if any(isinstance(item, Residuals) and item.order for item in stated):
        return f'{term.name}, which couples frames'
    return f'{term.name} with {type(term.handler.loss).__name__}'


def _take(
    terms: ChainTerms,
    item: Residuals | Energies,
    share: float,
    layout: VariableLayout,
    state: BodyState,
    fitted: Coefficients,
) -> bool:
    if isinstance(item, Energies) or item.order:
        return False
    share = share * item.factor
    if isinstance(item.source, PointSource):
        return _take_points(terms, item, item.source, share, state)
    return isinstance(item.source, ParameterSource) and _take_parameter(
        terms, item, item.source, share, layout, state, fitted
    )


def _take_points(
    terms: ChainTerms, item: Residuals, source: PointSource, share: float, state: BodyState
) -> bool:
    names, weight, robust = source.names, item.weight, item.robust
    if names is None or weight is None or source.index is not None:
        return False
    if not item.by_vector or not is_identity(item.slope):
        return False
    if robust is not None and not (isinstance(robust, GemanMcClure) and robust.limit is None):
        return False
    points = point_set(state.body, names)
    if state.body.posedirs is not None and points.landmarks is not None:
        return False
    if points.offsets is not None:
        separate = share_of_bone(state.body, points, points.offsets) <= 0
        if bool(separate.any()):
            row = int(points.offsets.rows[separate][0])
            raise UnsupportedError(f'the landmark {names[row]!r}, whose anchor does not hang on its bone')
    sigma = float('inf') if robust is None or robust.sigma is None else robust.sigma
    if isinstance(sigma, Tensor):
        # The kernel has one width for all points of a statement.
        return False
    # The residual is the difference to a target: where the points are, less the residual, it is.
    target = (source.argument - item.value).detach()
    observed = ObservedPoints(names, target, share * weight.detach(), sigma)
    if source.cameras is None:
        terms.points3d.append(observed)
        return source.slope is None
    if terms.cameras is not None and not _same_cameras(terms.cameras, source.cameras):
        return False
    terms.cameras = source.cameras
    terms.points2d.append(observed)
    return True


def _take_parameter(
    terms: ChainTerms,
    item: Residuals,
    source: ParameterSource,
    share: float,
    layout: VariableLayout,
    state: BodyState,
    fitted: Coefficients,
) -> bool:
    if source.name not in (*fitted.names, 'body_pose'):
        moves = source.name in (*dict(layout.extras), 'global_orient', 'transl')
        if not moves:
            terms.constant = terms.constant + share * item.terms().weighted.flatten(1).sum(1) / item.factor
        return not moves
    if item.weight is not None or item.robust is not None:
        return False
    if source.name == 'body_pose':
        return _take_pose(terms, item, source, share)
    place = fitted.slices()[source.name]
    if item.interval is not None:
        return _take_wall(terms, item.interval, source, share, place, fitted.count)
    slope = None if item.slope is None else _matrix(item.slope, item.pointwise, source)
    if slope is None:
        return False
    # |A c - b|^2 = c' A'A c - 2 b' A c + b' b
    value = source.argument.flatten(1) / source.factor
    offset = (slope @ value[0] - item.value.flatten(1)[0]).detach()
    if terms.prior is None:
        precision, linear = slope.new_zeros(fitted.count, fitted.count), slope.new_zeros(fitted.count)
    else:
        precision, linear = (x.clone() for x in terms.prior)
    precision[place, place] += share * slope.t() @ slope
    linear[place] += share * slope.t() @ offset
    terms.prior = precision, linear
    terms.constant = terms.constant + share * offset.square().sum()
    return True


def _take_wall(
    terms: ChainTerms, interval: Tensor, source: ParameterSource, share: float, place: slice, count: int
) -> bool:
    """Take limits of coefficients, each coefficient's once."""
    nothing = interval.new_zeros(count, 2), interval.new_zeros(count)
    limits, weight = nothing if terms.wall is None else terms.wall
    if source.factor != 1 or bool(weight[place].any()):
        return False
    limits, weight = limits.clone(), weight.clone()
    limits[place], weight[place] = interval.reshape(-1, 2), share
    terms.wall = limits, weight
    return True


def _matrix(slope: Tensor, pointwise: bool, source: ParameterSource) -> Tensor | None:
    """Return a linear statement's one matrix for all frames; None where frames differ."""
    if not pointwise:
        return source.factor * slope[0] if len(slope) == 1 else None
    if slope.ndim == 3:
        return source.factor * torch.block_diag(*slope)
    if slope.ndim != 2:
        return None
    count = source.argument.flatten(1).shape[1] // slope.shape[1]
    return source.factor * torch.block_diag(*[slope] * count)


def _take_pose(terms: ChainTerms, item: Residuals, source: ParameterSource, share: float) -> bool:
    if item.interval is not None:
        if terms.limits is not None:
            return False
        wide = item.interval.new_tensor([-1e3, 1e3]).expand(1, 3, 2)
        terms.limits, terms.limit_weight = torch.cat((wide, item.interval)), share
        if item.interval_map is not None:
            own = torch.eye(3).to(item.interval_map).unsqueeze(0)
            terms.limit_maps = torch.cat((own, item.interval_map))
        return True
    if not (item.pointwise and is_identity(item.slope) and torch.equal(item.value, source.argument)):
        return False
    weight = item.value.new_full((1 + item.value.shape[1],), share)
    weight[0] = 0
    terms.pose_weight = weight if terms.pose_weight is None else terms.pose_weight + weight
    return True


def _same_cameras(a: Cameras, b: Cameras) -> bool:
    pairs = ((getattr(a, n), getattr(b, n)) for n in ('K', 'R', 't', 'dist'))
    return all((x is None) == (y is None) and (x is None or torch.equal(x, y)) for x, y in pairs)


def chain_problem(
    task: StageTask, layout: VariableLayout, start: FitState, fitted: Coefficients, terms: ChainTerms
) -> ChainProblem:
    """Write a stage as a tree of joints with seen points."""
    params, body = start.params, task.body
    free = torch.zeros(body.n_joints, dtype=torch.bool, device=params.transl.device)
    free[layout.free] = True
    bones, dirs = bones_at_rest(body, params, fitted)
    parents = body.tree.parents.clone()
    parents[0] = -1
    begin = ChainState(
        params.rotations().contiguous(), params.transl.clone(), params.scale.log(), fitted.of(params)
    )
    return ChainProblem(
        parents=parents,
        bones=bones,
        bone_dirs=dirs,
        start=begin,
        free_joints=free,
        fit_transl=layout.transl,
        fit_scale='log_scale' in dict(layout.extras),
        fit_coefficients=torch.ones(fitted.count, dtype=torch.bool, device=params.transl.device),
        pose_weight=terms.pose_weight,
        limits=terms.limits,
        limit_maps=terms.limit_maps,
        limit_weight=terms.limit_weight,
        coefficient_mean=terms.mean,
        coefficient_precision=None if terms.prior is None else terms.prior[0],
        coefficient_limits=None if terms.wall is None else terms.wall[0],
        coefficient_limit_weight=None if terms.wall is None else terms.wall[1],
        **_points(task, params, fitted, terms),
        **camera_fields(terms.cameras, params.transl),
    )


class CameraFields(TypedDict):
    """What a `ChainProblem` holds of cameras."""

    camera_K: Tensor | None
    camera_R: Tensor | None
    camera_t: Tensor | None
    camera_dist: Tensor | None
    camera_fold: Tensor | None


def camera_fields(cameras: Cameras | None, like: Tensor) -> CameraFields:
    """Return cameras of one set for all frames, or one a frame, as the kernel takes them."""

    def rows(name: str) -> Tensor | None:
        value = None if cameras is None else getattr(cameras, name)
        if cameras is None or value is None:
            return None
        return (value if cameras.K.ndim == 4 else value.unsqueeze(0)).to(like)

    K, R, t, dist, fold = map(rows, ('K', 'R', 't', 'dist', 'fold'))
    return CameraFields(camera_K=K, camera_R=R, camera_t=t, camera_dist=dist, camera_fold=fold)


class PlacedFields(TypedDict):
    """What a `ChainProblem` holds of every point."""

    point_joint: Tensor
    point_share: Tensor
    point_offset: Tensor


class PointFields(PlacedFields, total=False):
    """What it holds of how points move, and of where they were observed."""

    point_dirs: Tensor
    targets3d: Tensor
    weights3d: Tensor
    sigma3d: Tensor
    xy: Tensor
    weights2d: Tensor
    sigma2d: Tensor


def _points(task: StageTask, params: BodyParams, fitted: Coefficients, terms: ChainTerms) -> PointFields:
    """Join the points of all statements; one that a statement does not speak of has the weight 0 there."""
    like, in_space, in_images = params.transl, terms.points3d, terms.points2d
    if not (in_space or in_images):
        # Something must be observed; a point without weight is nothing.
        nothing = like.unsqueeze(1)
        first = task.body.joint_names[:1]
        in_space = [ObservedPoints(first, nothing, torch.zeros_like(nothing[..., 0]), float('inf'))]
    parts = [RigidPoints.of(task.body, points.names, params, fitted) for points in (*in_space, *in_images)]
    result = _joined(parts, fitted, params)
    n3, n2 = (sum(len(points.names) for points in group) for group in (in_space, in_images))
    if n3:
        pad = like.new_zeros(len(like), n2)
        targets = [*(points.targets for points in in_space), pad.unsqueeze(-1).expand(-1, -1, 3)]
        result['targets3d'] = torch.cat(targets, 1)
        result['weights3d'] = torch.cat([*(points.weights for points in in_space), pad], 1)
        result['sigma3d'] = _widths(in_space, 0, n2, like)
    if n2:
        pad = like.new_zeros(*in_images[0].weights.shape[:2], n3)
        targets = [pad.unsqueeze(-1).expand(-1, -1, -1, 2), *(points.targets for points in in_images)]
        result['xy'] = torch.cat(targets, 2)
        result['weights2d'] = torch.cat([pad, *(points.weights for points in in_images)], 2)
        result['sigma2d'] = _widths(in_images, n3, 0, like)
    return result


def _widths(statements: Sequence[ObservedPoints], before: int, after: int, like: Tensor) -> Tensor:
    own = [like.new_full((len(points.names),), points.sigma) for points in statements]
    return torch.cat([like.new_ones(before), *own, like.new_ones(after)])


def _joined(parts: list[RigidPoints], fitted: Coefficients, params: BodyParams) -> PointFields:
    like = params.transl
    most = max(p.joint.shape[1] for p in parts)
    rows = max(len(p.offset) for p in parts)

    def wide(value: Tensor, dim: int) -> Tensor:
        short = most - value.shape[dim]
        return torch.nn.functional.pad(value, (0, 0) * (value.ndim - 1 - dim) + (0, short))

    result = PointFields(
        point_joint=torch.cat([wide(p.joint, 1) for p in parts]),
        point_share=torch.cat([wide(p.share, 1) for p in parts]),
        point_offset=torch.cat([wide(p.offset, 2).expand(rows, -1, -1, -1) for p in parts], 1),
    )
    if any(p.dirs is not None for p in parts) and fitted.count:
        none = [like.new_zeros(*p.joint.shape, 3, fitted.count) if p.dirs is None else p.dirs for p in parts]
        result['point_dirs'] = torch.cat([wide(d, 1) for d in none])
    return result


def solved_params(
    start: BodyParams, solution: ChainSolution | ChainState, fitted: Coefficients
) -> BodyParams:
    """Put the kernel's answer into body parameters."""
    axis_angle = rotmat_to_axis_angle(solution.rotations)
    valid = start.as_dict()
    linear = {
        name: solution.coefficients[:, place].reshape(len(solution.transl), *_row(start, valid, name))
        for name, place in fitted.slices().items()
    }
    return start.replace(
        global_orient=axis_angle[:, 0],
        body_pose=axis_angle[:, 1:],
        transl=solution.transl,
        scale=solution.log_scale.exp(),
        **linear,
    )


def _row(start: BodyParams, known: dict[str, Tensor], name: str) -> tuple[int, ...]:
    if name in known:
        return tuple(known[name].shape[1:])
    return (start.n_joints, 3)
