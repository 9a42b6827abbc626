"""Single Newton steps of posed trees for a loop in torch: energies, factors that are kept, solutions, next states."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.solvers.chain_loads import ChainLoads, ChainMotion, ChainQuadratic
from smilfit.solvers.chain_problem import ChainProblem, ChainState
from smilfit.solvers.damping import LONGEST_TURN

FORWARD, BORDER, BACK = 1, 2, 4


def alone(sums: Tensor) -> Tensor:
    """Add the sums of one process."""
    return sums


@dataclass(frozen=True)
class ChainStep:
    """A damped step and the reduction of the energy that the quadratic model predicts, by frame."""

    motion: ChainMotion
    predicted_reduction: Float[Tensor, ' B']


class ChainSteps:
    """The steps of one problem, built once and launched again for every state.

    Every frame has a workspace of its own that keeps its factor until the next is asked for.

    Args:
        problem: the problem; what its start does not fix is free, its start itself is not used.
        shared: whether the border (coefficients, scale) is one of all frames. Then the Schur complements are summed
            over frames, and solved in float64.
        active: the frames that take part; None for all. The others do not move, and count in no sum.
        reduce: adds a tensor of float64 sums over processes that hold other frames.

    Raises:
        ImportError: warp is not installed.
    """

    def __init__(
        self,
        problem: ChainProblem,
        shared: bool = False,
        active: Bool[Tensor, ' B'] | None = None,
        reduce: Callable[[Tensor], Tensor] = alone,
    ) -> None:
        from smilfit.solvers.warp_launch import Launch, free_roles
        from smilfit.solvers.warp_steps import step_kernels, step_structs

        self.problem, self.shared, self.reduce = problem, shared, reduce
        self.launch = Launch(problem, problem.n_frames, free_roles(problem))
        scalar = self.launch.types.scalar
        self.kernels, self.structs = step_kernels(scalar), step_structs(scalar)
        like = problem.start.transl
        self.active = like.new_ones(problem.n_frames, dtype=torch.bool) if active is None else active
        self.generation = 0
        b, j, chunks = problem.n_frames, problem.n_joints, self.launch.n_chunks
        width = chunks * self.launch.types.wide._length_
        shapes = dict.fromkeys(('force', 'moment', 'torque', 'turns', 'angular', 'velocity'), (b, j, 3))
        shapes |= {'transl': (b, 3), 'border': (b, width), 'mu': (b,), 'predicted': (b,)}
        self.buffers = {name: like.new_zeros(shape) for name, shape in shapes.items()}
        self.square = like.new_zeros((b, problem.n_border, width) if shared else (1, 1, width))
        self.gradients = {
            name: like.new_zeros(shapes[name]) for name in ('force', 'moment', 'torque', 'border')
        }
        self.solution = self._struct(self.buffers)
        self.linearisation = self._struct(self.buffers | self.gradients)

    @property
    def memory(self) -> int:
        """Count the bytes that the frames' workspaces take."""
        return self.launch.memory

    def energy(self, state: ChainState, robust_scale: float = 1.0) -> Float[Tensor, ' B']:
        """Compute the frames' energies; robust sigmas are widened by a factor. The factor at hand stays."""
        self.linearisation.widening = robust_scale
        energy = torch.zeros_like(state.log_scale)
        fit = self.launch.view_state(state, {'energy': energy})
        self._run(self.kernels.energies, [self.launch.seen, fit, self.linearisation])
        return energy

    def factorise(
        self,
        state: ChainState,
        damping: Float[Tensor, ' B'],
        robust_scale: float = 1.0,
        extra: ChainQuadratic | None = None,
    ) -> 'ChainFactor':
        """Linearise at a state and factorise the damped system. The factor before it is gone."""
        self.generation += 1
        self.buffers['mu'].copy_(damping)
        self.linearisation.widening = robust_scale
        energy = torch.zeros_like(state.log_scale)
        fit = self.launch.view_state(state, {'energy': energy})
        self._run(
            self.kernels.factorise,
            [self.launch.seen, fit, self.linearisation, self._extra(extra or ChainQuadratic())],
        )
        return ChainFactor(self, energy)

    def follow(self, state: ChainState, motion: ChainMotion) -> ChainState:
        """Give the state after a motion: `R_j <- exp(G_parent^T turn_j) R_j`, the rest is added."""
        from smilfit.solvers.warp_launch import own_state

        self._fill(self.buffers, {'turns': motion.turns, 'transl': motion.transl, 'border': motion.border})
        following = own_state(state)
        self._run(self.kernels.follow, [self.launch.view_state(following), self.solution])
        return following

    def _run(self, kernel: Any, inputs: list) -> None:
        if self.problem.n_frames:
            self.launch.launch(kernel, inputs)

    def _struct(self, tensors: dict[str, Tensor]) -> Any:
        f, launch = self.structs.Factor(), self.launch
        f.shared = int(self.shared)
        f.active = launch.integers(self.active)
        f.square = launch.wide_rows(self.square)
        for name, value in tensors.items():
            if name == 'border':
                f.border = launch.wide_rows(value)
            elif value.ndim == 1:
                setattr(f, name, launch.numbers(value))
            else:
                setattr(f, name, launch.elements(value, launch.types.vec3))
        return f

    def _extra(self, extra: ChainQuadratic) -> Any:
        e, launch = self.structs.Extra(), self.launch
        c = launch.chain
        c.has_turns = int(extra.turn_gradient is not None)
        if extra.turn_gradient is not None:
            c.turn_gradient = launch.elements(extra.turn_gradient, launch.types.vec3)
            c.turn_hessian = launch.elements(extra.turn_hessian, launch.types.mat33)
        if extra.joint_gradient is not None:
            e.joint_gradient, e.joint_hessian = (
                launch.numbers(extra.joint_gradient),
                launch.numbers(extra.joint_hessian),
            )
        for name in ('border_cross', 'border_gradient', 'border_hessian'):
            value = getattr(extra, name)
            if value is not None:
                setattr(e, name, launch.columns(value))
        return e

    def _fill(self, buffers: dict[str, Tensor], values: dict[str, Tensor]) -> None:
        q = self.problem.n_border
        for name, value in values.items():
            (buffers[name][:, :q] if name == 'border' else buffers[name]).copy_(value)


