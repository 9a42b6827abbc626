"""Quadratic models of a stage's terms about the present body, made of what losses state.

A squared residual `w rho(|r|^2)` has the gradient `2 w rho' J' r` and, by Gauss and Newton, the hessian
`2 w rho' J' J`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.handlers import ActiveTerm, BodyState
from smilfit.losses import ParameterSource, PointSource, Residuals
from smilfit.registrants.second_order.automatic import argument_slope
from smilfit.structures import Cameras


@dataclass(frozen=True)
class ViewModel:
    """Every view's share of a model of points, under the views' cameras."""

    gradient: Float[Tensor, 'B C N 3']
    hessian: Float[Tensor, 'B C N 3 3']
    cameras: Cameras

    def take(self, rows: Tensor) -> 'ViewModel':
        """Pick frames."""
        return ViewModel(self.gradient[rows], self.hessian[rows], self.cameras)


@dataclass(frozen=True)
class PointModel:
    """Of points of the body, each by itself: `g . v + v . H v / 2` for a motion v.

    Args:
        names: joints and keypoints; None for all vertices.
        gradient: by point, per world unit.
        hessian: by point.
        views: its parts, where they are asked for and cameras observed the points.
    """

    names: tuple[str, ...] | None
    gradient: Float[Tensor, 'B N 3']
    hessian: Float[Tensor, 'B N 3 3']
    views: ViewModel | None = None

    def take(self, rows: Tensor) -> 'PointModel':
        """Pick frames."""
        views = None if self.views is None else self.views.take(rows)
        return PointModel(self.names, self.gradient[rows], self.hessian[rows], views)


@dataclass(frozen=True)
class ParameterModel:
    """Of one parameter, rotations as axis-angle: its numbers flattened, or hessians (J-1, 3, 3) joint by joint.

    Args:
        name: of the parameter.
        gradient: per unit of the parameter.
        hessian: of every frame, or one for all.
    """

    name: str
    gradient: Float[Tensor, 'B n']
    hessian: Float[Tensor, '#B n n'] | Float[Tensor, '#B j 3 3']

    def take(self, rows: Tensor) -> 'ParameterModel':
        """Pick frames."""
        hessian = self.hessian if len(self.hessian) == 1 else self.hessian[rows]
        return ParameterModel(self.name, self.gradient[rows], hessian)


@dataclass(frozen=True)
class AutomaticModel:
    """A term whose derivatives are found automatically, by unknowns, when equations are made.

    Args:
        term: the term.
        index: which of its statements.
    """

    term: ActiveTerm
    index: int


Model = PointModel | ParameterModel | AutomaticModel


def models_of(
    term: ActiveTerm, state: BodyState, widening: float, by_view: bool
) -> tuple[list[Model], list[int]]:
    """Return the quadratic models of a term, and which of its statements couple frames and have none here.

    Args:
        term: the term.
        state: the body.
        widening: of robust functions.
        by_view: keep the views' shares, for cameras that are fitted.
    """
    with torch.no_grad():
        stated = term.stated(state)
    models: list[Model] = []
    coupled = []
    shares = term.shares(stated, state.params.transl)
    vertices = state.output.vertices
    count = 0 if vertices is None else vertices.shape[1]
    for index, (item, share) in enumerate(zip(stated, shares)):
        if not isinstance(item, Residuals) or not known(item):
            models.append(AutomaticModel(term, index))
        elif item.order:
            coupled.append(index)
        else:
            item = item if item.slope is not None else argument_slope(term, index, state, item)
            models.append(model_of(item, share, widening, by_view, count))
    return models, coupled


def known(item: Residuals) -> bool:
    """Whether derivatives go through the loss's first argument: it says from where it comes, and on what it depends.

    Rotations of the root, place and scale are few, and have no model of their own; nor has what depends on several
    arguments, which only automatic derivatives see.
    """
    if item.order:
        return True
    if isinstance(item.source, ParameterSource):
        simple = item.source.name not in ('global_orient', 'transl', 'scale')
        return simple and (item.pointwise or item.slope is not None)
    return item.source is not None and item.pointwise


def irls_weights(item: Residuals, share: Tensor, widening: float) -> tuple[Tensor, Tensor]:
    """Return `2 w rho'` by vector (B, *terms) or by number (B, *terms, D), and the residuals that count."""
    terms = item.terms(None, widening)
    weight = 2 * share * item.factor * terms.weight
    return (weight if terms.slope is None else weight * terms.slope), terms.value


def model_of(item: Residuals, share: Tensor, widening: float, by_view: bool, count: int) -> Model:
    """Model residuals whose slope and source are known; `count` is the number of vertices."""
    weight, value = irls_weights(item, share, widening)
    if isinstance(item.source, PointSource):
        return _of_points(item, item.source, weight, value, by_view, count)
    assert item.source is not None
    return _of_parameter(item, item.source, weight, value)


def _of_points(
    item: Residuals, source: PointSource, weight: Tensor, value: Tensor, by_view: bool, count: int
) -> PointModel:
    plain = is_identity(item.slope)
    slope = None if plain else item.slope
    if source.slope is not None:
        outer = source.slope()
        if source.index is not None:
            outer = _gathered(outer, source.index[..., 0])
        slope = outer if slope is None else slope @ outer
    gradient, hessian = _squares(slope, weight, value, item.by_vector)
    if source.index is not None:
        gradient = _shared_out(gradient, source.index, source.share, count)
        hessian = _shared_out(hessian.flatten(-2), source.index, source.share, count).unflatten(-1, (3, 3))
    if source.cameras is None:
        return PointModel(source.names, gradient, hessian)
    views = ViewModel(gradient, hessian, source.cameras) if by_view else None
    return PointModel(source.names, gradient.sum(1), hessian.sum(1), views)


def _squares(
    slope: Tensor | None, weight: Tensor, value: Tensor, by_vector: bool
) -> tuple[Float[Tensor, 'B *k n'], Float[Tensor, 'B *k n n']]:
    """Return `J' w r` and `J' w J`; no slope stands for the identity."""
    by_number = weight.unsqueeze(-1).expand_as(value) if by_vector else weight
    if slope is None:
        return by_number * value, torch.diag_embed(by_number)
    back = (by_number.unsqueeze(-1) * slope).transpose(-1, -2)
    return (back @ value.unsqueeze(-1)).squeeze(-1), back @ slope


def _gathered(values: Tensor, index: Tensor) -> Tensor:
    """Pick rows (B, *, n, ...) of values (B, *, K, ...) by an index (B, *, n)."""
    rest = values.shape[index.ndim :]
    wide = index.reshape(*index.shape, *(1,) * len(rest)).expand(*index.shape, *rest)
    return values.gather(index.ndim - 1, wide)


def _shared_out(values: Tensor, index: Tensor, share: Tensor | None, count: int) -> Tensor:
    """Add up values (B, *views, n, d) at the points that they follow, each by its share (B, *views, count, d).

    Of hessians this is a bound: `|sum_k b_k v_k|^2 <= sum_k b_k |v_k|^2` (Jensen), so a point with the share b_k
    takes that share of both, and the model never lies below the true one.
    """
    dim, values = index.ndim - 2, values.unsqueeze(-2)
    values = values if share is None else share.unsqueeze(-1) * values
    values = values.expand(*index.shape, values.shape[-1]).flatten(dim, dim + 1)
    rows = index.flatten(dim).unsqueeze(-1).expand_as(values)
    return values.new_zeros(*values.shape[:dim], count, values.shape[-1]).scatter_add(dim, rows, values)


def _of_parameter(item: Residuals, source: ParameterSource, weight: Tensor, value: Tensor) -> ParameterModel:
    factor = source.factor
    if item.pointwise:
        slope = None if is_identity(item.slope) else item.slope
        gradient, hessian = _squares(slope, weight, value, item.by_vector)
        if gradient.shape[-1] != 3:
            hessian = torch.diag_embed(hessian.diagonal(dim1=-2, dim2=-1).flatten(1))
        return ParameterModel(source.name, factor * gradient.flatten(1), factor**2 * hessian)
    weight = (weight.unsqueeze(-1).expand_as(value) if item.by_vector else weight).flatten(1)
    slope = item.slope
    assert slope is not None
    gradient = (slope.transpose(1, 2) @ (weight * value.flatten(1)).unsqueeze(-1)).squeeze(-1)
    if len(slope) == 1 and item.weight is None and item.robust is None:
        # All frames have the same weight: one hessian serves them.
        weight = weight[:1]
    hessian = slope.transpose(1, 2) @ (weight.unsqueeze(-1) * slope)
    return ParameterModel(source.name, factor * gradient, factor**2 * hessian)


def is_identity(slope: Tensor | None) -> bool:
    """Check whether a slope is the same identity matrix everywhere."""
    if slope is None or slope.ndim != 2 or slope.shape[0] != slope.shape[1]:
        return False
    return torch.equal(slope, torch.eye(len(slope), dtype=slope.dtype, device=slope.device))


def take_models(models: Sequence[Model], rows: Tensor) -> list[Model]:
    """Pick frames."""
    return [
        replace(m, term=m.term.take(rows)) if isinstance(m, AutomaticModel) else m.take(rows) for m in models
    ]
