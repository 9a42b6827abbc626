"""The noise of observations, group by group: by view and keypoint, else by term.

Group g has the mean weighted square `s_g^2 = sum rho'^2 w |r|^2 / (sum rho' - sum of leverages)`. With unbounded
squares it is the usual estimate of a variance; with a robust loss it is Huber's (Robust Statistics, 1981, 7.6): the
score's mean square, to which far outliers add nothing. His slope `mean(psi') / mean(psi / r)` corrects reweighted
squares' hessian. Groups of few numbers are drawn towards the common one, as by a conjugate prior (Smyth 2004).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses import Residuals
from smilfit.registrants.second_order.body_problem import FrameEvaluation
from smilfit.registrants.second_order.quadratic_models import (
    AutomaticModel,
    Model,
    PointModel,
    irls_weights,
    models_of,
)
from smilfit.registrants.second_order.uncertainty.covariance_dense import DenseElimination
from smilfit.registrants.second_order.uncertainty.covariance_tree import TreeElimination

# A group is drawn towards all others as if so many more numbers with the common variance had been seen in it.
PRIOR_NUMBERS = 20.0
# By how much a variance changes at most in one round of refinement.
STEP = (0.25, 4.0)
# The least slope of a score: with less, most residuals of a group are outliers and say nothing of the noise.
LEAST_SLOPE = 0.2
# Relative change of a squared residual by which the derivative of a robust function's slope is found.
CHANGE = 1e-4


@dataclass(frozen=True)
class Statement:
    """One statement of an observation: its model, and what its groups (C, K), (K,) or one came to.

    Args:
        key: handler key and number of the statement.
        model: quadratic, with the views' shares.
        squares: sums of weighted squared scores.
        counted: numbers compared, outliers by the weight that is left them.
        slopes: sums of the scores' derivatives, per unit of weight.
    """

    key: str
    model: Model
    squares: Tensor
    counted: Tensor
    slopes: Tensor

    @property
    def names(self) -> tuple[str, ...] | None:
        """The points that its groups are of; None where there is one group of all."""
        return self.model.names if isinstance(self.model, PointModel) else None


def statements_of(part: FrameEvaluation, observing: Collection[str]) -> tuple[list[Statement], list[Model]]:
    """Return observations of squares, which have a noise, and the models of all else; what couples frames is
    left out.

    Args:
        part: posed bodies.
        observing: the keys of handlers that observe something.
    """
    statements, held = [], []
    for term in part.terms:
        stated = term.stated(part.state)
        models, coupled = models_of(term, part.state, 1.0, True)
        kept = [i for i in range(len(stated)) if i not in coupled]
        shares = term.shares(stated, part.energy)
        key, observes = term.handler.handler_key, term.handler.handler_key in observing
        for i, model in zip(kept, models):
            item = stated[i]
            if isinstance(item, Residuals) and observes:
                grouped = isinstance(model, PointModel) and model.names is not None
                sums = _sums(item, shares[i], grouped)
                statements.append(Statement(key if len(stated) == 1 else f'{key}[{i}]', model, *sums))
            else:
                held.append(model)
    return statements, held


def _sums(item: Residuals, share: Tensor, grouped: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Sum squared scores, weights and scores' derivatives over frames, or over all where there are no groups."""
    weight, value = irls_weights(item, 0.5 * share, 1.0)
    terms = item.terms()
    width = value.shape[-1] if item.by_vector else 1
    squared = value.square().sum(-1) if item.by_vector else value.square()
    counts = (terms.weight > 0).to(value)
    slope, curve = torch.ones_like(squared), torch.zeros_like(squared)
    if item.robust is not None and terms.slope is not None:
        slope = terms.slope
        # rho'' |r|^2 by central differences: a robust function states rho' alone.
        above, below = (item.robust(f * squared)[1] for f in (1 + CHANGE, 1 - CHANGE))
        curve = (above - below) / (2 * CHANGE)
    sums = (weight * slope * squared, counts * slope * width, counts * (slope * width + 2 * curve))
    if not grouped:
        squares, counted, slopes = (s.sum() for s in sums)
    else:
        squares, counted, slopes = ((s if item.by_vector else s.sum(-1)).sum(0) for s in sums)
    return squares, counted, slopes


