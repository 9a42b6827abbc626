"""Peers D and E: inverse kinematics by MuJoCo's tree and Jacobians, of a body of one known shape.

The body model's rest joints become an MJCF tree: a free root and ball joints, whose body frames are the joints'.
D is Levenberg-Marquardt in numpy, as one writes it in an hour; E is mink, with its tasks and its quadratic program.
Both are of one frame; a batch is a loop.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.fitting.peers import Fitted
from benchmarks.fitting.problems import Problem
from smilfit.body_models import SMIL
from smilfit.structures import BodyParams

N_ITER, FTOL = 50, 1e-6
# Damping as smilfit has it: start, factor after a rejected step, least.
START, REJECTED, LEAST = 3e-2, 4.0, 1e-9
# A step that moves nothing by more (rad, model unit) ends a fit by mink, which has no energy of its own.
MINK_STEP = 3e-3


@dataclass(frozen=True)
class Tree:
    """MuJoCo's model of a body, and the root's place at rest."""

    model: Any
    data: Any
    root: np.ndarray

    @classmethod
    def of(cls, body: SMIL) -> 'Tree':
        """Write the rest joints as MJCF and compile it."""
        import mujoco

        with torch.no_grad():
            rest = body(body.zero_params(1)).joints[0].double().numpy()
        model = mujoco.MjModel.from_xml_string(mjcf(rest, body.data.parents))
        return cls(model, mujoco.MjData(model), rest[0])

    def params(self, poses: np.ndarray, n_betas: int) -> BodyParams:
        """Turn MuJoCo's coordinates (B, 7 + 4 (J - 1)) into parameters."""
        import mujoco

        turns = np.zeros((len(poses), (poses.shape[1] - 3) // 4, 3))
        for pose, turn in zip(poses, turns):
            for quaternion, vector in zip(pose[3:].reshape(-1, 4), turn):
                mujoco.mju_quat2Vel(vector, quaternion, 1.0)
        turns, place = torch.from_numpy(turns), torch.from_numpy(poses[:, :3] - self.root)
        rows = len(poses)
        return BodyParams(
            turns[:, 0], turns[:, 1:], place.new_zeros(rows, n_betas), place, place.new_ones(rows)
        )


def mjcf(rest: np.ndarray, parents: np.ndarray) -> str:
    """Write a tree of joints (J, 3) as MJCF: a free root, ball joints."""
    children: list[list[int]] = [[] for _ in rest]
    for j, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(j)

    def write(j: int) -> str:
        place = rest[j] - (rest[parents[j]] if parents[j] >= 0 else 0.0)
        joint = '<freejoint/>' if parents[j] < 0 else '<joint type="ball"/>'
        mass = '<inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>'
        inside = ''.join(map(write, children[j]))
        return f'<body name="{j}" pos="{" ".join(map(repr, place.tolist()))}">{joint}{mass}{inside}</body>'

    return f'<mujoco><worldbody>{write(0)}</worldbody></mujoco>'


def levenberg_marquardt(problem: Problem, tree: Tree) -> Fitted:
    """Fit frame by frame as peer D does, from the zero pose."""
    found = [_one(tree, seen, problem) for seen in problem.seen.xyz.double().numpy()]
    poses = np.stack([pose for pose, _ in found])
    return Fitted(tree.params(poses, problem.body.n_betas), max(steps for _, steps in found))


def _one(tree: Tree, seen: np.ndarray, problem: Problem) -> tuple[np.ndarray, int]:
    import mujoco

    model = tree.model
    pose, damping, growth = model.qpos0.copy(), START, REJECTED
    energy, gradient, hessian = _linearised(tree, pose, seen, problem)
    for n_steps in range(1, N_ITER + 1):
        damped = hessian + damping * np.diag(hessian.diagonal())
        motion = np.linalg.solve(damped, -gradient)
        predicted = -(motion @ (2 * gradient + hessian @ motion))
        moved = pose.copy()
        mujoco.mj_integratePos(model, moved, motion, 1.0)
        after, next_gradient, next_hessian = _linearised(tree, moved, seen, problem)
        if after > energy:
            damping, growth = growth * damping, 2 * growth
            continue
        quality = (energy - after) / max(predicted, 1e-300)
        small = energy - after < FTOL * energy
        pose, energy, gradient, hessian = moved, after, next_gradient, next_hessian
        damping, growth = max(LEAST, damping * max(0.1, 1 - (2 * min(quality, 1.0) - 1) ** 3)), REJECTED
        if small:
            return pose, n_steps
    return pose, N_ITER


def _linearised(
    tree: Tree, pose: np.ndarray, seen: np.ndarray, problem: Problem
) -> tuple[float, np.ndarray, np.ndarray]:
    """Give the energy, half its gradient and half of Gauss-Newton's hessian."""
    import mujoco

    model, data = tree.model, tree.data
    data.qpos[:] = pose
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    jacobian = np.empty((model.nbody - 1, 3, model.nv))
    for j in range(model.nbody - 1):
        mujoco.mj_jacBody(model, data, jacobian[j], None, j + 1)
    jacobian = jacobian.reshape(-1, model.nv)
    residual = (data.xpos[1:] - seen).ravel()
    turn = np.zeros(model.nv)
    mujoco.mj_differentiatePos(model, turn, 1.0, model.qpos0, pose)
    turn[:6] = 0.0
    energy = problem.weight * residual @ residual + problem.weight_pose * turn @ turn
    # A rotation vector is an eigenvector of its own Jacobian, of eigenvalue 1: the gradient is exact.
    gradient = problem.weight * jacobian.T @ residual + problem.weight_pose * turn
    hessian = problem.weight * jacobian.T @ jacobian
    hessian[range(6, model.nv), range(6, model.nv)] += problem.weight_pose
    return float(energy), gradient, hessian


def mink_tasks(problem: Problem, tree: Tree) -> Fitted:
    """Fit frame by frame as peer E does: mink's tasks, steps of 1, until the steps are short."""
    import mink

    poses, most = [], 0
    frames = [
        mink.FrameTask(str(j), 'body', position_cost=problem.weight**0.5, orientation_cost=0.0)
        for j in range(tree.model.nbody - 1)
    ]
    cost = np.r_[np.zeros(6), np.full(tree.model.nv - 6, problem.weight_pose**0.5)]
    posture = mink.PostureTask(tree.model, cost=cost)
    for seen in problem.seen.xyz.double().numpy():
        configuration = mink.Configuration(tree.model, tree.model.qpos0.copy())
        posture.set_target(tree.model.qpos0)
        for n_steps in range(1, N_ITER + 1):
            for j, task in enumerate(frames):
                # The target takes the frame's own rotation: else what it lacks of it would count as a distance.
                turn = configuration.get_transform_frame_to_world(str(j), 'body').rotation()
                task.set_target(mink.SE3.from_rotation_and_translation(turn, seen[j]))
            motion = mink.solve_ik(configuration, [*frames, posture], 1.0, 'daqp', damping=1e-9, limits=[])
            configuration.integrate_inplace(motion, 1.0)
            most = max(most, n_steps)
            if np.abs(motion).max() < MINK_STEP:
                break
        poses.append(configuration.q.copy())
    return Fitted(tree.params(np.stack(poses), problem.body.n_betas), most)
