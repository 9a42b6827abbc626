"""The readable twin of the chain kernels: float64, autograd, dense matrices, one frame at a time."""

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


def points(problem: ChainProblem, state: ChainState) -> Tensor:
    """World points (B, K, 3)."""
    bones = problem.bones + torch.zeros_like(state.transl[:, None])
    if problem.bone_dirs is not None:
        bones = bones + torch.einsum('jcs,bs->bjc', problem.bone_dirs, state.coefficients)
    turns, places = [state.rotations[:, 0]], [bones[:, 0]]
    for j, p in enumerate(problem.parents.tolist()[1:], 1):
        places.append(places[p] + (turns[p] @ bones[:, j, :, None])[..., 0])
        turns.append(turns[p] @ state.rotations[:, j])
    turn, place = (
        torch.stack(turns, 1)[:, problem.point_joint],
        torch.stack(places, 1)[:, problem.point_joint],
    )
    offset = problem.point_offset
    if problem.point_dirs is not None:
        offset = offset + torch.einsum('kpcs,bs->bkpc', problem.point_dirs, state.coefficients)
    x = ((place + (turn @ offset[..., None])[..., 0]) * problem.point_share[..., None]).sum(2)
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
        over = (theta - low).clamp_max(0) + (theta - high).clamp_min(0)
        plain(over, theta.new_tensor(problem.limit_weight))
    if problem.coefficient_precision is not None:
        root = torch.linalg.cholesky(problem.coefficient_precision)
        plain(((state.coefficients - problem.coefficient_mean) @ root)[:, None], theta.new_ones(()))
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
    turn, rest = step[:, : 3 * n_joints].unflatten(1, (n_joints, 3)), step[:, 3 * n_joints :]
    turn = turn * problem.free_joints[:, None]
    return ChainState(
        rotation(turn) @ state.rotations,
        state.transl + rest[:, :3] * problem.fit_transl,
        state.log_scale + rest[:, 3] * problem.fit_scale,
        state.coefficients + rest[:, 4:] * problem.fit_coefficients,
    )


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
