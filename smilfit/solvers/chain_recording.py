"""A tree of one frame whose launches are made once, to be fitted again and again: tracking."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.damping import DAMPING, DampingPolicy
from smilfit.solvers.chain_fit import check_control, require_warp
from smilfit.solvers.chain_problem import ChainProblem


@dataclass(frozen=True)
class ChainView:
    """What the state of a recording looks like, in memory that is written again each time.

    Args:
        joints: world unit.
        points: world unit.
        pixels: of the points, through each camera.
        turns: rotation vectors of all joints in their parents' frames.
    """

    joints: Float[Tensor, 'J 3']
    points: Float[Tensor, 'K 3']
    pixels: Float[Tensor, 'C K 2']
    turns: Float[Tensor, 'J 3']


class ChainRecording:
    """A problem of one frame on a CPU, whose numbers stand in memory of its own: write, fit, read.

    What is seen (`xy`, `weights2d`, `targets3d`, `weights3d` of `problem`) and `state` are written in place before a
    fit; the fit starts at `state` and leaves its answer there.

    Args:
        problem: of one frame; its tensors are copied.
        policy: of damping.

    Raises:
        ImportError: warp is not installed.
        ValueError: several frames, or another device.
    """

    def __init__(self, problem: ChainProblem, policy: DampingPolicy = DAMPING) -> None:
        require_warp('ChainRecording')
        from smilfit.solvers.kernel.warp_launch import empty_answers, own_state

        device = problem.start.rotations.device
        if problem.n_frames != 1 or device.type != 'cpu':
            raise ValueError(
                f'ChainRecording: the problem must be of one frame on the CPU; got {problem.n_frames} on {device}. '
                'Use solve_chains for batches.'
            )
        observed = ('targets3d', 'weights3d', 'xy', 'weights2d')
        own = {name: getattr(problem, name) for name in observed}
        self.problem = replace(
            problem,
            **{
                name: v.detach().clone(memory_format=torch.contiguous_format)
                for name, v in own.items()
                if v is not None
            },
        )
        self.policy = policy
        self.state = own_state(problem.start)
        self._answers, like = empty_answers(self.state), self.state.log_scale
        j, k, c = problem.n_joints, problem.point_joint.shape[0], problem.n_cameras
        self.view = ChainView(
            like.new_zeros(j, 3), like.new_zeros(k, 3), like.new_zeros(c, k, 2), like.new_zeros(j, 3)
        )
        self.measure = self._recorded_view()

    @property
    def energy(self) -> Float[Tensor, ' 1']:
        """The energy where the last fit ended."""
        return self._answers['energy']

    @property
    def converged(self) -> Int[Tensor, ' 1']:
        """Whether the last fit converged, 1 or 0."""
        return self._answers['converged']

    @property
    def iterations(self) -> Int[Tensor, ' 1']:
        """How many steps the last fit tried."""
        return self._answers['iterations']

    def fit(
        self,
        n_iter: int = 50,
        ftol: float = 1e-6,
        graduation: tuple[float, ...] = (),
        free_joints: Bool[Tensor, ' J'] | None = None,
    ) -> Callable[[], None]:
        """Record a fit, and give what runs it; the arguments are those of `solve_chains`.

        Args:
            n_iter: most steps.
            ftol: relative decrease of the energy below which it has converged.
            graduation: factors on the robust sigmas of the first steps.
            free_joints: whose rotation is fitted; the problem's if None.

        Raises:
            ValueError: an argument that is out of range.
        """
        check_control('ChainRecording', n_iter, ftol, graduation)
        from smilfit.solvers.kernel.warp_fit import fit_kernel
        from smilfit.solvers.kernel.warp_launch import Launch, joint_roles

        problem = self.problem if free_joints is None else replace(self.problem, free_joints=free_joints)
        # A launch keeps the structs it was recorded with: each recording has its own.
        launch = Launch(problem, 1, joint_roles(problem))
        launch.control(n_iter, ftol, graduation, self.policy)
        inputs = [launch.observed, launch.view_state(self.state, self._answers)]
        return launch.record(fit_kernel(launch.types.scalar), inputs)

    def _recorded_view(self) -> Callable[[], None]:
        from smilfit.solvers.kernel.warp_fit import measure_kernel
        from smilfit.solvers.kernel.warp_launch import Launch, free_roles

        launch = Launch(self.problem, 1, free_roles(self.problem))
        made = measure_kernel(launch.types.scalar)
        m, t, v = made.Measured(), launch.types, self.view
        m.joints, m.points, m.turns = (
            launch.elements(x[None], t.vec3) for x in (v.joints, v.points, v.turns)
        )
        m.pixels = launch.elements(v.pixels[None], t.vec2)
        return launch.record(made.kernel, [launch.observed, launch.view_state(self.state), m])
