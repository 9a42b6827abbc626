"""What moves when, and how far a point may lie off: the schedule of a registration, of pose and of skin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from smilfit.registry import reject_unknown
from smilfit.scans.registration.posed_surface import UNKNOWNS

PLACE = ('turns', 'transl', 'log_scale')
ALL = (*UNKNOWNS, 'joint_offsets')


def check_number(
    where: str, name: str, value: object, low: float, high: float = math.inf, whole: bool = False
) -> None:
    """Check a number of a config.

    Args:
        where: what it belongs to, for the message.
        low: it must be above, or, if it is a whole number, at least so much.
        whole: whether it must be a whole number.

    Raises:
        ValueError: no number, no finite one, or one out of the range.
    """
    if isinstance(value, int if whole else (int, float)) and not isinstance(value, bool):
        above = low <= value if whole else low < value
        if above and value <= high and math.isfinite(value):
            return
    kind = f'a whole number, {low:g} or more' if whole else f'a number above {low:g}'
    most = '' if math.isinf(high) else f', at most {high:g}'
    raise ValueError(f'{where}: {name} must be {kind}{most}; got {value!r}. Correct it in the config.')


@dataclass(frozen=True)
class RegistrationStage:
    """One width of the surface terms, and what moves.

    Attributes:
        sigma: distance at which a point counts half, share of the scan's extent; never below three times the noise.
        fit: names of unknowns (`turns`, `transl`, `log_scale`, `betas`, `log_joint_scales`, `joint_offsets`).
        along: weight of the distance along the surface, beside 1 across it.
        limbs: whether the middles of limbs still draw.
        by_noise: weigh points of the scan by its noise alone, not by part: right where all parts are in place.
        max_normal_angle_deg: surfaces whose normals differ by more are not each other's.
        n_iter: most steps; the end is convergence.
        ftol: relative decrease of the energy that counts as none.
    """

    sigma: float
    fit: tuple[str, ...] = ALL
    along: float = 0.1
    limbs: bool = False
    by_noise: bool = False
    max_normal_angle_deg: float = 90.0
    n_iter: int = 60
    ftol: float = 1e-3

    def __post_init__(self) -> None:
        """Check names and numbers."""
        reject_unknown('RegistrationStage', 'unknown', self.fit, ALL)
        for name, high in (('sigma', 1.0), ('along', 1.0), ('max_normal_angle_deg', 180.0), ('ftol', 1.0)):
            check_number('stages', name, getattr(self, name), 0.0, high)
        check_number('stages', 'n_iter', self.n_iter, 1, whole=True)


@dataclass(frozen=True)
class DeformationStage:
    """One width of the surface terms, and how stiff the surface is.

    Attributes:
        sigma: distance at which a point counts half, share of the scan's extent; never below three times the noise.
        strain: standard deviation of the change of an edge, a share of its length.
        along: weight of the distance along the surface, beside 1 across it.
        limbs: whether the middles of limbs still draw.
        n_iter: most rounds; the end is convergence.
        ftol: a round that moves vertices by less, share of the extent (root mean square), is the last.
    """

    sigma: float
    strain: float = 0.05
    along: float = 0.05
    limbs: bool = False
    n_iter: int = 20
    ftol: float = 1e-4

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ('sigma', 'strain', 'along', 'ftol'):
            check_number('deformation', name, getattr(self, name), 0.0, 1.0)
        check_number('deformation', 'n_iter', self.n_iter, 1, whole=True)


# Coarse to fine. The first is run from every start.
STAGES = (
    RegistrationStage(0.04, along=0.3, limbs=True, n_iter=25, ftol=1e-2),
    RegistrationStage(0.015, along=0.1, n_iter=40),
    RegistrationStage(0.006, along=0.03, n_iter=40),
    RegistrationStage(0.002, along=0.01, by_noise=True, n_iter=60, ftol=1e-4),
)


DEFORMATION = (DeformationStage(0.004, strain=0.03), DeformationStage(0.002, strain=0.05))


# Of a template without a skeleton: its limbs bend by the skin alone.
UNRIGGED = (
    DeformationStage(0.1, strain=0.1, along=0.3, limbs=True, n_iter=15, ftol=5e-4),
    DeformationStage(0.03, strain=0.1, along=0.2, limbs=True, n_iter=15, ftol=5e-4),
    DeformationStage(0.01, strain=0.1, n_iter=12, ftol=3e-4),
    DeformationStage(0.004, strain=0.1, n_iter=12, ftol=3e-4),
)


Stage = TypeVar('Stage', RegistrationStage, DeformationStage)


def stages_of(kind: type[Stage], given: Sequence[Stage | Mapping[str, object]]) -> tuple[Stage, ...]:
    """Take stages as objects, or as a config has them.

    Raises:
        UnknownNameError: a key that a stage does not have, with the near ones.
        ValueError: a number out of its range.
    """
    result = []
    for one in given:
        if isinstance(one, Mapping):
            reject_unknown(kind.__name__, 'key', one, [f.name for f in fields(kind)])
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in one.items()}
            result.append(kind(**values))
        else:
            result.append(one)
    return tuple(result)
