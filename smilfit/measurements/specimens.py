"""Specimens and their measurements: of a model, of a registration, of a fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from smilfit.body_models import SMIL
from smilfit.measurements.definitions import Measurement
from smilfit.measurements.measuring import Measurer
from smilfit.measurements.registration_file import Registration
from smilfit.structures import BodyParams
from smilfit.structures.units import MILLIMETRES

# Of lengths whose file states none: a model's own, that of a scan's file, and that of a recording's calibration.
MODEL_UNIT, SCAN_UNIT, WORLD_UNIT = 'model unit', 'scan unit', 'world unit'
UNSEEN = "the scan does not show what it rests on: it is the model's, wholly or in part"
# A measurement that changes by a smaller share rests on other parts.
_CHANGED = 1e-3
# Of a normal distribution, 95 % lie within so many standard deviations.
WITHIN = 1.959963984540054


@dataclass(frozen=True)
class Specimen:
    """The M measurements of one specimen; lengths in mm where their unit is known, else as its file has them.

    `sd`, `low` and `high` are NaN where nothing is known of them, `pose_spread_percent` where there are no poses.
    `doubts` say why the specimen is not to be believed, and `guessed` marks what rests on parts that nobody saw.
    """

    name: str
    measurements: tuple[Measurement, ...]
    values: Float[np.ndarray, ' M']
    length_unit: str
    sd: Float[np.ndarray, ' M']
    pose_spread_percent: Float[np.ndarray, ' M']
    remarks: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    guessed: Bool[np.ndarray, ' M'] | None = None

    @property
    def low(self) -> Float[np.ndarray, ' M']:
        """Lower ends of 95 % intervals; no length is below 0."""
        return np.maximum(self.values - WITHIN * self.sd, 0.0)

    @property
    def high(self) -> Float[np.ndarray, ' M']:
        """Upper ends of 95 % intervals."""
        return self.values + WITHIN * self.sd

    def doubt_of(self, i: int) -> str:
        """Say why measurement `i` is not to be believed; '' where it may be."""
        guessed = self.guessed is not None and bool(self.guessed[i])
        return '; '.join((*self.doubts, *([UNSEEN] if guessed else [])))

    @property
    def units(self) -> list[str]:
        """By measurement, its unit."""
        powers = {0: 'deg', 1: self.length_unit, 2: f'{self.length_unit}^2', 3: f'{self.length_unit}^3'}
        return [powers[m.dimension] for m in self.measurements]


def measure_model(
    body: SMIL,
    measurements: Sequence[Measurement],
    betas: Mapping[str, Sequence[float]] | None = None,
    unit: str | None = None,
) -> list[Specimen]:
    """Measure a model: its mean shape, then shapes of given coefficients.

    Args:
        body: the model.
        measurements: what to measure.
        betas: coefficients by the name that the specimen gets.
        unit: of the model's lengths, where its file does not say.

    Raises:
        ValueError: another number of coefficients than the model's.
    """
    measurer = Measurer(body, measurements)
    shapes = {body.data.name: measurer.body.zero_params()}
    for name, numbers in (betas or {}).items():
        if len(numbers) != body.n_betas:
            raise ValueError(
                f'{body.data.name}: betas must be {body.n_betas} numbers, one a coefficient; got {len(numbers)} '
                f'({name}). Give all of them.'
            )
        value = torch.tensor([list(numbers)], dtype=torch.float64)
        shapes[f'{body.data.name} {name}'] = measurer.body.zero_params().replace(betas=value)
    return [
        measured_at_rest(measurer, name, params, known_unit(body.data.unit, unit) or MODEL_UNIT)
        for name, params in shapes.items()
    ]


def measure_registration(
    registration: Registration, body: SMIL, measurements: Sequence[Measurement], unit: str | None = None
) -> Specimen:
    """Measure a registered specimen as it stands at rest.

    Args:
        registration: the specimen.
        body: its body model.
        measurements: what to measure.
        unit: of the scan, where the registration does not say.
    """
    own = registration.body_of(body.data, body.joint_scale_mode)
    measurer = Measurer(own, measurements)
    own_unit = known_unit(registration.unit, unit) or SCAN_UNIT
    found = measured_at_rest(measurer, registration.name, registration.at_rest(body.data), own_unit)
    doubts = tuple(f'the registration is not believable: {why}' for why in registration.doubts)
    found = replace(found, doubts=doubts)
    if not registration.absent:
        return found
    guessed = _resting_on(registration.absent, measurer, registration.at_rest(body.data))
    named = ', '.join(m.name for m, g in zip(found.measurements, guessed) if g)
    absent = f"the scan does not show {', '.join(registration.absent)}: there the numbers are the model's"
    rests = (
        f"not measured but the model's, wholly or in part: {named}"
        if named
        else 'no measurement rests on them'
    )
    return replace(found, remarks=(*found.remarks, absent, rests), guessed=guessed)


def _resting_on(names: Sequence[str], measurer: Measurer, rest: BodyParams) -> Bool[np.ndarray, ' M']:
    """Say which measurements change when the sizes of some joints do.

    The first joint of what is absent stays at its place: the part before it, which is there, ends in it.
    """
    data = measurer.data
    gone = np.isin(np.array(data.joint_names), names)
    inner = gone & gone[data.parents] & (data.parents >= 0)
    assert rest.log_joint_scales is not None
    assert rest.joint_offsets is not None
    larger = torch.from_numpy(gone[None, :, None] * 0.1)
    farther = torch.from_numpy(inner[None, :, None] * 0.05 * float(np.ptp(data.v_template, axis=0).max()))
    moved = rest.replace(
        log_joint_scales=rest.log_joint_scales + larger, joint_offsets=rest.joint_offsets + farther
    )
    before, after = (measurer.measure(next(measurer.geometries(p))).values for p in (rest, moved))
    both = np.isfinite(before) & np.isfinite(after)
    changed = np.abs(np.where(both, after - before, 0.0)) > _CHANGED * np.abs(np.where(both, before, 1.0))
    return changed | (np.isfinite(before) != np.isfinite(after))


def measured_at_rest(measurer: Measurer, name: str, params: BodyParams, unit: str) -> Specimen:
    """Measure one body as it stands, without intervals.

    Args:
        measurer: of its model.
        name: of the specimen.
        params: of one body at rest.
        unit: of its lengths; what is one of length becomes mm.
    """
    factor, length_unit = in_mm(unit)
    body = next(measurer.geometries(params))
    found = measurer.measure(body.times(factor))
    unknown = np.full(len(found.values), np.nan)
    remarks = tuple(measurer.remarks(body))
    return Specimen(
        name, measurer.measurements, found.values, length_unit, unknown, unknown, remarks, dict(found.reasons)
    )


def in_mm(unit: str) -> tuple[float, str]:
    """Give the factor to mm and the unit that lengths have then; 1 and the unit itself where it is no length."""
    return (MILLIMETRES[unit], 'mm') if unit in MILLIMETRES else (1.0, unit)


def known_unit(stated: str | None, given: str | None) -> str | None:
    """Choose the unit that a file states, if it is one of length; else the caller's."""
    return stated if stated in MILLIMETRES else given or stated
