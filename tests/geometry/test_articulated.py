"""The articulated solve against dense normal equations, and the map T against the kinematics."""

import pytest
import torch

from smilfit.geometry.articulated import factorise, subtree_inertia
from smilfit.geometry.articulated_motion import dense_map, spatial_forces, spatial_velocities
from smilfit.geometry.kinematic_chain import KinematicTree, forward_kinematics
from smilfit.geometry.rotation import axis_angle_to_rotmat

FORKED = [-1, 0, 1, 2, 3, 1, 5, 6, 0, 8, 3, 5, 0, 12, 12]
CHAIN = [-1, *range(59)]
SOLO = [-1]


def tree_of(parents, dtype=torch.float64):
    return KinematicTree.from_parents(parents).to(dtype)


def random_psd(*shape, size, rank=None):
    root = torch.randn(*shape, size, rank or size, dtype=torch.float64)
    return root @ root.mT


def random_problem(parents, n_frames=4, n_sets=3):
    """A random body with full coupling between position and rotation, and loads."""
    n = len(parents)
    full = random_psd(n_frames, n, size=6)
    return {
        'joints': torch.randn(n_frames, n, 3, dtype=torch.float64),
        'vv': full[..., :3, :3],
        'vo': full[..., :3, 3:],
        'oo': full[..., 3:, 3:],
        'D': random_psd(n_frames, n, size=3) + 0.1 * torch.eye(3),
        'D_t': random_psd(n_frames, size=3),
        'f': torch.randn(n_frames, n, 3, n_sets, dtype=torch.float64),
        'm': torch.randn(n_frames, n, 3, n_sets, dtype=torch.float64),
        'd': torch.randn(n_frames, n, 3, n_sets, dtype=torch.float64),
        'd_t': torch.randn(n_frames, 3, n_sets, dtype=torch.float64),
    }


def weights(p):
    """(B, 6J, 6J), rows v of all joints, then o."""
    n_frames, n = p['joints'].shape[:2]
    a = torch.zeros(n_frames, 2, n, 3, 2, n, 3, dtype=torch.float64)
    for j in range(n):
        a[:, 0, j, :, 0, j], a[:, 0, j, :, 1, j] = p['vv'][:, j], p['vo'][:, j]
        a[:, 1, j, :, 0, j], a[:, 1, j, :, 1, j] = p['vo'][:, j].mT, p['oo'][:, j]
    return a.reshape(n_frames, 6 * n, 6 * n)


def solve_densely(p, tree, free=None, free_root_translation=True):
    n = p['joints'].shape[1]
    t_map = dense_map(p['joints'], tree)
    hessian = t_map.mT @ weights(p) @ t_map
    for j in range(n):
        hessian[:, 3 * j : 3 * j + 3, 3 * j : 3 * j + 3] += p['D'][:, j]
    hessian[:, -3:, -3:] += p['D_t']
    own = torch.cat((p['d'].flatten(1, 2), p['d_t']), 1)
    gradient = t_map.mT @ torch.cat((p['f'].flatten(1, 2), p['m'].flatten(1, 2)), 1) + own
    free = torch.ones(n, dtype=torch.bool) if free is None else free
    kept = torch.cat((free.repeat_interleave(3), torch.tensor([free_root_translation] * 3))).nonzero()[:, 0]
    solution = torch.zeros_like(gradient)
    solution[:, kept] = -torch.linalg.solve(hessian[:, kept][:, :, kept], gradient[:, kept])
    return solution[:, :-3].unflatten(1, (n, 3)), solution[:, -3:]


def solve(p, tree, **held):
    factor = factorise(p['joints'], tree, p['vv'], p['vo'], p['oo'], p['D'], p['D_t'], **held)
    return factor.solve(p['f'], p['m'], p['d'], p['d_t'])[:2]


def assert_equal(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1)


@pytest.mark.parametrize('parents', [SOLO, FORKED, CHAIN])
@pytest.mark.parametrize('held', ['nothing', 'some joints', 'the root', 'the translation'])
def test_equals_the_dense_solution(parents, held):
    p, tree = random_problem(parents), tree_of(parents)
    free = torch.ones(len(parents), dtype=torch.bool)
    free[[0] if held == 'the root' else slice(2, None, 3)] = False
    options = {
        'nothing': {},
        'some joints': {'free': free},
        'the root': {'free': free},
        'the translation': {'free_root_translation': False},
    }[held]
    ours = solve(p, tree, **options)
    assert_equal(ours, solve_densely(p, tree, **options))
    if 'free' in options:
        assert (ours[0][:, ~free] == 0).all()


