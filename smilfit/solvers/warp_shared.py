"""Fit many frames with one shape and scale: each frame's pose is eliminated by its tree, the border is summed.

Imported only where warp is used.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from smilfit.solvers.chain_problem import ChainProblem, ChainSolution
from smilfit.solvers.warp_launch import Launch, own_state
from smilfit.solvers.warp_shared_kernels import shared_kernels

# Adds the sums of several processes; the result must be the same in all of them.
Reduce = Callable[[Tensor], Tensor]

# Damping of a frame's pose and of the border: at the start, after a rejected step at least, at least, at most.
MU_START, MU_REJECTED, MU_LEAST, MU_MOST = 3e-2, 1e-4, 1e-7, 1e9
# Above this damping a small gain says nothing of the distance to the minimum.
TIMID = 0.1


class SharedFit:
    """A fit with a border common to all frames.

    The step is that of the whole problem, to the last digit: a frame's pose is eliminated under its own damping, the
    Schur complements of all frames are added up and solved in float64, and every frame follows. A frame may
    get worse for the others' sake; one that would be better off in its old pose with the new shape takes that.
    """

    def __init__(
        self, problem: ChainProblem, n_iter: int, ftol: float, graduation: tuple[float, ...], reduce: Reduce
    ) -> None:
        _check_shared(problem)
        self.launch = Launch(problem, n_iter, ftol, graduation)
        self.n_iter, self.ftol, self.graduation, self.reduce = n_iter, ftol, graduation, reduce
        self.q, width = self.launch.n_border, self.launch.width
        n, like = problem.n_frames, self.launch.energy
        self.kernels = shared_kernels(self.launch.types.scalar, width)
        self.trial = own_state(self.launch.state)
        self.active = torch.ones(n, dtype=torch.int32, device=like.device)
        self.mu = torch.full_like(like, MU_START)
        self.energy, self.promised, self.tried, self.taken = (torch.zeros_like(like) for _ in range(4))
        self.square = like.new_zeros((n, self.q, width))
        self.side = like.new_zeros((n, width))
        self.step = like.new_zeros((1, width))
        wide = self.launch.types.wide
        h = self.shared = self.kernels.Shared()
        h.active, h.mu = self.launch.integers(self.active), self.launch.numbers(self.mu)
        h.energy, h.promised = self.launch.numbers(self.energy), self.launch.numbers(self.promised)
        h.tried, h.taken = self.launch.numbers(self.tried), self.launch.numbers(self.taken)
        h.square, h.side = self.launch.elements(self.square, wide), self.launch.elements(self.side, wide)
        h.step = self.launch.elements(self.step, wide)
        self.trial_view = self.launch.view_state(self.trial)

    def run(self) -> ChainSolution:
        """Fit, and give the answer."""
        mu, done, converged = MU_START, 0, False
        while done < self.n_iter and not converged and mu < MU_MOST:
            self.shared.widening = self._widening(done)
            self._pass(self.kernels.reduce_frames, [self.launch.fit])
            active = self.active.bool()
            matrix, side, before = self._sums(active)
            if done == 0:
                self.launch.start_energy.copy_(self.energy)
            if before == 0:
                # Nothing is left to gain, or no process sees anything.
                converged = True
                break
            step = _solve(matrix, side, mu)
            self.step[0, : self.q] = step.to(self.step)
            self._pass(self.kernels.try_frames, [self.launch.fit, self.trial_view])
            after = float(self.reduce(torch.where(active, self.tried, 0).double().sum()[None])[0])
            expected = self._promised_by_frame(active)
            # A frame that gives way to the others promises nothing, and its damping stays.
            gain = (self.energy - self.tried) / expected.clamp_min(torch.finfo(expected.dtype).tiny)
            gain = torch.where(expected > 0, gain, 0.5)
            timid = (self.mu > TIMID) & active
            told = torch.stack([torch.where(active, expected, 0).double().sum(), timid.sum(), active.sum()])
            total, n_timid, n_active = self.reduce(told).tolist()
            narrow = done >= len(self.graduation)
            done += 1
            accepted = after <= before
            bold = mu < TIMID and 2 * n_timid <= n_active
            little = (
                before - after <= self.ftol * before and bold if accepted else total <= self.ftol * before
            )
            converged = narrow and little
            if accepted:
                self._accept(active)
                mu = max(mu * _factor(before - after, total), MU_LEAST)
            else:
                mu = max(mu, MU_REJECTED) * 8
            self._damp_frames(gain, accepted)
        return self._solution(done, converged)

    def _pass(self, kernel: object, states: list) -> None:
        launch = self.launch
        launch.launch(kernel, [launch.chain, launch.seen, *states, launch.work, self.shared, launch.n_slots])

    def _widening(self, iteration: int) -> float:
        return self.graduation[iteration] if iteration < len(self.graduation) else 1.0

    def _sums(self, active: Tensor) -> tuple[Tensor, Tensor, float]:
        q = self.q
        matrix = self.square[:, :, :q].double().sum(0)
        side = self.side[:, :q].double().sum(0)
        energy = torch.where(active, self.energy, 0).double().sum()
        sums = self.reduce(torch.cat((matrix.flatten(), side, energy[None])))
        lower = sums[: q * q].view(q, q).tril()
        return lower + lower.tril(-1).T, sums[q * q : -1], float(sums[-1])

    def _promised_by_frame(self, active: Tensor) -> Tensor:
        q, z = self.q, self.step[0, : self.q]
        lower = self.square[:, :, :q].tril()
        matrix = lower + lower.tril(-1).transpose(1, 2)
        # Sums by frame: matrix products would round by how many frames there are.
        turned = (matrix * z).sum(-1)
        expected = self.promised + self.taken - ((2 * self.side[:, :q] + turned) * z).sum(-1)
        return torch.where(active, expected, 0)

    def _accept(self, active: Tensor) -> None:
        for own, tried in zip(vars(self.launch.state).values(), vars(self.trial).values()):
            own[active] = tried[active]
        self.energy.copy_(self.tried)

    def _damp_frames(self, gain: Tensor, accepted: bool) -> None:
        worse = (self.mu.clamp_min(MU_REJECTED) * 8).clamp_max(MU_MOST)
        better = (self.mu * 0.1).clamp_min(MU_LEAST) if accepted else self.mu
        self.mu.copy_(torch.where(gain > 0.75, better, torch.where(gain < 0.1, worse, self.mu)))

    def _common(self, value: Tensor, active: Tensor) -> Tensor:
        """Give the row that all active frames have, of whatever process; the first one's own where none has any."""
        mine = value[active].double()
        told = self.reduce(torch.cat((mine.sum(0).flatten(), mine.new_tensor([len(mine)]))))
        if len(mine):
            return value[active][0].clone()
        count = float(told[-1])
        return (told[:-1] / count).view(value.shape[1:]).to(value) if count else value.clone()

    def _solution(self, done: int, converged: bool) -> ChainSolution:
        launch, active = self.launch, self.active.bool()
        # What no frame of its own decided, a frame without anything seen takes from the others.
        for name, fitted in (('betas', launch.fits_betas), ('log_scale', launch.problem.fit_scale)):
            if fitted:
                value = getattr(launch.state, name)
                value[:] = self._common(value, active)
        self.shared.widening = 1.0
        self._pass(self.kernels.reduce_frames, [launch.fit])
        launch.energy.copy_(self.energy)
        launch.converged.copy_((active & converged).int())
        launch.iterations.copy_(done * active.int())
        return launch.solution()


