"""Where a caller says that a fit starts: checked before the first step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import BodyParams


def start_params(body: SMIL, given: BodyParams | Mapping[str, Tensor] | None, batch: int) -> BodyParams:
    """Give the rest pose with what a caller says of it, one row a frame.

    Raises:
        KeyError: an unknown parameter, with the near ones.
        ValueError: another count of rows than 1 or one a frame, or another shape than the body's.
    """
    start = body.zero_params(batch)
    if given is None:
        return start
    given = given.as_dict() if isinstance(given, BodyParams) else dict(given)
    for name in given:
        if name not in BodyParams.__dataclass_fields__:
            options = BodyParams.__dataclass_fields__
            raise UnknownNameError(
                f'SMPLify: init_params has an unknown {name!r}. {did_you_mean(name, options)}'
            )
    like = start.transl
    found = {n: _rows(n, torch.as_tensor(v).to(like), batch, _shapes(body)[n]) for n, v in given.items()}
    return start.replace(**found).as_axis_angle()


def check_start(start: BodyParams) -> None:
    """Look for a start that no body stands in.

    Raises:
        ValueError: a number that is not finite, or a scale that is not positive.
    """
    for name, value in start.as_dict().items():
        bad = ~value.isfinite().reshape(len(value), -1).all(1)
        rule = 'be finite'
        if name == 'scale' and not bool(bad.any()):
            bad, rule = value <= 0, 'be positive'
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            shown = [f'{x:.4g}' for x in value[row].flatten()[:3].tolist()]
            raise ValueError(
                f'SMPLify: init_params {name} must {rule}; got {", ".join(shown)} in row {row} of the observed '
                f"frames ({int(bad.sum())} such rows). Leave {name} out of init_params, or give a good frame's."
            )


def _shapes(body: SMIL) -> dict[str, tuple[tuple[int | None, ...], ...]]:
    """Give the shapes that a parameter's row may have; None for any size."""
    turning, joints = body.n_joints - 1, body.n_joints
    return {
        'global_orient': ((3,), (3, 3)),
        'body_pose': ((turning, 3), (turning, 3, 3)),
        'betas': ((body.n_betas,),),
        'transl': ((3,),),
        'scale': ((),),
        'log_joint_scales': ((joints, 3),),
        'joint_offsets': ((joints, 3),),
        'expression': ((None,),),
    }


def _rows(name: str, value: Tensor, batch: int, shapes: tuple[tuple[int | None, ...], ...]) -> Tensor:
    if value.ndim == 0 or value.shape[0] not in (1, batch):
        rows = value.shape[0] if value.ndim else 'a number'
        raise ValueError(f'SMPLify: init_params {name} must have 1 or {batch} rows; got {rows}.')
    row = tuple(value.shape[1:])
    if not any(len(row) == len(s) and all(n in (None, m) for n, m in zip(s, row)) for s in shapes):
        wanted = ' or '.join(str((batch, *('E' if n is None else n for n in s))) for s in shapes)
        raise ValueError(f'SMPLify: init_params {name} must be {wanted}; got {tuple(value.shape)}.')
    return value.expand(batch, *row).clone()
