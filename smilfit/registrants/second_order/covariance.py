"""How well a fit's parameters and keypoints are known: Gauss-Newton at the solution.

With energies that are sums of weighted squares whose residuals all have one variance s^2, the posterior's covariance
is `2 s^2 H^-1`, where H is the second derivative of the whole energy, priors included. s^2 is the observations'
energy over the numbers compared less the parameters spent on them (the trace of `H^-1 H_observed`).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from smilfit.registrants.second_order.block import CHUNK, even_parts
from smilfit.registrants.second_order.landmarks import PointSet, point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.problem import BodyProblem, Evaluation
from smilfit.solvers import Processes
from smilfit.structures import FitCovariance, PointTerm, QuadraticTerm

# What is not constrained at all has this precision, relative to the best known unknown, instead of none.
FLOOR = 1e-9


def fit_covariance(problem: BodyProblem, point: BodyPoint) -> FitCovariance:
    """Compute covariances of all unknowns and of all joints and observed keypoints.

    Smoothness over time is left out, so where there is any the covariances are on the safe side. Processes give
    their own frames' covariances, with the noise and the shared unknowns of all frames.
    """
    layout, n = problem.layout, problem.layout.n_own
    with torch.no_grad():
        at = problem.evaluate(point)
        body = problem.frames.task.body
        names = tuple(dict.fromkeys((*body.joint_names, *_observed(problem))))
        points = point_set(body, names)
        frames, spent, terms = [], [], []
        schur = point.transl.new_zeros(layout.n_shared, layout.n_shared, dtype=torch.float64)
        for _, block, part in problem.parts(at):
            terms += part.terms
            for rows in even_parts(len(part.energy), CHUNK, point.transl.device):
                whole = block.equations(part, rows).matrix
                inverse = _inverse(whole[:, :n, :n])
                influence = inverse @ whole[:, :n, n:]
                schur += (whole[:, n:, n:] - whole[:, n:, :n] @ influence).sum(0, dtype=torch.float64)
                frames.append((inverse, influence))
                spent.append(block.equations(part, rows, of=PointTerm).matrix)
        schur = problem.processes.sum(schur)
        common = (_inverse(schur) if layout.n_shared else schur).to(point.transl)
        parameters = torch.cat([_joined(i, x, common) for i, x in frames])
        noise = _noise(terms, parameters, torch.cat(spent), n, common, problem.processes)
        parameters = 2 * noise**2 * parameters
        keypoints = torch.cat(list(_of_points(problem, at, points, parameters)))
    return FitCovariance(parameters, _columns(problem, layout), keypoints, names, noise)


def _of_points(
    problem: BodyProblem, at: Evaluation, points: PointSet, parameters: Tensor
) -> Iterator[Tensor]:
    """Carry the unknowns' covariances over to points, a few frames at a time: their Jacobians are large."""
    for own, _, part in problem.parts(at):
        for rows in even_parts(len(part.energy), CHUNK, parameters.device):
            jacobian = part.kinematics.take(rows).jacobian(points, problem.layout)
            yield jacobian @ parameters[own[rows]].unsqueeze(1) @ jacobian.transpose(-1, -2)


def _observed(problem: BodyProblem) -> tuple[str, ...]:
    known = problem.frames.task.body.keypoint_names
    return tuple(n for n in problem.frames.task.need if n in known)


def _inverse(matrix: Tensor) -> Tensor:
    scale = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(1e-30).rsqrt()
    unit = (scale.unsqueeze(-1) * matrix * scale.unsqueeze(-2)).double()
    eye = torch.eye(matrix.shape[-1], dtype=torch.float64, device=matrix.device)
    lower = torch.linalg.cholesky(unit + FLOOR * eye)
    return (scale.unsqueeze(-1) * torch.cholesky_inverse(lower) * scale.unsqueeze(-2)).to(matrix.dtype)


def _joined(inverse: Tensor, influence: Tensor, common: Tensor) -> Tensor:
    """Join own and shared unknowns: what is not known of the shared ones blurs the own ones."""
    across = -influence @ common
    own = inverse - across @ influence.transpose(1, 2)
    top = torch.cat((own, across), 2)
    corner = common.expand(len(inverse), -1, -1)
    return torch.cat((top, torch.cat((across.transpose(1, 2), corner), 2)), 1)


def _noise(
    said: list[QuadraticTerm],
    parameters: Tensor,
    observed: Tensor,
    n_own: int,
    common: Tensor,
    processes: Processes,
) -> float:
    terms = [t for t in said if isinstance(t, PointTerm) and t.n_residuals is not None]
    if not terms:
        raise ValueError(
            'LevenbergMarquardt: covariance needs keypoints to estimate the noise from; no active handler has any. '
            'Set covariance=False.'
        )
    both = (parameters * observed).double()
    spent = both[:, :n_own].sum() + both[:, n_own:, :n_own].sum()
    spent = spent + (common * observed[:, n_own:, n_own:].sum(0, dtype=torch.float64)).sum()
    energy, compared = (sum(x.double().sum() for x in of) for of in _seen(terms))
    energy, compared, spent = processes.sum(torch.stack((energy, compared, spent))).tolist()
    return (energy / max(compared - spent, 1.0)) ** 0.5


def _seen(terms: list[PointTerm]) -> tuple[list[Tensor], list[Tensor]]:
    """Give the energies and the counts of compared numbers, by frame."""
    return [t.energy for t in terms], [t.n_residuals for t in terms]


def _columns(problem: BodyProblem, layout: Layout) -> tuple[str, ...]:
    names = problem.frames.task.body.joint_names
    found = [f'{names[j]}.turn_{axis}' for j in layout.free.tolist() for axis in 'xyz']
    found += [f'transl_{axis}' for axis in 'xyz'] if layout.transl else []
    found += [f'{name}[{i}]' for name, size in layout.extras for i in range(size)]
    return tuple(found)
