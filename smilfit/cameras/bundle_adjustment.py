"""Bundle adjustment: cameras, and the points or boards that they saw, moved until all pixels agree.

Each observation sees one camera and one block: a free point (3 numbers), or a board that is placed as a whole (6).
Blocks are eliminated first (Schur's complement), so that a step costs little more than the cameras' few unknowns.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.cameras.rig import N_COLUMNS, Rig, linearise, project, rotation_of, skew_matrix
from smilfit.geometry.damping import DAMPING, descend
from smilfit.geometry.robust import Cauchy

# Cauchy's width in standard deviations: 95 % as good as least squares where errors are normal.
CAUCHY = 2.385
_ROBUST = Cauchy(1.0)
_POLICY = replace(DAMPING, start=1e-4)
_MOST_STEPS = 100
# Added to the cost by observation: errors of a few 1e-5 widths end an adjustment of labels without errors.
_AS_GOOD_AS_NONE = 1e-9
# What a point behind its camera misses by, in widths: it must not pay to push points there.
_BEHIND = 1e3


@dataclass(frozen=True)
class Observations:
    """N pixels, sorted as they come: which camera saw which block, and where.

    `local` are the points in their board's own frame; zeros where blocks are points. `sigma_px` is what pixels of
    each camera usually miss by.
    """

    camera: Int[np.ndarray, 'N']
    block: Int[np.ndarray, 'N']
    local: Float[np.ndarray, 'N 3']
    xy: Float[np.ndarray, 'N 2']
    sigma_px: Float[np.ndarray, 'C']

    def take(self, rows: np.ndarray) -> 'Observations':
        """Pick observations; blocks keep their numbers."""
        return replace(
            self, camera=self.camera[rows], block=self.block[rows], local=self.local[rows], xy=self.xy[rows]
        )


@dataclass(frozen=True)
class Blocks:
    """M boards, placed by `R local + t`; or M points, which have no R."""

    t: Float[np.ndarray, 'M 3']
    R: Float[np.ndarray, 'M 3 3'] | None = None

    @property
    def size(self) -> int:
        """How many unknowns a block has."""
        return 3 if self.R is None else 6

    @property
    def rotations(self) -> Float[np.ndarray, 'M 3 3']:
        """R; the identity of points."""
        return np.tile(np.eye(3), (len(self.t), 1, 1)) if self.R is None else self.R

    def place(self, observed: Observations) -> Float[np.ndarray, 'N 3']:
        """Return the observed points in the world."""
        at = self.t[observed.block]
        return at if self.R is None else np.einsum('nij,nj->ni', self.R[observed.block], observed.local) + at

    def slopes(self, observed: Observations, by_point: np.ndarray) -> np.ndarray:
        """Differentiate pixels by their block: turn about its origin and shift, or the point."""
        if self.R is None:
            return by_point
        rotated = np.einsum('nij,nj->ni', self.R[observed.block], observed.local)
        return np.concatenate((-by_point @ skew_matrix(rotated), by_point), -1)

    def moved(self, step: Float[np.ndarray, 'M q']) -> 'Blocks':
        """Take a step."""
        if self.R is None:
            return Blocks(self.t + step)
        return Blocks(self.t + step[:, 3:], rotation_of(step[:, :3]) @ self.R)


@dataclass(frozen=True)
class Prior:
    """Where cameras' columns are expected, with standard deviations; inf where nothing is (turn and shift always)."""

    mean: Float[np.ndarray, 'C 14']
    sd: Float[np.ndarray, 'C 14']

    @staticmethod
    def none(n_cameras: int) -> 'Prior':
        """Expect nothing."""
        return Prior(np.zeros((n_cameras, N_COLUMNS)), np.full((n_cameras, N_COLUMNS), np.inf))


@dataclass(frozen=True)
class Adjustment:
    """Where an adjustment ended.

    `information` is of the free columns (in the order of `free`'s True entries), blocks eliminated and outliers
    weighed down; `scores` are each block's shares of the gradient there, which sum to nearly zero. `cost` is the
    robust half sum of squares in widths of the loss.
    """

    rig: Rig
    blocks: Blocks
    free: Bool[np.ndarray, 'C 14']
    cost: float
    information: Float[np.ndarray, 'p p']
    scores: Float[np.ndarray, 'M p']
    steps: int
    converged: bool