def test_solution_tells_how_joints_move():
    p, tree = random_problem(FORKED), tree_of(FORKED)
    factor = factorise(p['joints'], tree, p['vv'], p['vo'], p['oo'], p['D'], p['D_t'])
    w, t, motion = factor.solve(p['f'], p['m'], p['d'], p['d_t'])
    assert_equal((motion,), (spatial_velocities(w, t, p['joints'], tree)[0],))


def test_blocks_left_out_are_zero():
    p, tree = random_problem(FORKED), tree_of(FORKED)
    zero = torch.zeros_like(p['vv'])
    explicit = solve(p | {'vo': zero, 'oo': zero, 'm': torch.zeros_like(p['m'])}, tree)
    assert_equal(solve(p | {'vo': None, 'oo': None, 'm': None}, tree), explicit, 1e-14)


def test_bones_of_no_length():
    p, tree = random_problem(FORKED), tree_of(FORKED)
    p['joints'][:, 5] = p['joints'][:, 1]
    p['joints'][:, 8] = p['joints'][:, 0]
    assert_equal(solve(p, tree), solve_densely(p, tree))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_joints_that_nothing_observes_follow_their_own_gradient(dtype):
    p = random_problem(FORKED)
    unseen = [6, 7, 11, 13]
    for name in ('vv', 'vo', 'oo', 'f', 'm'):
        p[name][:, unseen] = 0
    p['D'][:, unseen] = 1e-6 * torch.eye(3, dtype=torch.float64)
    w, t = solve({name: x.to(dtype) for name, x in p.items()}, tree_of(FORKED, dtype))
    assert w.isfinite().all()
    assert t.isfinite().all()
    expected = -torch.linalg.solve(p['D'], p['d'])[:, unseen]
    assert torch.allclose(w[:, unseen].double(), expected, rtol=1e-5)


def test_nothing_observed_and_nothing_damped_stays_finite():
    p = {name: torch.zeros_like(x) for name, x in random_problem(FORKED).items()}
    w, t = solve({name: x.float() for name, x in p.items()}, tree_of(FORKED, torch.float32))
    assert (w == 0).all()
    assert (t == 0).all()


def chain_far_away(damping):
    """Sixty joints 100 m from the origin; the ten last joints are observed."""
    p = random_problem(CHAIN, 8, 1)
    bones = 0.05 * torch.nn.functional.normalize(torch.randn(8, 60, 3, dtype=torch.float64), dim=-1)
    p['joints'] = (100 + bones.cumsum(1)).float().double()
    for name in ('vv', 'vo', 'oo', 'f', 'm', 'd', 'd_t'):
        p[name] = torch.zeros_like(p[name])
    p['vv'][:, 50:] = 1e4 * torch.eye(3, dtype=torch.float64)
    p['f'][:, 50:] = 1e2 * torch.randn(8, 10, 3, 1, dtype=torch.float64)
    rotations, translation = subtree_inertia(p['joints'], tree_of(CHAIN), p['vv'])
    # The tip moves nothing; a fixed share keeps its rotation determined.
    mean = rotations.diagonal(dim1=-2, dim2=-1).mean(-1) + 1e-3
    p['D'] = damping * mean[..., None, None] * torch.eye(3, dtype=torch.float64)
    p['D_t'] = damping * translation
    return p


def velocities_in_float32_and_exactly(p):
    single = solve({name: x.float() for name, x in p.items()}, tree_of(CHAIN, torch.float32))
    tree = tree_of(CHAIN)
    ours = spatial_velocities(*(x.double() for x in single), p['joints'], tree)
    return zip(ours, spatial_velocities(*solve_densely(p, tree), p['joints'], tree), strict=True)


@pytest.mark.parametrize('damping', [1e-1, 1e-3])
def test_a_long_tail_far_from_the_origin_keeps_its_digits_in_float32(damping):
    for ours, exact in velocities_in_float32_and_exactly(chain_far_away(damping)):
        assert (ours - exact).norm() < 1e-4 * exact.norm()