def views_hessian(model: PointModel) -> Tensor:
    """Return every view's hessian (B, C, N, 3, 3), or (B, 1, N, 3, 3) of points that no camera saw."""
    return model.hessian.unsqueeze(1) if model.views is None else model.views.hessian


def scaled(model: Model, factor: Tensor) -> Model:
    """Multiply a model's hessian, group by group where it has groups; its gradient stays."""
    if isinstance(model, AutomaticModel):
        return replace(model, term=replace(model.term, weight=model.term.weight * float(factor)))
    if not isinstance(model, PointModel) or not factor.ndim:
        return replace(model, hessian=factor * model.hessian)
    hessians = factor.reshape(-1, factor.shape[-1])[..., None, None] * views_hessian(model)
    views = None if model.views is None else replace(model.views, hessian=hessians)
    return replace(model, hessian=hessians.sum(1), views=views)


def on_points(statement: Statement, covariance: Float[Tensor, 'B K 3 3']) -> Tensor:
    """Return each group's sum of `tr(W C)`, W the hessians and C covariances of its points."""
    assert isinstance(statement.model, PointModel)
    return (
        (views_hessian(statement.model) * covariance.unsqueeze(1))
        .sum((0, -2, -1))
        .reshape(statement.squares.shape)
    )


def spent_by(statement: Statement, elimination: DenseElimination | TreeElimination, common: Tensor) -> Tensor:
    """Return the numbers that groups of these frames spend on parameters: the sums of their leverages."""
    if statement.names is None:
        return elimination.trace(statement.model, common)
    return on_points(statement, elimination.points(statement.names, common))


@dataclass(frozen=True)
class Noise:
    """Variances of weighted residuals: the common one, and those of every statement's groups."""

    common: float
    groups: tuple[Tensor, ...]

    @property
    def typical(self) -> float:
        """Return the median group's variance: what weights of priors were likely chosen for."""
        return float(torch.cat([g.flatten() for g in self.groups]).median())

    @classmethod
    def of(cls, squares: Sequence[Tensor], numbers: Sequence[Tensor]) -> 'Noise':
        """Estimate from sums of squares, and the numbers compared less those spent on parameters.

        Raises:
            ValueError: nothing was compared.
        """
        if not squares:
            raise ValueError(
                'LevenbergMarquardt: covariance needs observations to estimate the noise from; no active '
                'handler has any residuals. Set covariance=False.'
            )
        total, count = (float(sum(x.sum() for x in result)) for result in (squares, numbers))
        common = total / max(count, 1.0)
        groups = tuple(
            (s + PRIOR_NUMBERS * common) / (n.clamp_min(0) + PRIOR_NUMBERS) for s, n in zip(squares, numbers)
        )
        return cls(common, groups)

    def refined(
        self,
        numbers: Sequence[Tensor],
        spent: Sequence[Tensor],
        carried: Sequence[Tensor | None],
        first: 'Noise',
    ) -> tuple['Noise', float]:
        """Correct groups by what one's noise leaves in another's residuals; and give the largest relative change.

        `r = n - J x` has the expected weighted square `s_g^2 (N_g - 2 L_g) + tr(W C) / 2`, C being the solution's
        covariance under these variances. Each is multiplied by the first estimate over the one so expected.

        Args:
            numbers: N, that some frames' groups compared.
            spent: L, that they spent on parameters.
            carried: `tr(W C)`; None for a statement without groups, which stays.
            first: the estimate from squares.
        """
        groups, change = [], 0.0
        for value, number, used, trace, result in zip(self.groups, numbers, spent, carried, first.groups):
            if trace is not None:
                left = number - used
                expected = value * (number - 2 * used) + 0.5 * trace
                enough = (left > 1) & (expected > 0)
                ratio = torch.where(enough, result * left / torch.where(enough, expected, 1.0), 1.0)
                ratio = ratio.clamp(*STEP)
                value, change = value * ratio, max(change, float((ratio - 1).abs().max()))
            groups.append(value)
        return Noise(self.common, tuple(groups)), change
