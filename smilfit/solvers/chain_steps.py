"""Single Newton steps of posed trees for a loop in torch: loads, motions, energies, factors and next states.

A motion's power under loads is `force . velocity + moment . angular + torque . turns + transl . transl + border .
border`, summed over joints. All axes are the world's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.damping import LONGEST_ROTATION
from smilfit.solvers.chain_problem import ChainProblem, ChainState

if TYPE_CHECKING:
    import warp as wp

    from smilfit.solvers.kernel.warp_types import Extra, Factor

Kind = TypeVar('Kind', bound='_Rows')


@dataclass(frozen=True)
class _Rows:
    """Vectors of all frames by joint, three kinds one after the other, and one of the root; and the border's.

    Args:
        rows: of all joints against the first kind, the second, the third; then the root's.
        border: of coefficients, then the logarithm of the scale; (q,) where it is shared by all frames.
    """

    rows: Float[Tensor, 'B R 3']
    border: Float[Tensor, '*B q']

    def plus(self: Kind, other: Kind, factor: float = 1.0) -> Kind:
        """Add a multiple of another."""
        border = self.border + factor * other.border
        return type(self)(torch.add(self.rows, other.rows, alpha=factor), border)

    def _kind(self, i: int) -> Float[Tensor, 'B J 3']:
        n = self.rows.shape[1] // 3
        return self.rows[:, n * i : n * (i + 1)]


class ChainMotion(_Rows):
    """A change of all frames."""

    @property
    def velocity(self) -> Float[Tensor, 'B J 3']:
        """Return the velocity of the joints' places."""
        return self._kind(0)

    @property
    def angular(self) -> Float[Tensor, 'B J 3']:
        """Return the angular velocity of the joints' frames, the sum of the turns from the root."""
        return self._kind(1)

    @property
    def turns(self) -> Float[Tensor, 'B J 3']:
        """Return the turns of every joint against its parent, rad."""
        return self._kind(2)

    @property
    def transl(self) -> Float[Tensor, 'B 3']:
        """Return the root's translation."""
        return self.rows[:, -1]

    def no_rotation_beyond(self, longest: float) -> 'ChainMotion':
        """Shorten the turns to so many rad at most."""
        rows = self.rows.clone()
        turns = ChainMotion(rows, self.border).turns
        turns *= longest / turns.norm(dim=-1, keepdim=True).clamp_min(longest)
        return ChainMotion(rows, self.border)


class ChainLoads(_Rows):
    """What the energy's change is linear in; gradients are loads."""

    @property
    def force(self) -> Float[Tensor, 'B J 3']:
        """Return the forces on the joints' places."""
        return self._kind(0)

    @property
    def moment(self) -> Float[Tensor, 'B J 3']:
        """Return the moments on the joints' frames."""
        return self._kind(1)

    @property
    def torque(self) -> Float[Tensor, 'B J 3']:
        """Return the torques on the joints' own turns."""
        return self._kind(2)

    @property
    def transl(self) -> Float[Tensor, 'B 3']:
        """Return the load on the root's translation alone."""
        return self.rows[:, -1]

    def with_force(self, force: Float[Tensor, 'B J 3']) -> 'ChainLoads':
        """Add forces on the joints."""
        result = ChainLoads(self.rows.clone(), self.border)
        result.force.add_(force)
        return result

    def power(self, motion: ChainMotion) -> Float[Tensor, ' B']:
        """Return the power of every frame but that of a shared border, in float64."""
        own = (self.rows * motion.rows).sum((1, 2), dtype=torch.float64)
        if motion.border.ndim == 1:
            return own
        return own + (self.border * motion.border).sum(1, dtype=torch.float64)

    def border_power(self, motion: ChainMotion) -> Float[Tensor, '']:
        """Return the power of a border that all frames share."""
        return (self.border * motion.border).sum(dtype=torch.float64)


@dataclass(frozen=True)
class ChainQuadratic:
    """An energy beside the tree's own: `gradient . m + m . hessian m / 2` of a motion m. What is None is zero.

    Args:
        joint_gradient: by (angular velocity of the joint's frame, velocity of its place).
        joint_hessian: by the same, symmetric; given together with the gradient.
        rotation_gradient: by the joint's own turn.
        rotation_hessian: by the same, symmetric; given together with the gradient.
        border_cross: by the joint's twist and the border.
        border_gradient: by the border.
        border_hessian: by the border, symmetric.
    """

    joint_gradient: Float[Tensor, 'B J 6'] | None = None
    joint_hessian: Float[Tensor, 'B J 6 6'] | None = None
    rotation_gradient: Float[Tensor, 'B J 3'] | None = None
    rotation_hessian: Float[Tensor, 'B J 3 3'] | None = None
    border_cross: Float[Tensor, 'B J 6 q'] | None = None
    border_gradient: Float[Tensor, 'B q'] | None = None
    border_hessian: Float[Tensor, 'B q q'] | None = None

    def __post_init__(self) -> None:
        for name in ('joint', 'rotation'):
            if (getattr(self, f'{name}_gradient') is None) != (getattr(self, f'{name}_hessian') is None):
                raise ValueError(
                    f'ChainQuadratic: {name}_gradient and {name}_hessian must be given together; got one of them. '
                    'Give zeros for the other.'
                )


