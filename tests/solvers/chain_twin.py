"""The readable twin of the chain kernels: float64, autograd, dense matrices, one frame at a time."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from smilfit.geometry.projection import project_points
from smilfit.solvers.chain_problem import ChainProblem, ChainState

INF = float('inf')


def rotation(vector: Tensor) -> Tensor:
    """Exponential of (..., 3) by the matrix exponential."""
    x, y, z = vector.unbind(-1)
    o = torch.zeros_like(x)
    skew = torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)


def angle(matrix: Tensor) -> Tensor:
    """Logarithm of (..., 3, 3), below pi."""
    m = matrix
    v = 0.5 * torch.stack(
        (m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]), -1
    )
    square = v.square().sum(-1, keepdim=True)
    small = square < 1e-16
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    cosine = 0.5 * (m.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1)
    return torch.where(small, v, v * torch.atan2(sine, cosine) / sine)


def _tree(problem: ChainProblem, state: ChainState) -> tuple[Tensor, Tensor]:
    """World rotations (B, J, 3, 3), and places (B, J, 3) before scale and translation."""
    bones = problem.bones + torch.zeros_like(state.transl[:, None])
    if problem.bone_dirs is not None:
        bones = bones + torch.einsum('jcs,bs->bjc', problem.bone_dirs, state.coefficients)
    turns, places = [state.rotations[:, 0]], [bones[:, 0]]
    for j, p in enumerate(problem.parents.tolist()[1:], 1):
        places.append(places[p] + (turns[p] @ bones[:, j, :, None])[..., 0])
        turns.append(turns[p] @ state.rotations[:, j])
    return torch.stack(turns, 1), torch.stack(places, 1)


def joints(problem: ChainProblem, state: ChainState) -> Tensor:
    """World places of the joints (B, J, 3)."""
    return state.log_scale.exp()[:, None, None] * _tree(problem, state)[1] + state.transl[:, None]


def points(problem: ChainProblem, state: ChainState) -> Tensor:
    """World points (B, K, 3)."""
    rotation_matrix, place = (x[:, problem.point_joint] for x in _tree(problem, state))
    offset = problem.point_offset
    if problem.point_dirs is not None:
        offset = offset + torch.einsum('kpcs,bs->bkpc', problem.point_dirs, state.coefficients)
    x = ((place + (rotation_matrix @ offset[..., None])[..., 0]) * problem.point_share[..., None]).sum(2)
    return state.log_scale.exp()[:, None, None] * x + state.transl[:, None]


def residuals(
    problem: ChainProblem, state: ChainState, widen: float = 1.0
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(vectors (B, n, d), weights (B, n), 1 / sigma^2 (n,)) of every term."""
    x, terms = points(problem, state), []
    n = len(x)

    def plain(vectors: Tensor, weights: Tensor) -> None:
        vectors = vectors.expand(n, *vectors.shape[1:])
        terms.append((vectors, weights.expand(vectors.shape[:-1]), torch.zeros_like(vectors[0, :, 0])))

    if problem.targets3d is not None:
        seen = problem.weights3d > 0
        target = torch.where(seen[..., None], problem.targets3d, torch.zeros_like(problem.targets3d))
        terms.append((x - target, problem.weights3d, (problem.sigma3d * widen) ** -2))
    if problem.xy is not None:
        pixels, _, _ = project_points(
            x, problem.camera_K, problem.camera_R, problem.camera_t, problem.camera_dist, problem.camera_fold
        )
        seen = problem.weights2d > 0
        target = torch.where(seen[..., None], problem.xy, torch.zeros_like(problem.xy))
        sharpness = ((problem.sigma2d * widen) ** -2).expand(problem.n_cameras, -1).flatten()
        terms.append(((pixels - target).flatten(1, 2), problem.weights2d.flatten(1), sharpness))
    theta = angle(state.rotations)
    if problem.pose_weight is not None:
        plain(theta, problem.pose_weight)
    if problem.limits is not None:
        low, high = problem.limits.unbind(-1)
        own = theta
        if problem.limit_maps is not None:
            own = torch.einsum('jab,njb->nja', problem.limit_maps, theta)
        over = (own - low).clamp_max(0) + (own - high).clamp_min(0)
        plain(over, theta.new_tensor(problem.limit_weight))
    if problem.coefficient_precision is not None:
        root = torch.linalg.cholesky(problem.coefficient_precision)
        plain(((state.coefficients - problem.coefficient_mean) @ root)[:, None], theta.new_ones(()))
    if problem.coefficient_limits is not None:
        low, high = problem.coefficient_limits.unbind(-1)
        over = (state.coefficients - low).clamp_max(0) + (state.coefficients - high).clamp_min(0)
        plain(over.unsqueeze(-1), problem.coefficient_limit_weight)
    plain(state.log_scale[:, None, None], theta.new_tensor(problem.log_scale_weight))
    return terms


def energy(problem: ChainProblem, state: ChainState) -> Tensor:
    """Energy by frame."""
    total = torch.zeros_like(state.log_scale)
    for vectors, weights, sharpness in residuals(problem, state):
        square = vectors.square().sum(-1)
        total = total + (weights * square / (1 + square * sharpness)).sum(1)
    return total