def adjust(
    rig: Rig,
    blocks: Blocks,
    observed: Observations,
    free: Bool[np.ndarray, 'C 14'],
    prior: Prior | None = None,
    move_blocks: bool = True,
    steps: int = _MOST_STEPS,
    tolerance: float = 1e-7,
) -> Adjustment:
    """Move cameras' free columns and all blocks by Levenberg-Marquardt on a Cauchy loss of pixels.

    Args:
        free: which columns of which camera may move; a camera without any stays, bit for bit.
        prior: what is expected of the columns.
        move_blocks: False keeps boards or points where they are.
        tolerance: ends where a step lowers the cost by less than this share.
    """
    prior = Prior.none(len(rig.R)) if prior is None else prior
    least = _AS_GOOD_AS_NONE * len(observed.xy)

    def look(at: _Place) -> tuple[torch.Tensor, _Place]:
        return torch.tensor([_cost(at.rig, at.blocks, observed, prior) + least], dtype=torch.float64), at

    def step(at: _Place, damping: torch.Tensor) -> tuple[_Place, torch.Tensor]:
        camera_step, block_step, gain = at.system.solve(float(damping))
        full = np.zeros((len(rig.R), N_COLUMNS))
        full[free] = camera_step
        moved = at.blocks.moved(block_step) if move_blocks else at.blocks
        return replace(at, rig=_moved_rig(at.rig, full, free), blocks=moved), damping.new_tensor([gain])

    start = _Place(rig, blocks, observed, free, prior, move_blocks)
    end = descend(
        look, step, start, _POLICY, steps, tolerance, lambda accept, new, old: new if accept else old
    )
    at, system = end.state, end.state.system
    cost, done = float(end.energy) - least, bool(end.ended)
    return Adjustment(at.rig, at.blocks, free, cost, system.schur, system.scores(), end.n_steps, done)


def _moved_rig(rig: Rig, step: np.ndarray, free: np.ndarray) -> Rig:
    """Move the cameras that have a free column; the others keep every bit."""
    trial = rig.moved(step)
    keep = ~free.any(-1)
    values = {}
    for name in rig.__dataclass_fields__:
        old, new = getattr(rig, name), getattr(trial, name)
        values[name] = np.where(keep.reshape(-1, *(1,) * (old.ndim - 1)), old, new)
    return Rig(**values)


def residuals_px(rig: Rig, blocks: Blocks, observed: Observations) -> Float[np.ndarray, 'N']:
    """Measure how far each pixel is from its projection; inf where the point lies behind the camera."""
    pixels, front = project(rig, observed.camera, blocks.place(observed))
    return np.where(front, np.linalg.norm(pixels - observed.xy, axis=-1), np.inf)


def usual_miss_px(error: Float[np.ndarray, 'N'], least: float = 0.05) -> float:
    """Estimate the standard deviation by coordinate from distances, half of which may be wrong."""
    # The median of a Rayleigh distribution is 1.1774 sigma.
    return max(float(np.median(error)) / 1.1774, least) if len(error) else least


def _cost(rig: Rig, blocks: Blocks, observed: Observations, prior: Prior) -> float:
    error = residuals_px(rig, blocks, observed) / (CAUCHY * observed.sigma_px[observed.camera])
    robust = float(_ROBUST(torch.from_numpy(np.square(np.minimum(error, _BEHIND))))[0].sum())
    gap = (rig.columns() - prior.mean) / prior.sd
    # The prior counts as standard deviations do in the robust sum: both in units of CAUCHY's square.
    return 0.5 * (robust + float(np.square(gap).sum()) / CAUCHY**2)


@dataclass(frozen=True)
class _Place:
    """Cameras and blocks, and their normal equations, which a rejected step does not ask for."""

    rig: Rig
    blocks: Blocks
    observed: Observations
    free: np.ndarray
    prior: Prior
    move_blocks: bool

    @cached_property
    def system(self) -> '_System':
        return _normal_equations(
            self.rig, self.blocks, self.observed, self.free, self.prior, self.move_blocks
        )