def test_float32_without_digits_for_the_damping_still_moves_what_is_observed():
    (ours, exact), _ = velocities_in_float32_and_exactly(chain_far_away(1e-7))
    assert (ours[:, 50:] - exact[:, 50:]).norm() < 1e-3 * exact[:, 50:].norm()


def test_float32_without_damping_stays_finite():
    p = chain_far_away(0.0)
    w, t = solve({name: x.float() for name, x in p.items()}, tree_of(CHAIN, torch.float32))
    assert w.isfinite().all()
    assert t.isfinite().all()


def test_float32_velocities_far_from_the_origin():
    tree = tree_of(CHAIN)
    joints = (100 + 0.05 * torch.randn(2, 60, 3, dtype=torch.float64).cumsum(1)).float().double()
    w, t = torch.randn(2, 60, 3, 1, dtype=torch.float64), torch.randn(2, 3, 1, dtype=torch.float64)
    exact = spatial_velocities(w, t, joints, tree)
    single = spatial_velocities(w.float(), t.float(), joints.float(), tree_of(CHAIN, torch.float32))
    assert all((a - b).norm() < 1e-6 * b.norm() for a, b in zip(single, exact))


def test_forces_are_the_transpose_of_velocities():
    p, tree = random_problem(FORKED), tree_of(FORKED)
    w, t = torch.randn_like(p['d']), torch.randn_like(p['d_t'])
    v, o = spatial_velocities(w, t, p['joints'], tree)
    on_w, on_t = spatial_forces(p['f'], p['m'], p['joints'], tree)
    power = (p['f'] * v).sum((1, 2)) + (p['m'] * o).sum((1, 2))
    assert torch.allclose((on_w * w).sum((1, 2)) + (on_t * t).sum(1), power)


def test_velocities_are_the_dense_map():
    p, tree = random_problem(FORKED), tree_of(FORKED)
    v, o = spatial_velocities(p['d'], p['d_t'], p['joints'], tree)
    dense = dense_map(p['joints'], tree) @ torch.cat((p['d'].flatten(1, 2), p['d_t']), 1)
    assert torch.allclose(torch.cat((v, o), 1).flatten(1, 2), dense)


def test_velocities_are_differences_of_kinematics():
    tree, step = tree_of(FORKED), 1e-6
    pose, w = 0.7 * torch.randn(2, 2, len(FORKED), 3, dtype=torch.float64)
    rest = torch.randn(2, len(FORKED), 3, dtype=torch.float64)
    t = torch.randn(2, 3, dtype=torch.float64)
    rotations = axis_angle_to_rotmat(pose)
    frames, joints = forward_kinematics(rotations, rest, tree)
    above = frames[:, tree.parents]
    above[:, 0] = torch.eye(3)

    def moved(by):
        turn = axis_angle_to_rotmat((above.mT @ (by * w).unsqueeze(-1)).squeeze(-1))
        frames, joints = forward_kinematics(turn @ rotations, rest, tree)
        return joints + by * t[:, None], frames

    v, o = spatial_velocities(w.unsqueeze(-1), t.unsqueeze(-1), joints, tree)
    (ahead, frames_ahead), (behind, frames_behind) = moved(step), moved(-step)
    assert torch.allclose((ahead - behind) / (2 * step), v.squeeze(-1), atol=1e-7)
    turning = torch.linalg.cross(o.expand(frames.shape), frames, dim=-2)
    assert torch.allclose((frames_ahead - frames_behind) / (2 * step), turning, atol=1e-7)


def test_subtree_inertia_is_the_diagonal_of_the_normal_matrix():
    p, tree = random_problem(FORKED), tree_of(FORKED)
    t_map = dense_map(p['joints'], tree)
    hessian = (t_map.mT @ weights(p) @ t_map).unflatten(1, (-1, 3)).unflatten(3, (-1, 3))
    blocks = hessian.diagonal(dim1=1, dim2=3).movedim(-1, 1)
    rotations, translation = subtree_inertia(p['joints'], tree, p['vv'], p['vo'], p['oo'])
    assert torch.allclose(rotations, blocks[:, :-1])
    assert torch.allclose(translation, blocks[:, -1])