def moved(problem: ChainProblem, state: ChainState, step: Tensor) -> ChainState:
    """Apply (1, n) steps: local turns of free joints, then translation, scale, coefficients."""
    n_joints = problem.n_joints
    rotation_matrix, rest = step[:, : 3 * n_joints].unflatten(1, (n_joints, 3)), step[:, 3 * n_joints :]
    rotation_matrix = rotation_matrix * problem.free_joints[:, None]
    return ChainState(
        rotation(rotation_matrix) @ state.rotations,
        state.transl + rest[:, :3] * problem.fit_transl,
        state.log_scale + rest[:, 3] * problem.fit_scale,
        state.coefficients + rest[:, 4:] * problem.fit_coefficients,
    )


def world_moved(problem: ChainProblem, state: ChainState, step: Tensor) -> ChainState:
    """Apply (B, n) steps as the kernels have them: turns in world axes, translation, scale, coefficients."""
    rotation_matrix = step[:, : 3 * problem.n_joints].unflatten(1, (problem.n_joints, 3))
    world = _tree(problem, state)[0]
    parents = problem.parents.tolist()[1:]
    above = torch.cat((torch.eye(3, dtype=step.dtype).expand(len(step), 1, 3, 3), world[:, parents]), 1)
    local = (above.mT @ rotation_matrix[..., None])[..., 0]
    return moved(problem, state, torch.cat((local.flatten(1), step[:, 3 * problem.n_joints :]), 1))


def place_jacobian(problem: ChainProblem, state: ChainState) -> Tensor:
    """Derivative (B, J, 3, n) of the joints' places by the steps of `world_moved`."""
    return _by_frame(problem, state, joints)


def world_hessian(problem: ChainProblem, state: ChainState) -> Tensor:
    """Gauss-Newton hessian (B, n, n) of the energy by the steps of `world_moved`, robust terms reweighted.

    That of the pose prior is the full one, as in the kernels.
    """
    weight, problem = problem.pose_weight, replace(problem, pose_weight=None)
    kept = [(w.sqrt() / (1 + v.square().sum(-1) * s)).unsqueeze(-1) for v, w, s in residuals(problem, state)]

    def stacked(problem: ChainProblem, state: ChainState) -> Tensor:
        terms = residuals(problem, state)
        return torch.cat([(v * k).flatten(1) for (v, _, _), k in zip(terms, kept)], 1)

    jacobian = _by_frame(problem, state, stacked)
    result = 2 * jacobian.mT @ jacobian
    if weight is None:
        return result

    def prior(step: Tensor) -> Tensor:
        valid = world_moved(problem, state, step.expand(problem.n_frames, -1))
        return (weight * angle(valid.rotations).square().sum(-1)).sum(1)

    return result + torch.func.jacfwd(torch.func.jacrev(prior))(torch.zeros_like(result[0, 0]))


def twists(problem: ChainProblem, state: ChainState, step: Tensor) -> dict[str, Tensor]:
    """Velocities of a motion by its definition, linear in the step."""
    turns = step[:, : 3 * problem.n_joints].unflatten(1, (problem.n_joints, 3)) * problem.free_joints[:, None]
    angular = [turns[:, 0]]
    for j, p in enumerate(problem.parents.tolist()[1:], 1):
        angular.append(angular[p] + turns[:, j])
    velocity = torch.einsum('bjcn,bn->bjc', place_jacobian(problem, state), step)
    transl = step[:, 3 * problem.n_joints :][:, :3] * problem.fit_transl
    return {'turns': turns, 'angular': torch.stack(angular, 1), 'velocity': velocity, 'transl': transl}


def _by_frame(problem: ChainProblem, state: ChainState, of: Callable) -> Tensor:
    n = 3 * problem.n_joints + 4 + problem.n_coefficients

    def all_alike(step: Tensor) -> Tensor:
        return of(problem, world_moved(problem, state, step.expand(problem.n_frames, n)))

    return torch.func.jacfwd(all_alike)(torch.zeros(n, dtype=torch.float64))


def dense_fit(problem: ChainProblem, n_iter: int = 200) -> ChainState:
    """Levenberg-Marquardt with a dense Jacobian by autograd, one frame."""
    state, mu = problem.start, 1e-2
    n = 3 * problem.n_joints + 4 + problem.n_coefficients
    before = energy(problem, state)
    for _ in range(n_iter):
        kept = [
            (w.sqrt() / (1 + v.square().sum(-1) * s)).unsqueeze(-1) for v, w, s in residuals(problem, state)
        ]

        def stacked(step: Tensor, state: ChainState = state, kept: list[Tensor] = kept) -> Tensor:
            terms = residuals(problem, moved(problem, state, step))
            return torch.cat([(v * k).flatten() for (v, _, _), k in zip(terms, kept)])

        zero = torch.zeros(1, n, dtype=torch.float64)
        jacobian = torch.func.jacfwd(stacked)(zero)[:, 0]
        gradient, curvature = jacobian.T @ stacked(zero), jacobian.T @ jacobian
        damping = mu * curvature.diagonal() + 1e-9 * curvature.diagonal().max()
        step = -torch.linalg.solve(curvature + damping.diag(), gradient)
        tried = moved(problem, state, step[None])
        after = energy(problem, tried)
        if after <= before:
            if before - after < 1e-14 * before:
                return tried
            state, before, mu = tried, after, max(mu * 0.1, 1e-9)
        else:
            mu *= 5
            if mu > 1e12:
                return state
    return state


def frame_of(problem: ChainProblem, i: int) -> ChainProblem:
    """One frame of a problem."""
    s = slice(i, i + 1)
    start = ChainState(*(v[s] for v in vars(problem.start).values()))
    by_frame = ('targets3d', 'weights3d', 'xy', 'weights2d')
    return replace(
        problem,
        start=start,
        **{name: getattr(problem, name)[s] for name in by_frame if getattr(problem, name) is not None},
    )