FORWARD, BACK, DAMPING = 1, 2, 4
# Frames whose matrices are added at a time: in float64, so that the sum hardly depends on who holds which frames, and
# few, so that a copy in float64 stays in the cache.
BLOCK = 16
KINDS = {
    'loads': ('force', 'moment', 'torque', 'transl'),
    'answer': ('velocity', 'angular', 'turns', 'shift'),
}


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
        from smilfit.solvers.kernel.warp_launch import Launch, free_roles
        from smilfit.solvers.kernel.warp_steps import step_kernels

        self.problem, self.shared, self.reduce = problem, shared, reduce
        self.launch = Launch(problem, problem.n_frames, free_roles(problem))
        self.kernels = step_kernels(self.launch.types.scalar)
        like = problem.start.transl
        self.active = like.new_ones(problem.n_frames, dtype=torch.bool) if active is None else active
        self.all_active = bool(self.active.all())
        self.generation = 0
        b, rows, width = problem.n_frames, 3 * problem.n_joints + 1, self.launch.width
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(('loads', 'answer', 'gradient'), (b, rows, 3))
        shapes |= dict.fromkeys(('border', 'side', 'gradient_border'), (b, width))
        shapes |= dict.fromkeys(('mu', 'predicted'), (b,))
        # What the kernels do not write, the rows of frames that take no part among it, stays 0.
        self.buffers = {name: like.new_zeros(shape) for name, shape in shapes.items()}
        self.solution = self._struct('loads', 'border')
        self.linearisation = self._struct('gradient', 'gradient_border')

    @property
    def memory(self) -> int:
        """Count the bytes that the frames' workspaces take."""
        return self.launch.memory

    def energy(self, state: ChainState, robust_scale: float = 1.0) -> Float[Tensor, ' B']:
        """Compute the frames' energies; robust sigmas are widened by a factor. The factor at hand stays."""
        return self._energy(self.kernels.energies, state, robust_scale)

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
        more = self._extra(extra or ChainQuadratic())
        return ChainFactor(self, self._energy(self.kernels.factorise, state, robust_scale, more))

    def _energy(self, kernel: 'wp.Kernel', state: ChainState, robust_scale: float, *more: object) -> Tensor:
        self.linearisation.widening = robust_scale
        energy = torch.zeros_like(state.log_scale)
        fit = self.launch.view_state(state, {'energy': energy})
        self._run(kernel, [self.launch.observed, fit, self.linearisation, *more])
        return energy

    def follow(self, state: ChainState, motion: ChainMotion) -> ChainState:
        """Return the state after a motion: `R_j <- exp(G_parent^T turn_j) R_j`, the rest is added."""
        from smilfit.solvers.kernel.warp_launch import own_state

        self.buffers['answer'].copy_(motion.rows)
        self.fill_border(motion.border)
        following = own_state(state)
        self._run(self.kernels.follow, [self.launch.view_state(following), self.solution])
        return following

    def fill_border(self, border: Float[Tensor, '*B q'] | float) -> None:
        """Hand the kernels what the border's columns have, the same in all frames where it is shared."""
        self.buffers['border'][:, : self.launch.n_border] = border

    def solve(self, part: int, longest: float) -> None:
        """Run a part of the substitution."""
        self._run(self.kernels.solve, [self.solution, part, longest])

    def _run(self, kernel: 'wp.Kernel', inputs: Sequence[object]) -> None:
        if self.problem.n_frames:
            self.launch.launch(kernel, inputs)

    def _struct(self, loads: str, border: str) -> 'Factor':
        f, launch, buffers = self.kernels.Factor(), self.launch, self.buffers
        f.shared, f.active = int(self.shared), launch.integers(self.active)
        f.border, f.side = launch.wide_rows(buffers[border]), launch.wide_rows(buffers['side'])
        f.mu, f.predicted = launch.numbers(buffers['mu']), launch.numbers(buffers['predicted'])
        n = self.problem.n_joints
        for kinds, rows in ((KINDS['loads'], buffers[loads]), (KINDS['answer'], buffers['answer'])):
            for i, name in enumerate(kinds):
                part = rows[:, -1] if i == 3 else rows[:, n * i : n * (i + 1)]
                setattr(f, name, launch.elements(part, launch.types.vec3))
        return f

    def _extra(self, extra: ChainQuadratic) -> 'Extra':
        e, launch = self.kernels.Extra(), self.launch
        c = launch.chain
        launch.use_chunks(everywhere=extra.border_cross is not None)
        c.has_rotations = int(extra.rotation_gradient is not None)
        if extra.rotation_gradient is not None and extra.rotation_hessian is not None:
            c.rotation_gradient = launch.elements(extra.rotation_gradient, launch.types.vec3)
            c.rotation_hessian = launch.elements(extra.rotation_hessian, launch.types.mat33)
        for name in ('joint_gradient', 'joint_hessian', 'border_cross', 'border_gradient', 'border_hessian'):
            value = getattr(extra, name)
            if value is not None:
                view = launch.numbers if name.startswith('joint') else launch.columns
                setattr(e, name, view(value))
        return e


