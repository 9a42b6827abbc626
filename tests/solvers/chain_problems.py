"""Made-up trees, what is seen of them, and their truth."""

from dataclasses import replace

import torch
from torch import Tensor

from smilfit.geometry.projection import fold_radius, project_points
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.solvers import ChainProblem, ChainState
from tests.solvers import chain_twin as twin

INF = float('inf')
# A fork, a bone of no length (4), leaves, and a tail.
PARENTS = (-1, 0, 1, 1, 3, 4, 0, 6)


def normal(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def cameras(n: int, lens: bool = False) -> dict[str, Tensor]:
    """A ring of cameras that look at the origin from 6 units away."""
    rotations, translations = [], []
    for i in range(n):
        rotation = torch.tensor([0.0, 2 * torch.pi * i / n + 0.2, 0.1 * i], dtype=torch.float64)
        rotations.append(twin.rotation(rotation))
        translations.append(torch.tensor([0.0, 0.0, 6.0], dtype=torch.float64))
    intrinsics = torch.tensor([[800.0, 1.0, 320], [0, 820, 240], [0, 0, 1]], dtype=torch.float64)
    dist = torch.tensor([-0.35, 0.02, 1e-3, -2e-3, 0.0], dtype=torch.float64)
    return {
        'camera_K': intrinsics.expand(1, n, 3, 3).contiguous(),
        'camera_R': torch.stack(rotations)[None],
        'camera_t': torch.stack(translations)[None],
        'camera_dist': dist.expand(1, n, 5).contiguous() if lens else None,
        'camera_fold': fold_radius(dist).expand(1, n).contiguous() if lens else None,
    }


def start_at_rest(n: int, n_joints: int, n_coefficients: int) -> ChainState:
    eye = torch.eye(3, dtype=torch.float64).expand(n, n_joints, 3, 3).contiguous()
    zero = torch.zeros(n, dtype=torch.float64)
    return ChainState(eye, zero[:, None].expand(n, 3), zero, zero[:, None].expand(n, n_coefficients))


def tree(n: int = 3, parents: tuple[int, ...] = PARENTS, n_coefficients: int = 2) -> ChainProblem:
    """A tree with some points off its joints and nothing seen yet but one far corner."""
    n_joints = len(parents)
    bones = normal(1, n_joints, 3, seed=1) * 0.3 + torch.tensor([0.3, 0.0, 0.1], dtype=torch.float64)
    if n_joints > 4:
        bones[:, 4] = 0
    off = torch.cat((torch.zeros(n_joints, 3), 0.3 * normal(2, 3, seed=2))).double()
    k = n_joints + 2
    return ChainProblem(
        parents=torch.tensor(parents),
        bones=bones,
        bone_dirs=0.1 * normal(n_joints, 3, n_coefficients, seed=3),
        start=start_at_rest(n, n_joints, n_coefficients),
        free_joints=torch.ones(n_joints, dtype=torch.bool),
        fit_transl=True,
        fit_scale=True,
        fit_coefficients=torch.ones(n_coefficients, dtype=torch.bool),
        point_joint=torch.cat((torch.arange(n_joints), torch.tensor([1, n_joints - 1])))[:, None],
        point_share=torch.ones(k, 1, dtype=torch.float64),
        point_offset=off[None, :, None],
        targets3d=torch.zeros(n, k, 3, dtype=torch.float64),
        weights3d=torch.ones(n, k, dtype=torch.float64),
        sigma3d=torch.full((k,), INF, dtype=torch.float64),
    )


def skinned(n: int = 3, n_coefficients: int = 2) -> ChainProblem:
    """The tree with points of three rigid points each, which change with the coefficients; some are pads."""
    base = tree(n, n_coefficients=n_coefficients)
    k, j = base.point_joint.shape[0], base.n_joints
    joint = torch.stack((torch.arange(k) % j, (torch.arange(k) + 3) % j, (2 * torch.arange(k)) % j), 1)
    share = normal(k, 3, seed=13).abs()
    share[::3, 2] = 0
    share[1::4, 1:] = 0
    return replace(
        base,
        point_joint=joint,
        point_share=share / share.sum(1, keepdim=True),
        point_offset=0.2 * normal(n, k, 3, 3, seed=14),
        point_dirs=0.1 * normal(k, 3, 3, base.n_coefficients, seed=15),
    )


def truth_of(problem: ChainProblem, spread: float = 0.4) -> ChainState:
    n, j, s = problem.n_frames, problem.n_joints, problem.n_coefficients
    return ChainState(
        twin.rotation(spread * normal(n, j, 3, seed=4)),
        0.3 * normal(n, 3, seed=5),
        0.1 * normal(n, seed=6),
        0.5 * normal(n, s, seed=7),
    )


def seen3d(problem: ChainProblem, truth: ChainState, noise: float = 0.0) -> ChainProblem:
    x = twin.points(problem, truth)
    return replace(problem, targets3d=x + noise * normal(*x.shape, seed=8))


def seen2d(
    problem: ChainProblem, truth: ChainState, n_cameras: int = 4, noise_px: float = 0.0, lens: bool = False
) -> ChainProblem:
    rig = cameras(n_cameras, lens)
    x = twin.points(problem, truth)
    k = x.shape[1]
    blank = torch.zeros(problem.n_frames, n_cameras, k, 2, dtype=torch.float64)
    filled = replace(
        problem, targets3d=None, weights3d=None, sigma3d=None, xy=blank,
        weights2d=torch.full_like(blank[..., 0], 1e-3), sigma2d=torch.full((k,), INF, dtype=torch.float64), **rig,
    )  # fmt: skip
    pixels = project_points(
        x, rig['camera_K'], rig['camera_R'], rig['camera_t'], rig['camera_dist'], rig['camera_fold']
    )[0]
    return replace(filled, xy=pixels + noise_px * normal(*pixels.shape, seed=9))


def with_priors(problem: ChainProblem) -> ChainProblem:
    j, s = problem.n_joints, problem.n_coefficients
    factor = 0.1 * normal(s, s, seed=10)
    limits = torch.stack((torch.full((j, 3), -0.3), torch.full((j, 3), 0.35)), -1).double()
    limits[0] = torch.tensor([-4.0, 4.0])
    # Axes of their own, the first of which is held the more.
    axes = axis_angle_to_rotmat(0.8 * normal(j, 3, seed=12))
    maps = torch.tensor([1.5, 1.0, 1.0]).double()[:, None] * axes
    weight = torch.full((j,), 0.02, dtype=torch.float64)
    weight[0] = 0
    return replace(
        problem, pose_weight=weight, limits=limits, limit_maps=maps, limit_weight=0.5,
        coefficient_mean=0.1 * normal(s, seed=11),
        coefficient_precision=factor @ factor.T + 0.05 * torch.eye(s, dtype=torch.float64), log_scale_weight=0.3,
        coefficient_limits=torch.tensor([[-0.2, 0.15]]).double().expand(s, -1).clone(),
        coefficient_limit_weight=0.4 + 0.1 * torch.arange(s).double(),
    )  # fmt: skip


def single(problem: ChainProblem) -> ChainProblem:
    """The same in float32."""
    values = {k: v.float() for k, v in problem.floats().items() if not k.startswith('start.')}
    return replace(problem, **values, start=ChainState(*(v.float() for v in vars(problem.start).values())))


def ended(solution: object) -> ChainState:
    return ChainState(
        *(getattr(solution, n).double() for n in ('rotations', 'transl', 'log_scale', 'coefficients'))
    )


PROBLEMS = {
    '3d': lambda: with_priors(seen3d(tree(), truth_of(tree()), 0.02)),
    '2d': lambda: with_priors(seen2d(tree(), truth_of(tree()), 3, 2.0)),
    'lens': lambda: with_priors(seen2d(tree(), truth_of(tree()), 3, 2.0, lens=True)),
}
