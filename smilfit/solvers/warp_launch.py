"""Hand a problem's tensors to the kernels without a copy. Imported only where warp is used."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import warp as wp
from torch import Tensor

from smilfit.geometry.distortion import fold_radius
from smilfit.solvers.chain_problem import ChainProblem, ChainSolution, ChainState
from smilfit.solvers.warp_kernels import chain_kernels
from smilfit.solvers.warp_types import FIXED, MOVES, TURNS_NOTHING, border_width, chain_types, workspace_rows

# Most bytes of workspace on a CUDA device: frames beyond take turns.
CUDA_WORKSPACE = 2 << 30


class Launch:
    """One problem, ready for the kernels; the tensors they point to live as long as it does."""

    def __init__(
        self, problem: ChainProblem, n_iter: int, ftol: float, graduation: tuple[float, ...]
    ) -> None:
        _check_control(n_iter, ftol, graduation)
        with _quietly():
            wp.init()
        start = problem.start
        self.problem = problem
        self.dtype, self.torch_device = start.rotations.dtype, start.rotations.device
        self.device = wp.get_device(str(self.torch_device))
        scalar = wp.float64 if self.dtype == torch.float64 else wp.float32
        self.fits_betas = problem.fit_betas and start.betas.shape[1] > 0
        self.n_border = start.betas.shape[1] * self.fits_betas + int(problem.fit_scale)
        self.width = border_width(self.n_border)
        self.kernels, self.types = chain_kernels(scalar, self.width), chain_types(scalar, self.width)
        self.alive: list[Tensor] = []
        self.state = own_state(start)
        self.energy, self.start_energy = (torch.zeros_like(self.state.log_scale) for _ in range(2))
        self.converged = torch.zeros(problem.n_frames, dtype=torch.int32, device=self.torch_device)
        self.iterations = torch.zeros_like(self.converged)
        self.chain = self._chain(n_iter, ftol, graduation)
        self.seen = self._seen()
        self.fit = self.view_state(self.state)
        self.n_slots, self.work = self._work()

    def fit_frames(self) -> None:
        """Fit every frame by itself, in place."""
        if self.problem.n_frames > 0:
            self.launch(self.kernels.fit_frames, [self.chain, self.seen, self.fit, self.work, self.n_slots])

    def launch(self, kernel: wp.Kernel, inputs: list) -> None:
        """Launch a kernel with one thread a slot, on CUDA in torch's stream."""
        stream = None
        if self.device.is_cuda:
            stream = wp.stream_from_torch(torch.cuda.current_stream(self.torch_device))
        with _quietly():
            wp.launch(kernel, dim=self.n_slots, inputs=inputs, device=self.device, stream=stream)

    def solution(self) -> ChainSolution:
        """Give what the kernels wrote."""
        s = self.state
        return ChainSolution(
            s.rotations,
            s.transl,
            s.log_scale,
            s.betas,
            self.energy,
            self.converged.bool(),
            self.iterations,
            self.start_energy,
        )

    def view_state(self, state: ChainState) -> object:
        """View a state and the answers about it as the kernels' struct."""
        t = self.types
        f = t.Fit()
        f.rotations = self.elements(state.rotations, t.mat33)
        f.transl = self.elements(state.transl, t.vec3)
        f.log_scale, f.betas = self.numbers(state.log_scale), self.numbers(state.betas)
        f.energy, f.start_energy = self.numbers(self.energy), self.numbers(self.start_energy)
        f.converged, f.iterations = self.integers(self.converged), self.integers(self.iterations)
        return f

    def _view(self, tensor: Tensor, dtype: type, n_dims: int) -> wp.array:
        """View a tensor as a warp array of `n_dims` dimensions; what is left of the shape is one element."""
        self.alive.append(tensor)
        size = tensor.element_size()
        return wp.array(
            ptr=tensor.data_ptr(),
            dtype=dtype,
            shape=tuple(tensor.shape[:n_dims]),
            strides=tuple(size * s for s in tensor.stride()[:n_dims]),
            device=self.device,
        )

    def numbers(self, tensor: Tensor) -> wp.array:
        """View floats one by one."""
        tensor = tensor.detach().contiguous()
        return self._view(tensor, self.types.scalar, tensor.ndim)

    def integers(self, tensor: Tensor) -> wp.array:
        """View or copy a row of integers."""
        return self._view(tensor.to(self.torch_device, torch.int32).contiguous(), wp.int32, 1)

    def elements(self, tensor: Tensor, dtype: type) -> wp.array:
        """View floats as vectors or matrices."""
        tensor = tensor.detach().contiguous()
        return self._view(tensor, dtype, tensor.ndim - (2 if dtype is self.types.mat33 else 1))

    def _chain(self, n_iter: int, ftol: float, graduation: tuple[float, ...]) -> object:
        p, t = self.problem, self.types
        c = t.Chain()
        c.n_frames, c.n_joints, c.n_points = p.n_frames, p.n_joints, p.point_joint.shape[0]
        c.n_cameras, c.n_betas = p.n_cameras, self.state.betas.shape[1]
        c.n_border, c.fit_betas = self.n_border, int(self.fits_betas)
        c.fit_scale, c.fit_transl = int(p.fit_scale), int(p.fit_transl)
        c.has_3d, c.has_lens = int(p.targets3d is not None), int(p.camera_dist is not None)
        c.has_limits = int(p.limits is not None and p.limit_weight > 0)
        c.has_priors = int(p.pose_weight is not None or c.has_limits == 1)
        c.n_iter, c.ftol, c.n_graduation = n_iter, ftol, len(graduation)
        c.limit_weight, c.log_scale_weight = p.limit_weight, p.log_scale_weight
        c.parents = self.integers(p.parents)
        c.roles = self.integers(joint_roles(p))
        c.point_joint = self.integers(p.point_joint)
        c.point_offset = self.elements(p.point_offset, t.vec3)
        c.bones = self.elements(p.bones, t.vec3)
        if p.bone_shapedirs is not None and c.n_betas > 0:
            c.has_dirs = 1
            c.dirs = self.numbers(p.bone_shapedirs)
        self._border_columns(c)
        if c.has_priors == 1:
            weight = p.pose_weight
            c.pose_weight = self.numbers(
                torch.zeros(p.n_joints, dtype=self.dtype, device=self.torch_device)
                if weight is None
                else weight
            )
        if c.has_limits == 1:
            c.limits = self.elements(p.limits, t.vec2)
        if p.betas_precision is not None:
            c.betas_mean = self.numbers(p.betas_mean)
            c.betas_precision = self.numbers(p.betas_precision)
        if p.sigma3d is not None:
            c.sharpness3d = self.numbers(p.sigma3d.detach().square().reciprocal())
        if p.sigma2d is not None:
            c.sharpness2d = self.numbers(p.sigma2d.detach().square().reciprocal())
        if graduation:
            c.graduation = self.numbers(torch.tensor(graduation, dtype=self.dtype, device=self.torch_device))
        return c

    def _border_columns(self, c: object) -> None:
        mask = torch.zeros((1, self.width), dtype=self.dtype, device=self.torch_device)
        if c.fit_scale == 1:
            mask[0, self.n_border - 1] = 1.0
        c.scale_mask = self.elements(mask, self.types.wide)
        if c.fit_betas == 1 and c.has_dirs == 1:
            spare = self.width - c.n_betas
            c.has_columns = 1
            c.columns = self.elements(
                torch.nn.functional.pad(self.problem.bone_shapedirs.detach(), (0, spare)), self.types.wide
            )

    def _seen(self) -> object:
        p, t = self.problem, self.types
        s = t.Seen()
        if p.targets3d is not None:
            s.targets = self.elements(p.targets3d, t.vec3)
            s.weights3d = self.numbers(p.weights3d)
        if p.xy is not None:
            s.xy = self.elements(p.xy, t.vec2)
            s.weights2d = self.numbers(p.weights2d)
            s.intrinsics = self.elements(p.camera_K, t.mat33)
            s.rotation = self.elements(p.camera_R, t.mat33)
            s.translation = self.elements(p.camera_t, t.vec3)
        if p.camera_dist is not None:
            fold = fold_radius(p.camera_dist) if p.camera_fold is None else p.camera_fold
            s.lens, s.fold = self.numbers(p.camera_dist), self.numbers(fold)
        return s

    def _work(self) -> tuple[int, object]:
        c, t = self.chain, self.types
        rows = workspace_rows(c.n_joints, c.n_points, c.n_betas, c.n_border)
        shapes = {
            'mats': (t.mat33, 9), 'vecs': (t.vec3, 3), 'quats': (t.quat, 4), 'nums': (t.scalar, 1),
            'lanes': (t.wide, self.width),
        }  # fmt: skip
        # A CPU runs its threads one after the other: one workspace stays in the cache. On CUDA neighbouring threads
        # keep the same row side by side.
        slots = 1
        if self.device.is_cuda:
            size = sum(rows[name] * n for name, (_, n) in shapes.items()) * self.energy.element_size()
            slots = max(1, min(c.n_frames, CUDA_WORKSPACE // size))
        work = t.Work()
        for name, (dtype, n) in shapes.items():
            memory = torch.empty((rows[name], slots, n), dtype=self.dtype, device=self.torch_device)
            setattr(work, name, self._view(memory.transpose(0, 1), dtype, 2))
            if name == 'lanes':
                work.thin = self._view(memory.transpose(0, 1), t.scalar, 3)
        return slots, work


def own_state(state: ChainState) -> ChainState:
    """Copy a state into memory that a kernel may write."""
    return ChainState(
        *(v.detach().clone(memory_format=torch.contiguous_format) for v in vars(state).values())
    )


def joint_roles(problem: ChainProblem) -> Tensor:
    """Say of every joint whether it is fixed, moves points by turning, or turns without moving any."""
    parents, free = problem.parents.tolist(), problem.free_joints.tolist()
    carries, turns = [False] * len(parents), [False] * len(parents)
    apart = problem.point_offset.detach().abs().sum(1).tolist()
    for j, distance in zip(problem.point_joint.tolist(), apart):
        carries[j] = True
        turns[j] |= distance > 0
    for j in range(len(parents) - 1, 0, -1):
        if carries[j]:
            carries[parents[j]] = turns[parents[j]] = True
    roles = [(MOVES if turn else TURNS_NOTHING) if f else FIXED for f, turn in zip(free, turns)]
    return torch.tensor(roles, dtype=torch.int32)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep warp from telling its version and every compilation."""
    level = wp.config.log_level
    wp.config.log_level = max(level, wp.LOG_WARNING)
    try:
        yield
    finally:
        wp.config.log_level = level


def _check_control(n_iter: int, ftol: float, graduation: tuple[float, ...]) -> None:
    if n_iter < 0:
        raise ValueError(f'solve_chains: n_iter must not be negative; got {n_iter}.')
    if not ftol >= 0:
        raise ValueError(f'solve_chains: ftol must not be negative; got {ftol}.')
    if not all(f > 0 and math.isfinite(f) for f in graduation):
        raise ValueError(f'solve_chains: graduation must be positive factors; got {tuple(graduation)}.')
