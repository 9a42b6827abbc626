"""Peer F: jaxls, pyroki's solver, on the same tree: one variable a frame, Jacobians by jax, dense Cholesky.

Compiled once for every batch, without the time that this takes; a batch is `jax.vmap` of one frame.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.fitting.peers import Fitted
from benchmarks.fitting.problems import Problem
from smilfit.body_models import SMIL
from smilfit.structures import BodyParams

N_ITER, FTOL = 50, 1e-6


def jaxls_method(body: SMIL, weight: float, weight_pose: float) -> Callable[[Problem], Fitted]:
    """Make the method: its solver is compiled at the first call of every batch."""
    import jax
    from loguru import logger

    logger.disable('jaxls')
    solve = jax.jit(jax.vmap(_solver(body, weight, weight_pose)))

    def method(problem: Problem) -> Fitted:
        orient, place, steps = (np.array(x) for x in solve(problem.seen.xyz.numpy()))
        turns, place = torch.from_numpy(orient), torch.from_numpy(place)
        rows = problem.batch
        params = BodyParams(
            turns[:, 0],
            turns[:, 1:],
            place.new_zeros(rows, problem.body.n_betas),
            place,
            place.new_ones(rows),
        )
        return Fitted(params, int(steps.max()))

    return method


def _solver(body: SMIL, weight: float, weight_pose: float) -> Callable[[Any], Any]:
    """Give a function of one frame's points: rotation vectors, the root's shift and the steps."""
    import jax
    import jaxlie
    import jaxls
    from jax import numpy as jnp

    n_joints = body.n_joints
    joints_of = _joints(body)

    def moved(value: Any, step: Any) -> Any:
        turns = jaxlie.SO3(value[3:].reshape(n_joints, 4)) @ jaxlie.SO3.exp(step[3:].reshape(n_joints, 3))
        return jnp.concatenate([value[:3] + step[:3], turns.wxyz.ravel()])

    rest = np.concatenate([np.zeros(3), np.tile([1.0, 0, 0, 0], n_joints)]).astype(np.float32)

    class Pose(
        jaxls.Var[jax.Array],
        default_factory=lambda: jnp.asarray(rest),
        retract_fn=moved,
        tangent_dim=3 + 3 * n_joints,
    ):
        pass

    def residual(values: Any, pose: Any, seen: Any) -> Any:
        turns = jaxlie.SO3(values[pose][3:].reshape(n_joints, 4))
        apart = joints_of(turns, values[pose][:3]) - seen
        return jnp.concatenate(
            [weight**0.5 * apart.ravel(), weight_pose**0.5 * jaxlie.SO3(turns.wxyz[1:]).log().ravel()]
        )

    def solve(seen: Any) -> Any:
        pose = Pose(0)
        problem = jaxls.LeastSquaresProblem([jaxls.Cost(residual, (pose, seen))], [pose]).analyze()
        found, summary = problem.solve(
            verbose=False,
            linear_solver='dense_cholesky',
            termination=jaxls.TerminationConfig(
                max_iterations=N_ITER, cost_tolerance=FTOL, gradient_tolerance=0.0, parameter_tolerance=0.0
            ),
            return_summary=True,
        )
        turns = jaxlie.SO3(found[pose][3:].reshape(n_joints, 4))
        return turns.log(), found[pose][:3], summary.iterations

    return solve


def _joints(body: SMIL) -> Callable[[Any, Any], Any]:
    """Give the tree as a function of rotations and the root's shift, level by level."""
    from jax import numpy as jnp

    with torch.no_grad():
        rest = body(body.zero_params(1)).joints[0].numpy()
    parents = np.asarray(body.data.parents)
    depth = np.zeros(len(parents), int)
    for j, parent in enumerate(parents):
        depth[j] = 0 if parent < 0 else depth[parent] + 1
    levels = [np.flatnonzero(depth == d) for d in range(1, depth.max() + 1)]

    def joints(turns: Any, shift: Any) -> Any:
        local = turns.as_matrix()
        world = jnp.zeros_like(local).at[0].set(local[0])
        places = jnp.zeros_like(jnp.asarray(rest)).at[0].set(rest[0] + shift)
        for level in levels:
            above = parents[level]
            bones = jnp.einsum('jab,jb->ja', world[above], rest[level] - rest[above])
            places = places.at[level].set(places[above] + bones)
            world = world.at[level].set(world[above] @ local[level])
        return places

    return joints