class ChainFactor:
    """The factorised damped system of all frames at a state.

    Args:
        steps: whose workspaces hold it.
        energy: of every frame.
    """

    def __init__(self, steps: ChainSteps, energy: Float[Tensor, ' B']) -> None:
        self.steps, self.energy = steps, energy
        self._generation = steps.generation
        if steps.shared:
            self._factorise_shared()

    def gradient(self) -> ChainLoads:
        """Return the energy's gradient; of a shared border its sum over all frames."""
        s = self.steps
        border = s.buffers['gradient_border'][:, : s.launch.n_border]
        if s.shared:
            border = s.reduce(border.sum(0, dtype=torch.float64)).to(border)
        return ChainLoads(s.buffers['gradient'].clone(), border.clone())

    def solve(self, loads: ChainLoads) -> ChainMotion:
        """Return the motion that answers loads."""
        if not self.steps.shared:
            return self._solve(loads.rows, loads.border, 0.0, float('inf'))
        return self._solve(loads.rows, 0.0, loads.border.double(), float('inf'))

    def step(self) -> ChainStep:
        """Return the damped Newton step; joints turn by `LONGEST_ROTATION` at most."""
        s = self.steps
        border = s.buffers['gradient_border'][:, : s.launch.n_border]
        motion = self._solve(-s.buffers['gradient'], -border, 0.0, LONGEST_ROTATION)
        return ChainStep(motion, s.buffers['predicted'].clone())

    def predicted_reduction(self, loads: ChainLoads, motion: ChainMotion) -> Float[Tensor, ' B']:
        """Return the quadratic model's reduction by a motion that answers loads, the negative gradient.

        It is `loads . m / 2 + m . D m` with the damping D, also where couplings between frames are in the
        system. Of a shared border's part every frame has the same share.
        """
        s = self.steps
        s.buffers['answer'].copy_(motion.rows)
        s.fill_border(motion.border)
        s.solve(DAMPING, 0.0)
        result = 0.5 * loads.power(motion) + s.buffers['predicted']
        if s.shared:
            damping = (self._border_damping * motion.border.square()).sum()
            result = result + (0.5 * loads.border_power(motion) + damping) / self._n_frames
        return result.to(motion.rows)

    def _solve(
        self, rows: Tensor, border: Tensor | float, together: Tensor | float, longest: float
    ) -> ChainMotion:
        """Answer loads, those on the border by frame and on a shared one together."""
        s = self.steps
        if s.generation != self._generation:
            raise RuntimeError(
                'ChainFactor: the factor must be the latest of its ChainSteps; another came after it.'
            )
        s.buffers['loads'].copy_(rows)
        s.fill_border(border)
        if s.shared:
            s.solve(FORWARD, longest)
            sides = s.buffers['side'][:, : s.launch.n_border].sum(0, dtype=torch.float64)
            step = self._border_step(s.reduce(sides) - 0.5 * together).to(rows)
            s.fill_border(step)
            s.solve(BACK, longest)
        else:
            s.solve(FORWARD | BACK, longest)
            step = s.buffers['border'][:, : s.launch.n_border].clone()
        return ChainMotion(s.buffers['answer'].clone(), step)

    def _factorise_shared(self) -> None:
        """Sum the Schur complements of all frames, and damp them by the frames' geometric mean."""
        s, q = self.steps, self.steps.launch.n_border
        # A mean of logarithms: few frames that hardly move are not to hold the border.
        squares, logs = s.launch.squares, s.buffers['mu'].log()
        if not s.all_active:
            squares, logs = squares[s.active], logs[s.active]
        blocks = [block.sum(0, dtype=torch.float64) for block in squares.split(BLOCK)]
        upper = sum(blocks, squares.new_zeros(q, q, dtype=torch.float64)).triu()
        count = logs.new_tensor([len(logs)])
        parts = (upper.flatten(), logs.sum(0, keepdim=True, dtype=torch.float64), count.double())
        sums = s.reduce(torch.cat(parts))
        self._n_frames = sums[-1].clamp_min(1)
        upper, mean = sums[: q * q].view(q, q), (sums[-2] / self._n_frames).exp()
        matrix = upper + upper.triu(1).T
        diagonal = matrix.diagonal().clamp_min(0)
        # What nothing sees does not move.
        self._alive = diagonal > 1e-12 * diagonal.max().clamp_min(1e-300) if q else diagonal > 0
        self._border_damping = mean * diagonal
        self._schur = torch.linalg.lu_factor(matrix + (self._border_damping + (~self._alive).double()).diag())

    def _border_step(self, side: Tensor) -> Tensor:
        return torch.linalg.lu_solve(*self._schur, -side[:, None])[:, 0] * self._alive
