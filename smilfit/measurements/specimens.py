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
from smilfit.structures import PARAMETERS, BodyParams, FitCovariance, FitResult
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
        _measured(measurer, name, params, _known_unit(body.data.unit, unit) or MODEL_UNIT)
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
    own_unit = _known_unit(registration.unit, unit) or SCAN_UNIT
    found = _measured(measurer, registration.name, registration.at_rest(body.data), own_unit)
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


def measure_fit(
    fit: FitResult,
    name: str,
    body: SMIL,
    measurements: Sequence[Measurement],
    poses: int = 40,
    unit: str | None = None,
) -> Specimen:
    """Measure the animal of a fit: its shape at rest, how sure it is, and what poses do to each measurement.

    Args:
        fit: the fit.
        name: of the specimen.
        body: the fit's body model, with the landmarks of its session.
        measurements: what to measure.
        poses: in how many frames, evenly over all that were fitted, poses are looked at.
        unit: of the world, where the fit does not say.

    Raises:
        ValueError: a fit without a fitted frame.
    """
    rows = fit.fitted.cpu().nonzero().flatten()
    if not len(rows):
        raise ValueError(f'{name}: a fit must have a fitted frame; got none of {len(fit.fitted)}. Fit again.')
    params = fit.params.to('cpu', torch.float64)[rows]
    measurer = Measurer(body, measurements)
    remarks = []
    if (share := _not_shared(params)) is not None:
        remarks.append(f'{share} differs from frame to frame; the first frame is measured at rest')
    rest = measurer.at_rest(params)
    unit = _known_unit(fit.unit, unit) or WORLD_UNIT
    plain = _measured(measurer, name, rest, unit)
    sd, more = _deviations(fit, measurer, rest, int(rows[0]))
    factor, _ = _in_mm(unit)
    sd = sd * factor ** np.array([m.dimension for m in measurer.measurements])
    spread = measurer.spread_percent(params, poses)
    return replace(plain, sd=sd, pose_spread_percent=spread, remarks=(*plain.remarks, *remarks, *more))


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


def _measured(measurer: Measurer, name: str, params: BodyParams, unit: str) -> Specimen:
    factor, length_unit = _in_mm(unit)
    body = next(measurer.geometries(params))
    found = measurer.measure(body.times(factor))
    unknown = np.full(len(found.values), np.nan)
    remarks = tuple(measurer.remarks(body))
    return Specimen(
        name, measurer.measurements, found.values, length_unit, unknown, unknown, remarks, dict(found.reasons)
    )


def _in_mm(unit: str) -> tuple[float, str]:
    return (MILLIMETRES[unit], 'mm') if unit in MILLIMETRES else (1.0, unit)


def _known_unit(stated: str | None, given: str | None) -> str | None:
    """Choose the unit that a file states, if it is one of length; else the caller's."""
    return stated if stated in MILLIMETRES else given or stated


def _not_shared(params: BodyParams) -> str | None:
    """Name a parameter of the shape that frames do not share."""
    for name, value in params.as_dict().items():
        if PARAMETERS[name].shared and not torch.allclose(value, value[:1].expand_as(value), rtol=1e-4):
            return name
    return None


def _deviations(
    fit: FitResult, measurer: Measurer, rest: BodyParams, row: int
) -> tuple[Float[np.ndarray, ' M'], list[str]]:
    """Give standard deviations of measurements by the fit's covariance, and what they leave out."""
    nothing = np.full(len(measurer.measurements), np.nan)
    if fit.covariance is None:
        return nothing, ['the fit keeps no covariance: no intervals. Fit with optimizer.covariance=True']
    shape = [n for n in rest.as_dict() if PARAMETERS[n].shared]
    columns, covariance, crossed = _of_shape(fit.covariance, shape, row)
    if not columns:
        return nothing, ["the fit's covariance says nothing of its shape: no intervals"]
    remarks = (
        [] if crossed else ['the file keeps no covariances between sizes: intervals take them as independent']
    )
    return measurer.deviations(rest, columns, covariance), remarks


def _of_shape(
    covariance: FitCovariance, names: Sequence[str], row: int
) -> tuple[list[str], Float[np.ndarray, 'n n'], bool]:
    """Give the covariance of the shape's parameters, infinite where nothing tells of one.

    Returns:
        The columns that are there, such as `betas[0]`, their covariance, and whether it is more than a diagonal.
    """
    shared = covariance.shared
    if shared is not None:
        every = [f'{_named(name)}[{i}]' for name, size in shared.names for i in range(size)]
        places = [i for i, column in enumerate(every) if column.partition('[')[0] in names]
        found = shared.covariance.double().cpu().numpy()[np.ix_(places, places)].copy()
        for at, place in enumerate(places):
            if bool(shared.unknown[place]):
                found[at], found[:, at] = 0.0, 0.0
                found[at, at] = np.inf
        return [every[i] for i in places], found, True
    columns = [_named(column) for column in covariance.columns]
    places = [i for i, column in enumerate(columns) if column.partition('[')[0] in names]
    named = [columns[i] for i in places]
    if isinstance(covariance.whole, torch.Tensor):
        return named, covariance.whole[row].double().cpu().numpy()[np.ix_(places, places)], True
    sd = covariance.parameter_sd()[row].double().cpu().numpy()
    return named, np.diag(sd[places] ** 2), False


def _named(column: str) -> str:
    """Name a solver's column by its parameter: a scale is found by its logarithm, as `deviations` moves it."""
    return 'scale[0]' if column == 'log_scale[0]' else 'scale' if column == 'log_scale' else column
