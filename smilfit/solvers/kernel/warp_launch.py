"""Hand a problem's tensors to the kernels without a copy, its frames shared out to threads.

Imported only where warp is used.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
import warp as wp
from torch import Tensor

from smilfit.geometry.damping import LONGEST_ROTATION, DampingPolicy
from smilfit.geometry.projection import fold_radius
from smilfit.geometry.quiet_warp import quietly
from smilfit.solvers.chain_problem import ChainProblem, ChainState
from smilfit.solvers.kernel.warp_types import (
    FIXED,
    LANES,
    MOVES,
    SQUARE,
    TURNS_NOTHING,
    Chain,
    Fit,
    Observed,
    Work,
    chain_types,
    workspace_rows,
)

# Fewer frames than this a thread are not worth waking it: some 0.1 ms, beside 2 to 6 of work.
FRAMES_A_THREAD = 64


class FrameThreads:
    """So many threads, which live as long as this does.

    Args:
        count: at least 1, the calling one among them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def parts(self, n: int) -> list[range]:
        """Cut n rows into parts, one a thread: contiguous, and as equal as can be."""
        count = min(self.count, n)
        return [range(i * n // count, (i + 1) * n // count) for i in range(count)]

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks at once, the first in this thread; return when all are done."""
        if self._pool is None and len(tasks) > 1:
            self._pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix='smilfit-frames')
        others = [] if self._pool is None else [self._pool.submit(task) for task in tasks[1:]]
        try:
            for task in tasks[:1]:
                task()
        finally:
            for other in others:
                other.result()


def threads_for(n_frames: int, threads: int | None = None) -> int:
    """Report on how many threads so many frames are worked on: at most as many as torch has, unless it is said."""
    if threads is not None:
        return max(1, min(threads, n_frames))
    return max(1, min(torch.get_num_threads(), n_frames // FRAMES_A_THREAD))


# Most bytes of workspace on a CUDA device: frames beyond take turns.
CUDA_WORKSPACE = 2 << 30


class Launch:
    """One problem, ready for the kernels; the tensors they point to live as long as it does.

    Args:
        problem: the problem.
        frames_at_once: workspaces; None for one a thread on a CPU, and for as many as there are frames on CUDA.
        roles: what the joints' own rotations do, see `joint_roles`.
        threads: most threads on a CPU; those of torch if None. Few frames have one alone.
    """

    def __init__(
        self, problem: ChainProblem, frames_at_once: int | None, roles: Tensor, threads: int | None = None
    ) -> None:
        start = problem.start
        self.problem = problem
        self.dtype, self.torch_device = start.rotations.dtype, start.rotations.device
        with quietly():
            self.device = wp.get_device(str(self.torch_device))
        self.types = chain_types(wp.float64 if self.dtype == torch.float64 else wp.float32)
        self.n_border = problem.n_border
        self.n_chunks = -(-max(self.n_border, problem.n_coefficients) // LANES)
        self.width = LANES * self.n_chunks
        self.alive: list[Tensor] = []
        self._threads = FrameThreads(1 if self.device.is_cuda else threads_for(problem.n_frames, threads))
        self.n_threads = self._threads.count
        self.chain = self._chain(roles)
        self._chunks(self.chain)
        self.observed = self._observed()
        self.n_slots, self.work = self._work(frames_at_once)

    def control(self, n_iter: int, ftol: float, graduation: tuple[float, ...], policy: DampingPolicy) -> None:
        """Set what the fused kernel goes by."""
        c = self.chain
        c.n_iter, c.ftol, c.n_graduation = n_iter, ftol, len(graduation)
        for name in (
            'start',
            'least',
            'most',
            'best',
            'rejected',
            'least_rejected',
            'max_converged',
            'loosest',
        ):
            setattr(c.policy, name, getattr(policy, name))
        c.policy.rounding = policy.rounding(self.dtype)
        if graduation:
            c.graduation = self.numbers(torch.tensor(graduation, dtype=self.dtype, device=self.torch_device))

    def launch(self, kernel: wp.Kernel, inputs: Sequence[object]) -> None:
        """Launch a kernel on chain, inputs and workspace, a task a slot.

        On CUDA in torch's stream; on a CPU the slots are shared out to threads, as frames do not know each other.
        """
        if self.n_threads > 1:
            parts = self._threads.parts(self.n_slots)
            self._threads.run([self._command(kernel, inputs, part).launch for part in parts])
            return
        stream = None
        if self.device.is_cuda:
            stream = wp.stream_from_torch(torch.cuda.current_stream(self.torch_device))
        with quietly():
            given = [self.chain, *inputs, self.work, self.n_slots, 0]
            wp.launch(kernel, dim=self.n_slots, inputs=given, device=self.device, stream=stream)

    def record(self, kernel: wp.Kernel, inputs: Sequence[object]) -> Callable[[], None]:
        """Prepare a launch on a CPU, and give what launches it again and again on the same memory."""
        # What the command points to lives as long as the function does.
        return partial(_replay, self._command(kernel, inputs, range(self.n_slots)), self.alive)

    def _command(self, kernel: wp.Kernel, inputs: Sequence[object], slots: range) -> wp.Launch:
        with quietly():
            given = [self.chain, *inputs, self.work, self.n_slots, slots.start]
            return wp.launch(kernel, dim=len(slots), inputs=given, device=self.device, record_cmd=True)

    def view_state(self, state: ChainState, answers: dict[str, Tensor] | None = None) -> Fit:
        """View a state, and the answers about it, as the kernels' struct."""
        t, f = self.types, self.types.Fit()
        f.rotations = self.elements(state.rotations, t.mat33)
        f.transl = self.elements(state.transl, t.vec3)
        f.log_scale, f.coefficients = self.numbers(state.log_scale), self.numbers(state.coefficients)
        for name, value in (answers or {}).items():
            setattr(f, name, self.numbers(value) if value.is_floating_point() else self.integers(value))
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
        """View floats as vectors or matrices; what is whole within an element is not copied."""
        n_inner = 2 if dtype is self.types.mat33 else 1
        tensor = tensor.detach()
        if n_inner == 2 or tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        return self._view(tensor, dtype, tensor.ndim - n_inner)

    def columns(self, dirs: Tensor) -> wp.array:
        """Pad the last dimension to whole vectors."""
        spare = self.width - dirs.shape[-1]
        return self.wide_rows(torch.nn.functional.pad(dirs.detach(), (0, spare)))

    def wide_rows(self, tensor: Tensor) -> wp.array:
        """View the last dimension, whole vectors, as such."""
        return self.elements(tensor.unflatten(-1, (self.n_chunks, LANES)), self.types.wide)

    def _chain(self, roles: Tensor) -> Chain:
        p, t = self.problem, self.types
        c = t.Chain()
        c.n_frames, c.n_joints, c.n_points = p.n_frames, p.n_joints, p.point_joint.shape[0]
        c.n_cameras, c.n_coefficients = p.n_cameras, p.n_coefficients
        c.fit_scale, c.fit_transl = int(p.fit_scale), int(p.fit_transl)
        c.n_border, c.n_chunks, c.n_fitted = self.n_border, self.n_chunks, self.n_border - c.fit_scale
        c.has_3d, c.has_lens = int(p.targets3d is not None), int(p.camera_dist is not None)
        c.policy.longest_rotation = LONGEST_ROTATION
        c.log_scale_weight = p.log_scale_weight
        c.parents, c.roles = self.integers(p.parents), self.integers(roles)
        c.bones = self.elements(p.bones, t.vec3)
        self._parts(c)
        self._coefficients(c)
        self._priors(c)
        if p.sigma3d is not None:
            c.sharpness3d = self.numbers(p.sigma3d.detach().square().reciprocal())
        if p.sigma2d is not None:
            c.sharpness2d = self.numbers(p.sigma2d.detach().square().reciprocal())
        return c

    def _parts(self, c: Chain) -> None:
        p = self.problem
        joint, share, offset = p.point_joint.flatten(), p.point_share.flatten(), p.point_offset.flatten(1, 2)
        count = torch.full_like(p.point_joint[:, 0], p.point_joint.shape[1])
        dirs = None if p.point_dirs is None else p.point_dirs.flatten(0, 1)
        if p.point_joint.shape[1] > 1:
            rows = share.nonzero().flatten()
            count = (p.point_share > 0).sum(1)
            joint, share, offset = joint[rows], share[rows], offset[:, rows]
            dirs = None if dirs is None else dirs[rows]
        c.n_parts = joint.shape[0]
        c.part_start = self.integers(torch.nn.functional.pad(count.cumsum(0), (1, 0)))
        c.part_joint, c.part_share = self.integers(joint), self.numbers(share)
        c.part_offset = self.elements(offset, self.types.vec3)
        c.has_part_dirs = int(dirs is not None and p.n_coefficients > 0)
        c.has_arms = int(c.has_part_dirs == 1 or bool(offset.any()))
        if dirs is not None and c.has_part_dirs == 1:
            c.part_dirs = self.columns(dirs)
            if c.n_fitted > 0:
                c.has_part_columns = 1
                c.part_columns = self.columns(dirs[..., p.fit_coefficients])

    def _coefficients(self, c: Chain) -> None:
        p = self.problem
        mask = torch.zeros(self.width, dtype=self.dtype, device=self.torch_device)
        if c.fit_scale == 1:
            mask[self.n_border - 1] = 1.0
        c.scale_mask = self.wide_rows(mask)
        c.fitted = self.integers(p.fit_coefficients.nonzero().flatten())
        if p.bone_dirs is not None and c.n_coefficients > 0:
            c.has_dirs = 1
            c.dirs = self.columns(p.bone_dirs)
            if c.n_fitted > 0:
                c.has_columns = 1
                whole = c.n_fitted == c.n_coefficients
                c.columns = c.dirs if whole else self.columns(p.bone_dirs[..., p.fit_coefficients])

    def use_chunks(self, everywhere: bool) -> None:
        """Let joints couple to the columns that move something below them, or to all."""
        self.chain.chunk_start, self.chain.chunk = self._everywhere if everywhere else self._below

    def _chunks(self, c: Chain) -> None:
        """List the chunks that change a joint's own bone, and those of the border that move something below it."""
        p, whole = self.problem, [range(self.n_chunks)] * self.problem.n_joints
        self._everywhere = self._below = self._lists(whole)
        c.dirs_start, c.dirs_chunk = self._everywhere
        if self.n_chunks > 1:
            below = [{(self.n_border - 1) // LANES} if p.fit_scale else set() for _ in whole]
            if p.bone_dirs is not None and c.has_dirs == 1:
                c.dirs_start, c.dirs_chunk = self._lists(_touched(p.bone_dirs))
                for result, own in zip(below, _touched(p.bone_dirs[..., p.fit_coefficients])):
                    result.update(own)
            if p.point_dirs is not None and c.has_part_columns == 1:
                parts = _touched(p.point_dirs.flatten(0, 1)[..., p.fit_coefficients])
                for j, own in zip(p.point_joint.flatten().tolist(), parts):
                    below[j].update(own)
            for j, parent in reversed(list(enumerate(p.parents.tolist()))[1:]):
                below[parent] |= below[j]
            self._below = self._lists([sorted(result) for result in below])
        self.use_chunks(False)

    def _lists(self, lists: Sequence[Sequence[int]]) -> tuple[wp.array, wp.array]:
        """Put lists one after the other: where each begins, and what they hold."""
        starts = torch.tensor([0, *(len(x) for x in lists)]).cumsum(0)
        return self.integers(starts), self.integers(torch.tensor([i for x in lists for i in x]))

    def _priors(self, c: Chain) -> None:
        p = self.problem
        c.has_limits = int(p.limits is not None and p.limit_weight > 0)
        c.has_priors = int(p.pose_weight is not None or c.has_limits == 1)
        c.limit_weight = p.limit_weight
        if c.has_priors == 1:
            nothing = torch.zeros(p.n_joints, dtype=self.dtype, device=self.torch_device)
            c.pose_weight = self.numbers(nothing if p.pose_weight is None else p.pose_weight)
        if p.limits is not None and c.has_limits == 1:
            c.limits = self.elements(p.limits, self.types.vec2)
            maps = p.limit_maps
            if maps is None:
                maps = torch.eye(3, dtype=self.dtype, device=self.torch_device).repeat(p.n_joints, 1, 1)
            c.limit_maps = self.elements(maps, self.types.mat33)
        if p.coefficient_precision is not None and p.coefficient_mean is not None:
            c.n_priors = p.n_coefficients
            c.mean, c.precision = self.columns(p.coefficient_mean), self.columns(p.coefficient_precision)
            c.prior_start, c.prior_chunk = self._lists(_touched(p.coefficient_precision.unsqueeze(1)))
        if p.coefficient_limits is not None and p.coefficient_limit_weight is not None:
            c.n_limits = p.n_coefficients
            c.coefficient_limits = self.elements(p.coefficient_limits, self.types.vec2)
            c.coefficient_limit_weight = self.numbers(p.coefficient_limit_weight)
        c.border_precision = self.columns(self._border_precision())

    def _border_precision(self) -> Tensor:
        p, fitted = self.problem, self.problem.fit_coefficients
        result = torch.zeros(self.n_border, self.n_border, dtype=self.dtype, device=self.torch_device)
        if p.coefficient_precision is not None:
            n = self.n_border - int(p.fit_scale)
            result[:n, :n] = p.coefficient_precision.detach()[fitted][:, fitted]
        if p.fit_scale:
            result[-1, -1] = p.log_scale_weight
        return result

    def _observed(self) -> Observed:
        p, t = self.problem, self.types
        s, fold = t.Observed(), p.camera_fold
        if p.camera_dist is not None and fold is None:
            fold = fold_radius(p.camera_dist)
        vectors = {
            'targets': (p.targets3d, t.vec3), 'xy': (p.xy, t.vec2), 'intrinsics': (p.camera_K, t.mat33),
            'rotation': (p.camera_R, t.mat33), 'translation': (p.camera_t, t.vec3),
        }  # fmt: skip
        for name, (tensor, dtype) in vectors.items():
            if tensor is not None:
                setattr(s, name, self.elements(tensor, dtype))
        numbers = {'weights3d': p.weights3d, 'weights2d': p.weights2d, 'lens': p.camera_dist, 'fold': fold}
        for name, tensor in numbers.items():
            if tensor is not None:
                setattr(s, name, self.numbers(tensor))
        return s

    def _work(self, frames_at_once: int | None) -> tuple[int, Work]:
        c, t = self.chain, self.types
        rows = workspace_rows(c.n_joints, c.n_points, c.n_parts, c.n_border, self.n_chunks)
        shapes = {
            'mats': (t.mat33, 9), 'vecs': (t.vec3, 3), 'quats': (t.quat, 4), 'nums': (t.scalar, 1),
            'lanes': (t.wide, self.width), 'pool': (t.wide, LANES),
        }  # fmt: skip
        size = sum(rows[name] * n for name, (_, n) in shapes.items()) * torch.finfo(self.dtype).bits // 8
        slots = self.n_threads if frames_at_once is None else frames_at_once
        if self.device.is_cuda and frames_at_once is None:
            slots = max(1, min(c.n_frames, CUDA_WORKSPACE // size))
        self.memory = slots * size
        work = t.Work()
        for name, (dtype, n) in shapes.items():
            # On CUDA neighbouring threads keep the same row side by side; on a CPU a frame's rows stay together.
            if self.device.is_cuda:
                memory = torch.empty((rows[name], slots, n), dtype=self.dtype, device=self.torch_device)
                memory = memory.transpose(0, 1)
            else:
                memory = torch.empty((slots, rows[name], n), dtype=self.dtype)
            if name == 'pool':
                work.thin_pool = self._view(memory, t.scalar, 3)
            if name == 'lanes':
                self.squares = memory[:, SQUARE : SQUARE + c.n_border, : c.n_border]
                work.thin = self._view(memory, t.scalar, 3)
                work.lanes = self._view(memory.unflatten(2, (self.n_chunks, LANES)), dtype, 3)
            else:
                setattr(work, name, self._view(memory, dtype, 2))
        return slots, work


def _replay(command: wp.Launch, memory: Sequence[Tensor]) -> None:
    command.launch()


def own_state(state: ChainState) -> ChainState:
    """Copy a state into memory that a kernel may write."""
    return ChainState(
        *(v.detach().clone(memory_format=torch.contiguous_format) for v in vars(state).values())
    )


def empty_answers(state: ChainState) -> dict[str, Tensor]:
    """Make what a fit from a state writes beside it."""
    floats = {name: torch.zeros_like(state.log_scale) for name in ('energy', 'start_energy')}
    whole = {
        name: torch.zeros_like(state.log_scale, dtype=torch.int32) for name in ('converged', 'iterations')
    }
    return floats | whole


def free_roles(problem: ChainProblem) -> Tensor:
    """Let every free joint move: what torch adds may ask for it."""
    return torch.where(problem.free_joints.cpu(), MOVES, FIXED).to(torch.int32)


def joint_roles(problem: ChainProblem) -> Tensor:
    """Report on every joint whether it is fixed, moves points by turning, or turns without moving any."""
    parents, free = problem.parents.tolist(), problem.free_joints.tolist()
    carries, turns = [False] * len(parents), [False] * len(parents)
    off_joint = (problem.point_offset.detach() != 0).any(-1).any(0)
    if problem.point_dirs is not None:
        off_joint = off_joint | (problem.point_dirs.detach() != 0).flatten(2).any(-1)
    joints, observed = problem.point_joint.flatten().tolist(), (problem.point_share > 0).flatten().tolist()
    for j, off, counts in zip(joints, off_joint.flatten().tolist(), observed):
        carries[j] |= counts
        turns[j] |= counts and off
    for j in range(len(parents) - 1, 0, -1):
        if carries[j]:
            carries[parents[j]] = turns[parents[j]] = True
    roles = [(MOVES if rotation else TURNS_NOTHING) if f else FIXED for f, rotation in zip(free, turns)]
    return torch.tensor(roles, dtype=torch.int32)


def _touched(dirs: Tensor) -> list[list[int]]:
    """Return of every row (N, 3, S) the chunks of columns that are not all zero."""
    result: list[set[int]] = [set() for _ in dirs]
    for row, column in (dirs.detach() != 0).any(1).nonzero().tolist():
        result[row].add(column // LANES)
    return [sorted(x) for x in result]