class ChainFactor:
    """The factorised damped system of all frames at a state.

    Args:
        steps: whose workspaces hold it.
        energy: of every frame.
    """

    def __init__(self, steps: ChainSteps, energy: Float[Tensor, ' B']) -> None:
        self.steps, self.energy = steps, energy
        self._generation = steps.generation
        self._schur = self._shared_schur() if steps.shared else None

    def gradient(self) -> ChainLoads:
        """Give the energy's gradient; of a shared border its sum over all frames."""
        s = self.steps
        found = {
            name: torch.where(s.active[(slice(None),) + (None,) * (v.ndim - 1)], v, 0)
            for name, v in s.gradients.items()
        }
        border = found.pop('border')[:, : s.problem.n_border]
        if s.shared:
            border = s.reduce(border.double().sum(0)).to(border)
        return ChainLoads(**found, transl=torch.zeros_like(s.buffers['transl']), border=border)

    def solve(self, loads: ChainLoads) -> ChainMotion:
        """Give the motion that answers loads."""
        return self._solve(loads, float('inf'), loads.border)

    def step(self) -> ChainStep:
        """Give the damped Newton step; joints turn by `LONGEST_TURN` at most."""
        s = self.steps
        gradient = self.gradient()
        zero = torch.zeros_like(gradient.force)
        loads = ChainLoads(zero, zero, zero, gradient.transl, torch.zeros_like(gradient.border)).plus(
            gradient, -1.0
        )
        motion = self._solve(loads, LONGEST_TURN, loads.border)
        predicted = s.buffers['predicted'].clone()
        if s.shared:
            predicted = predicted - self._border_rise(motion.border)
        return ChainStep(motion, torch.where(s.active, predicted, 0))

    def _solve(self, loads: ChainLoads, longest: float, border: Tensor) -> ChainMotion:
        s = self.steps
        if s.generation != self._generation:
            raise RuntimeError(
                'ChainFactor: the factor must be the latest of its ChainSteps; another came after it.'
            )
        values = {name: getattr(loads, name) for name in ('force', 'moment', 'torque', 'transl')}
        q = s.problem.n_border
        s.buffers['border'].zero_()
        s._fill(s.buffers, values if s.shared else values | {'border': border})
        if s.shared:
            s._run(s.kernels.solve, [s.solution, FORWARD, longest])
            side = torch.where(s.active[:, None], s.buffers['border'][:, :q], 0)
            self._sides = side + s.gradients['border'][:, :q] * 0.5 if longest < float('inf') else side
            total = s.reduce(side.double().sum(0)) - 0.5 * border.double()
            step = self._border_step(total)
            s.buffers['border'][:, :q] = step.to(side)
            s._run(s.kernels.solve, [s.solution, BACK, longest])
        else:
            s._run(s.kernels.solve, [s.solution, FORWARD | BORDER | BACK, longest])
        names = ('turns', 'transl', 'angular', 'velocity')
        found = {
            name: torch.where(s.active.view(-1, *[1] * (s.buffers[name].ndim - 1)), s.buffers[name], 0)
            for name in names
        }
        answer = step.to(side) if s.shared else torch.where(s.active[:, None], s.buffers['border'][:, :q], 0)
        return ChainMotion(**found, border=answer)

    def _shared_schur(self) -> Tensor:
        """Sum the Schur complements of all frames, and damp them by the frames' geometric mean."""
        s, q = self.steps, self.steps.problem.n_border
        upper = torch.where(s.active[:, None, None], s.square[:, :, :q], 0).double().sum(0).triu()
        # A mean of logarithms: few frames that hardly move are not to hold the border.
        damping = torch.where(s.active, s.buffers['mu'], 1).double().log().sum()
        sums = s.reduce(torch.cat((upper.flatten(), damping[None], s.active.sum().double()[None])))
        upper, mean = sums[: q * q].view(q, q), (sums[-2] / sums[-1].clamp_min(1)).exp()
        matrix = upper + upper.triu(1).T
        diagonal = matrix.diagonal().clamp_min(0)
        # What nothing sees does not move.
        self._dead = diagonal <= 1e-12 * diagonal.max().clamp_min(1e-300) if q else diagonal > 0
        return matrix + (mean * diagonal + self._dead.double()).diag()

    def _border_step(self, side: Tensor) -> Tensor:
        step = -torch.linalg.solve(self._schur, side)
        return torch.where(self._dead, torch.zeros_like(step), step)

    def _border_rise(self, z: Tensor) -> Tensor:
        """Give by how much a shared border's step raises the frames' predicted energies."""
        upper = self.steps.square[:, :, : len(z)].triu()
        matrix = upper + upper.triu(1).mT
        # Sums by frame: matrix products would round by how many frames there are.
        return ((2 * self._sides + (matrix * z).sum(-1)) * z).sum(-1)
