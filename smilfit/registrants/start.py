"""Where a caller says that a fit starts: checked before the first step."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registry import reject_unknown
from smilfit.structures import PARAMETERS, BodyParams, parameter_names

# Of one animal's frames: scales that differ by more are no sizes.
ODD_SCALE = 1e3


def start_params(body: SMIL, given: BodyParams | Mapping[str, Tensor] | None, batch: int) -> BodyParams:
    """Return the rest pose with what a caller says of it, one row a frame.

    Raises:
        KeyError: an unknown parameter, with the near ones.
        ValueError: another count of rows than 1 or one a frame, or another shape than the body's.
    """
    start = body.zero_params(batch)
    if given is None:
        return start
    given = given.as_dict() if isinstance(given, BodyParams) else dict(given)
    reject_unknown('SMPLify: init_params', 'parameter', given, parameter_names(of='body'))
    like = start.transl
    result = {n: _rows(n, torch.as_tensor(v).to(like), batch, body.sizes) for n, v in given.items()}
    return start.replace(**result).as_axis_angle()


def check_start(start: BodyParams) -> None:
    """Look for a start that no body stands in.

    Raises:
        ValueError: a number that is not finite, or a scale that is not positive.
    """
    for name, value in start.as_dict().items():
        wrong, rule = ~value.isfinite(), 'be finite'
        if PARAMETERS[name].kind == 'scale' and not bool(wrong.any()):
            wrong, rule = value <= 0, 'be positive'
        bad = wrong.reshape(len(value), -1).any(1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            shown = [f'{x:.4g}' for x in value[row].flatten()[:3].tolist()]
            raise ValueError(
                f'SMPLify: init_params {name} must {rule}; got {", ".join(shown)} in row {row} of the observed '
                f"frames ({int(bad.sum())} such rows). Leave {name} out of init_params, or give a good frame's."
            )


def with_usual_scale(start: BodyParams) -> tuple[BodyParams, int]:
    """Return frames whose scale is far from the others' their median, before all share one; says how many.

    Of one animal no frame is `ODD_SCALE` times as large as the others: a mean would follow it.
    """
    log = start.scale.log()
    centre = log.median()
    odd = (log - centre).abs() > math.log(ODD_SCALE)
    if not bool(odd.any()):
        return start, 0
    return start.replace(scale=torch.where(odd, centre.exp(), start.scale)), int(odd.sum())


def _rows(name: str, value: Tensor, batch: int, sizes: Mapping[str, int]) -> Tensor:
    if value.ndim == 0 or value.shape[0] not in (1, batch):
        rows = value.shape[0] if value.ndim else 'a number'
        raise ValueError(f'SMPLify: init_params {name} must have 1 or {batch} rows; got {rows}.')
    PARAMETERS[name].check('SMPLify: init_params ', value, sizes, batch, 'Is it of another body model?')
    return value.expand(batch, *value.shape[1:]).clone()