@dataclass(frozen=True)
class _System:
    """Normal equations with blocks apart, all divided as the cost is; `own` of blocks that stay is None."""

    cameras: np.ndarray
    gradient: np.ndarray
    across: np.ndarray
    own: np.ndarray | None
    own_gradient: np.ndarray
    prior_gradient: np.ndarray

    def solve(self, damping: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Compute a damped step of cameras and blocks, and what it gains by the quadratic model."""
        diagonal = np.diagonal(self.cameras)
        matrix = self.cameras + np.diag(damping * diagonal + 1e-12 * max(diagonal.max(initial=0.0), 1e-300))
        if self.own is None:
            step = -_solve(matrix, self.gradient)
            return step, np.zeros_like(self.own_gradient), _gain(step, self.gradient, damping * diagonal)
        own = _damped(self.own, damping)
        sides = np.concatenate((self.own_gradient[..., None], self.across), -1)
        solved = np.linalg.solve(own, sides)
        reduced = matrix - np.einsum('mqp,mqr->pr', self.across, solved[..., 1:])
        gradient = self.gradient - np.einsum('mqp,mq->p', self.across, solved[..., 0])
        step = -_solve(reduced, gradient)
        moved = -solved[..., 0] - np.einsum('mqp,p->mq', solved[..., 1:], step)
        gain = _gain(moved, self.own_gradient, damping * np.einsum('mqq->mq', self.own))
        return step, moved, gain + _gain(step, self.gradient, damping * diagonal)

    @property
    def schur(self) -> np.ndarray:
        """Information about the cameras with blocks unknown."""
        if self.own is None:
            return self.cameras
        solved = np.linalg.solve(_damped(self.own, 1e-12), self.across)
        return self.cameras - np.einsum('mqp,mqr->pr', self.across, solved)

    def scores(self) -> np.ndarray:
        """Each block's share of the reduced gradient."""
        shares = self.prior_gradient
        if self.own is None:
            return shares
        solved = np.linalg.solve(_damped(self.own, 1e-12), self.own_gradient[..., None])[..., 0]
        return shares - np.einsum('mqp,mq->mp', self.across, solved)


def _gain(step: np.ndarray, gradient: np.ndarray, damped: np.ndarray) -> float:
    return 0.5 * float((step * (damped * step - gradient)).sum())


def _damped(own: np.ndarray, damping: float) -> np.ndarray:
    """Add to the diagonal; a block that nothing sees gets ones."""
    diagonal = np.einsum('mqq->mq', own)
    extra = damping * diagonal + 1e-12 * diagonal.max(-1, keepdims=True)
    extra = np.where(extra > 0, extra, 1.0)
    return own + extra[..., None] * np.eye(own.shape[-1])


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    if not len(matrix):
        return right
    scale = 1 / np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
    scaled = scale[:, None] * matrix * scale
    return scale * np.linalg.lstsq(scaled, scale * right, rcond=1e-13)[0]


def _normal_equations(
    rig: Rig,
    blocks: Blocks,
    observed: Observations,
    free: np.ndarray,
    prior: Prior,
    move_blocks: bool,
) -> _System:
    width = CAUCHY * observed.sigma_px[observed.camera]
    pixels, by_camera, by_point, front = linearise(rig, observed.camera, blocks.place(observed))
    gap = (pixels - observed.xy) / width[:, None]
    weight = front * _ROBUST(torch.from_numpy(np.square(gap).sum(-1)))[1].numpy()
    by_camera = by_camera / width[:, None, None]
    by_block = blocks.slopes(observed, by_point) / width[:, None, None]
    n, q, size = int(free.sum()), blocks.size, len(blocks.t)
    column = np.full(free.shape, -1)
    column[free] = np.arange(n)
    cameras, gradient = np.zeros((n, n)), np.zeros(n)
    across, shares = np.zeros((size, q, n)), np.zeros((size, n))
    own, own_gradient = np.zeros((size, q, q)), np.zeros((size, q))
    for c in np.unique(observed.camera):
        rows, to = np.nonzero(observed.camera == c)[0], column[c][free[c]]
        block, weigh = observed.block[rows], weight[rows, None, None]
        mine, its = by_camera[rows][:, :, free[c]], by_block[rows]
        weighted, miss = weigh * mine, gap[rows]
        if len(to):
            share = np.einsum('nkp,nk->np', weighted, miss)
            cameras[np.ix_(to, to)] += np.einsum('nkp,nkr->pr', weighted, mine)
            gradient[to] += share.sum(0)
            np.add.at(shares, (block[:, None], to), share)
            if move_blocks:
                cross = np.einsum('nkq,nkp->nqp', its, weighted)
                np.add.at(across, (block[:, None, None], np.arange(q)[:, None], to), cross)
        if move_blocks:
            np.add.at(own, block, np.einsum('nkq,nkr->nqr', weigh * its, its))
            np.add.at(own_gradient, block, np.einsum('nkq,nk->nq', weigh * its, miss))
    tight = 1 / np.square(prior.sd[free] * CAUCHY)
    cameras[np.arange(n), np.arange(n)] += tight
    gradient += tight * (rig.columns() - prior.mean)[free]
    return _System(cameras, gradient, across, own if move_blocks else None, own_gradient, shares)
