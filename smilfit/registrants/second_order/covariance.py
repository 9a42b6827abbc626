"""How well a fit's parameters and keypoints are known: Gauss-Newton at the solution.

With energies that are sums of weighted squares whose residuals all have one variance s^2, the posterior's covariance
is `2 s^2 H^-1`, where H is the second derivative of the whole energy, priors included. s^2 is the observations'
energy over the numbers compared less the parameters spent on them (the trace of `H^-1 H_observed`).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from smilfit.losses import Residuals
from smilfit.registrants.second_order.block import CHUNK, Posed, even_parts
from smilfit.registrants.second_order.landmarks import PointSet, point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.models import irls_weights
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.problem import BodyProblem, Evaluation
from smilfit.solvers import Processes
from smilfit.structures import FitCovariance

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
        frames, spent, sums = [], [], point.transl.new_zeros(2, dtype=torch.float64)
        schur = point.transl.new_zeros(layout.n_shared, layout.n_shared, dtype=torch.float64)
        for _, block, part in problem.parts(at):
            models, _ = block.models(part)
            seen, _ = block.models(part, observed=True)
            sums = sums + _compared(part)
            for rows in even_parts(len(part.energy), CHUNK, point.transl.device):
                whole = block.equations(part, rows, models).matrix
                inverse = _inverse(whole[:, :n, :n])
                influence = inverse @ whole[:, :n, n:]
                schur += (whole[:, n:, n:] - whole[:, n:, :n] @ influence).sum(0, dtype=torch.float64)
                frames.append((inverse, influence))
                spent.append(block.equations(part, rows, seen).matrix)
        schur = problem.processes.sum(schur)
        common = (_inverse(schur) if layout.n_shared else schur).to(point.transl)
        parameters = torch.cat([_joined(i, x, common) for i, x in frames])
        noise = _noise(sums, parameters, torch.cat(spent), n, common, problem.processes)
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
    sums: Tensor,
    parameters: Tensor,
    observed: Tensor,
    n_own: int,
    common: Tensor,
    processes: Processes,
) -> float:
    both = (parameters * observed).double()
    spent = both[:, :n_own].sum() + both[:, n_own:, :n_own].sum()
    spent = spent + (common * observed[:, n_own:, n_own:].sum(0, dtype=torch.float64)).sum()
    squares, compared, spent = processes.sum(torch.cat((sums, spent[None]))).tolist()
    if not compared:
        raise ValueError(
            'LevenbergMarquardt: covariance needs observations to estimate the noise from; no active handler has any '
            'residuals. Set covariance=False.'
        )
    return (squares / max(compared - spent, 1.0)) ** 0.5


def _compared(part: Posed) -> Tensor:
    """Sum the weighted squares of observations, and count the numbers compared.

    Outliers count by what weight is left them.
    """
    squares = torch.zeros(2, dtype=torch.float64, device=part.energy.device)
    for term in (t for t in part.terms if t.related_input is not None):
        stated = term.stated(part.state)
        for item, share in zip(stated, term.shares(stated, part.energy)):
            if isinstance(item, Residuals):
                weight, value = irls_weights(item, 0.5 * share, 1.0)
                terms = item.terms()
                wide = weight.unsqueeze(-1).expand_as(value) if item.by_vector else weight
                inlier = torch.ones_like(terms.weight) if terms.slope is None else terms.slope
                counted = inlier * (terms.weight > 0) * (value.shape[-1] if item.by_vector else 1)
                squares = squares + torch.stack(((wide * value.square()).sum(), counted.sum())).double()
    return squares


def _columns(problem: BodyProblem, layout: Layout) -> tuple[str, ...]:
    names = problem.frames.task.body.joint_names
    found = [f'{names[j]}.turn_{axis}' for j in layout.free.tolist() for axis in 'xyz']
    found += [f'transl_{axis}' for axis in 'xyz'] if layout.transl else []
    found += [f'{name}[{i}]' for name, size in layout.extras for i in range(size)]
    return tuple(found)
