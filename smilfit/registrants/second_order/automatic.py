"""Derivatives that nobody has written down: of residuals row by row, of energies to second order."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.handlers import ActiveTerm, BodyState
from smilfit.losses import Residuals
from smilfit.losses.base import weighted_terms
from smilfit.structures import BodyOutput

# Numbers that an energy may depend on in a frame: its second derivative is a matrix of as many rows.
MOST_ENERGY_NUMBERS = 1200
# Numbers of one frame's derivative of residuals by points or parameters: more do not fit in memory.
MOST_SLOPES = 20_000_000
_POINTS = ('joints', 'keypoints', 'vertices')

# Derivatives (B, R, ...) by name of what they are by.
Slopes = dict[str, Tensor]


def leaf_state(state: BodyState) -> tuple[BodyState, dict[str, Tensor]]:
    """Make points and parameters independent leaves, so that differentiation never walks the kinematic chain."""
    leaves = {n: getattr(state.output, n) for n in _POINTS} | state.params.as_dict()
    leaves = {n: v.detach().requires_grad_() for n, v in leaves.items() if v is not None and v.numel()}
    output = BodyOutput(
        **{n: leaves.get(n) for n in _POINTS},
        keypoint_names=state.output.keypoint_names,
        joint_names=state.output.joint_names,
    )
    params = state.params.replace(**{n: leaves[n] for n in state.params.as_dict() if n in leaves})
    return replace(state, params=params, output=output), leaves


def residuals_of(term: ActiveTerm, state: BodyState, index: int) -> Residuals:
    """Return a statement of a term that is known to be of residuals."""
    item = term.stated(state)[index]
    assert isinstance(item, Residuals)
    return item


def argument_slope(term: ActiveTerm, index: int, state: BodyState, item: Residuals) -> Residuals:
    """Find the derivative of residuals by their loss's first argument, and give them with it."""
    with torch.enable_grad():
        leaves, _ = leaf_state(state)
        result = residuals_of(term, leaves, index)
        assert result.source is not None
        argument = result.source.argument
        if not result.value.requires_grad:
            zero = torch.zeros_like(argument).flatten(1)[:, None].expand(-1, result.value[0].numel(), -1)
            return replace(item, slope=zero, pointwise=False)
        if item.pointwise:
            rows = [
                torch.autograd.grad(result.value[..., i].sum(), argument, retain_graph=True)[0]
                for i in range(result.value.shape[-1])
            ]
            return replace(item, slope=torch.stack(rows, -2))
        (slope,) = _rows(result.value.flatten(1), [argument])
        assert slope is not None
    return replace(item, slope=slope.flatten(2))


def residual_slopes(term: ActiveTerm, index: int, state: BodyState) -> tuple[Residuals, Slopes]:
    """Differentiate residuals, every number of a frame, by points and parameters.

    Raises:
        TypeError: there are too many.
    """
    with torch.enable_grad():
        at, leaves = leaf_state(state)
        item = residuals_of(term, at, index)
        value = item.value.flatten(1)
        most = max((v[0].numel() for v in leaves.values()), default=0)
        if value.shape[1] * most > MOST_SLOPES:
            raise TypeError(
                f'LevenbergMarquardt: {term.name} compares {value.shape[1]} numbers a frame with {most} coordinates, '
                'too many for automatic derivatives. Set pointwise=True in its Residuals where each vector depends '
                'on one point, or give this stage optimizer=dict(type="Adam").'
            )
        result = _rows(value, list(leaves.values()))
    slopes = {n: s for n, s in zip(leaves, result) if s is not None}
    return replace(item, value=item.value.detach()), slopes


def energy_slopes(term: ActiveTerm, index: int, state: BodyState, share: Tensor) -> tuple[Slopes, Slopes]:
    """Differentiate an energy: its gradient as one row, and rows whose squares sum to its hessian.

    The hessian's eigenvalues count by their size (saddle-free Newton; Dauphin et al. 2014), so that every step of a
    damped solver goes downhill.

    Raises:
        TypeError: the energy has no second derivative, depends on too many numbers, or is not by frame.
    """
    with torch.enable_grad():
        at, leaves = leaf_state(state)
        terms = weighted_terms(term.stated(at)[index])
        if len(terms) != state.params.batch_size:
            raise TypeError(
                f'LevenbergMarquardt: {term.name} must give terms of every frame with reduction "none"; got '
                f'{tuple(terms.shape)} for {state.params.batch_size} frames. Let the loss not reduce over frames, or '
                'give this stage optimizer=dict(type="Adam") or dict(type="LBFGS").'
            )
        total = share * terms.sum()
        if not total.requires_grad:
            return {}, {}
        first = torch.autograd.grad(total, list(leaves.values()), create_graph=True, allow_unused=True)
        moving = {n: g for n, g in zip(leaves, first) if g is not None}
        count = sum(g[0].numel() for g in moving.values())
        if count > MOST_ENERGY_NUMBERS:
            raise TypeError(
                f'LevenbergMarquardt: {term.name} states an energy of {count} numbers a frame; its second derivative '
                f'is taken for at most {MOST_ENERGY_NUMBERS}. Let the loss state residual(...), or give this stage '
                'optimizer=dict(type="Adam") or dict(type="LBFGS").'
            )
        flat = torch.cat([g.flatten(1) for g in moving.values()], 1)
        try:
            second = _rows(flat, [leaves[n] for n in moving]) if flat.requires_grad else [None] * len(moving)
        except RuntimeError as error:
            raise TypeError(
                f'LevenbergMarquardt: {term.name} states an energy without a second derivative ({str(error)[:90]}). '
                'Give this stage optimizer=dict(type="Adam") or dict(type="LBFGS").'
            ) from error
    widths = [g[0].numel() for g in moving.values()]
    parts = [
        torch.zeros(len(flat), count, n).to(flat) if s is None else s.flatten(2)
        for s, n in zip(second, widths)
    ]
    hessian = torch.cat(parts, 2)
    values, vectors = torch.linalg.eigh(0.5 * (hessian + hessian.transpose(1, 2)))
    roots = values.abs().sqrt().unsqueeze(-1) * vectors.transpose(1, 2)
    shaped = roots.split(widths, 2)
    rows = {
        n: r.unflatten(2, leaves[n].shape[1:]) if leaves[n].ndim > 1 else r for n, r in zip(moving, shaped)
    }
    return {n: g.detach().unsqueeze(1) for n, g in moving.items()}, rows


def value_slopes(term: ActiveTerm, state: BodyState, widening: float = 1.0) -> Slopes:
    """Differentiate the whole term's value, as one row of every frame."""
    with torch.enable_grad():
        at, leaves = leaf_state(state)
        value = term.value(at) if widening == 1.0 else term.per_frame(at, widening).sum()
        if not value.requires_grad:
            return {}
        result = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return {n: g.unsqueeze(1) for n, g in zip(leaves, result) if g is not None}


def _rows(values: Float[Tensor, 'B R'], leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """Differentiate every number of a frame: (B, R, ...) for each leaf, None where it plays no part."""
    if not values.requires_grad:
        return [None] * len(leaves)
    count = values.shape[1]
    picks = torch.eye(count, dtype=values.dtype, device=values.device)
    picks = picks.unsqueeze(1).expand(count, *values.shape)
    result = torch.autograd.grad(values, leaves, picks, is_grads_batched=True, allow_unused=True)
    return [None if f is None else f.transpose(0, 1) for f in result]