def _solve(matrix: Tensor, side: Tensor, mu: float) -> Tensor:
    """Solve the damped border; what nothing sees does not move."""
    diagonal = matrix.diagonal().clamp_min(0)
    dead = diagonal <= 1e-12 * diagonal.max().clamp_min(1e-300)
    damped = matrix + (mu * diagonal + dead.double()).diag()
    step = -torch.linalg.solve(damped, side)
    return torch.where(dead, torch.zeros_like(step), step)


def _factor(decrease: float, promised: float) -> float:
    if decrease > 0.75 * promised:
        return 0.1
    return 3.0 if decrease < 0.25 * promised else 1.0


def _check_shared(problem: ChainProblem) -> None:
    fits_betas = problem.fit_betas and problem.start.betas.shape[1] > 0
    if not (fits_betas or problem.fit_scale):
        raise ValueError('solve_shared_chains: shape or scale must be fitted; got neither. Use solve_chains.')
    for name, fitted in (('betas', fits_betas), ('log_scale', problem.fit_scale)):
        value = getattr(problem.start, name)
        if fitted and len(value) > 0 and not torch.equal(value, value[:1].expand_as(value)):
            raise ValueError(
                f'solve_shared_chains: start.{name} must be the same in all frames; got different ones. '
                'Start from their mean.'
            )
