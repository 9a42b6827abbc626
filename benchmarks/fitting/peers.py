"""Peer A: a stage loop in the manner of XRMoCap's, on the benchmark's objective.

smplx computes all vertices; stage 1 fits orientation and translation, stage 2 everything; one L-BFGS for the whole
batch (step 1, 20 inner iterations, strong Wolfe), at most 30 outer steps, an absolute tolerance below a loss of 1.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.fitting.problems import Problem
from benchmarks.fitting.reference_body import ReferenceBody, objective
from smilfit.structures import BodyParams

FTOL = 1e-4
STAGES = (('orient', 'transl'), ('orient', 'transl', 'pose', 'betas'))


@dataclass(frozen=True)
class Fitted:
    """What a method returned and how often it evaluated the objective."""

    params: BodyParams
    evaluations: int
    result: object = None


def full_lbfgs(problem: Problem, n_outer: int = 30) -> Fitted:
    """Fit as peer A does, from the zero pose."""
    body = ReferenceBody.of(problem.data, torch.float32)
    leaves = _zeros(problem)
    evaluations = 0

    def loss() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return objective(problem, body, **leaves).sum()

    for names in STAGES:
        minimise(loss, {name: leaves[name] for name in names}, n_outer)
    values = {name: leaf.detach() for name, leaf in leaves.items()}
    params = BodyParams(
        values['orient'], values['pose'], values['betas'], values['transl'], torch.ones(problem.batch)
    )
    return Fitted(params, evaluations)


def minimise(
    loss: Callable[[], Tensor],
    leaves: Mapping[str, Tensor],
    n_outer: int,
    frozen: Mapping[str, Tensor] | None = None,
    clip: float | None = None,
    ftol: float = FTOL,
) -> None:
    """Run one stage: the loss compared is that before a step, as torch's L-BFGS returns it.

    Args:
        loss: of all leaves.
        leaves: what moves.
        n_outer: most steps of the optimiser.
        frozen: handed to the optimiser too, though they do not move.
        clip: the gradient's greatest norm; it is cut inside the closure.
        ftol: of the decrease over `max(|before|, |after|, 1)`.
    """
    every = {**leaves, **(frozen or {})}
    for name, leaf in every.items():
        leaf.requires_grad_(name in leaves)
    optimizer = torch.optim.LBFGS(every.values(), lr=1.0, max_iter=20, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(list(leaves.values()), clip)
        return value

    before = None
    for _ in range(n_outer):
        now = float(optimizer.step(closure).detach())
        if before is not None and abs(before - now) / max(abs(before), abs(now), 1.0) < ftol:
            break
        before = now
    for leaf in every.values():
        leaf.requires_grad_(False)
        leaf.grad = None


def seconds_of_an_evaluation(problem: Problem, repeats: int = 5) -> float:
    """Measure one evaluation of peer A with its gradient (median)."""
    body = ReferenceBody.of(problem.data, torch.float32)
    leaves = {name: leaf.requires_grad_() for name, leaf in _zeros(problem).items()}
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        objective(problem, body, **leaves).sum().backward()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _zeros(problem: Problem) -> dict[str, Tensor]:
    batch, body = problem.batch, problem.body
    return {
        'orient': torch.zeros(batch, 3),
        'pose': torch.zeros(batch, body.n_joints - 1, 3),
        'betas': torch.zeros(batch, body.n_betas),
        'transl': torch.zeros(batch, 3),
    }
