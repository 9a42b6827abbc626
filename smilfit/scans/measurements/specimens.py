"""Specimens and their measurements: of a model, of a registration, of a fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from smilfit.body_models import SMIL, BodyModelData
from smilfit.files import BadFileError, read_npz, reading
from smilfit.scans.measurements.definitions import Measurement
from smilfit.scans.measurements.measuring import Measurer
from smilfit.structures import PARAMETERS, BodyParams, FitCovariance, FitResult
from smilfit.structures.body import MILLIMETRES

REGISTRATION = 'registration.npz'
WHAT = 'a registration'
# Of lengths whose file states none: a model's own, that of a scan's file, and that of a recording's calibration.
MODEL_UNIT, SCAN_UNIT, WORLD_UNIT = 'model unit', 'scan unit', 'world unit'
UNSEEN = "the scan does not show what it rests on: it is the model's, wholly or in part"
# A measurement that changes by a smaller share rests on other parts.
_CHANGED = 1e-3
# Of a normal distribution, 95 % lie within so many standard deviations.
WITHIN = 1.959963984540054


@dataclass(frozen=True)
class Registration:
    """A scan as a rigged model: V vertices of its own at rest, and J joints with sizes of their own.

    Args:
        name: of the specimen.
        unposed: rest vertices before pose, joint scales and joint offsets, model unit.
        log_joint_scales: of the joints.
        joint_offsets: of the joints, model unit.
        scale: world unit per model unit.
        unit: of the world; None where unknown.
        model_hash: content hash of the body model; None where the file does not say.
        joint_scale_mode: what scales mean; None takes the model's.
        absent: names of joints that the scan does not show.
        doubts: why the registration is not believable; empty where it may be.
        betas: of the model, which placed the joints when it was registered; None where the vertices did.
        path: where it was read.
    """

    name: str
    unposed: Float[np.ndarray, 'V 3']
    log_joint_scales: Float[np.ndarray, 'J 3'] | None
    joint_offsets: Float[np.ndarray, 'J 3'] | None
    scale: float = 1.0
    unit: str | None = None
    model_hash: str | None = None
    joint_scale_mode: str | None = None
    absent: tuple[str, ...] = ()
    betas: Float[np.ndarray, ' S'] | None = None
    doubts: tuple[str, ...] = ()
    path: Path | None = None

    def check(self, data: BodyModelData) -> 'Registration':
        """Check that it is of a model.

        Raises:
            ValueError: other counts, or another model's hash.
        """
        where = self.path or self.name
        if len(self.unposed) != data.n_vertices:
            raise ValueError(
                f'{where}: unposed must have the {data.n_vertices} vertices of {data.name}; got {len(self.unposed)}. '
                'Name the body model of the registration: --body-model FILE.'
            )
        for name in ('log_joint_scales', 'joint_offsets'):
            value = getattr(self, name)
            if value is not None and value.shape != (data.n_joints, 3):
                raise ValueError(
                    f'{where}: {name} must be ({data.n_joints}, 3), as {data.name} has joints; got {value.shape}. '
                    'Name the body model of the registration: --body-model FILE.'
                )
        known = (data.content_hash(), data.hash_without_landmarks())
        if self.model_hash is not None and self.model_hash not in known:
            raise ValueError(
                f'{where}: the body model must be the one of the registration ({self.model_hash}); got {data.name} '
                f'({known[0]}). Name it: --body-model FILE.'
            )
        return self

    def body_of(self, data: BodyModelData, joint_scale_mode: str | None = None) -> SMIL:
        """Return the model of this specimen alone: its vertices are the template, and it has no shape space."""
        self.check(data)
        own = replace(
            data,
            v_template=self.unposed,
            joints=self._joints(data),
            joint_regressor=None,
            shapedirs=None,
            shape_mean=None,
            shape_cov=None,
            shape_mixture=None,
            scaledirs=None,
            transdirs=None,
        )
        return SMIL(own, joint_scale_mode=self.joint_scale_mode or joint_scale_mode)

    def _joints(self, data: BodyModelData) -> Float[np.ndarray, 'J 3']:
        if data.joint_regressor is None:
            return data.joints
        if self.betas is None or len(self.betas) != data.n_betas or data.shapedirs is None:
            return data.joint_regressor @ self.unposed
        return data.joint_regressor @ (data.v_template + data.shapedirs @ self.betas)

    def joint_sizes(self, data: BodyModelData) -> tuple[Float[np.ndarray, 'J 3'], Float[np.ndarray, 'J 3']]:
        """Return the logarithms of joint scales, and joint offsets: the specimen's own, and those that betas drive.

        Args:
            data: the body model of the registration.
        """
        params = BodyParams.zeros(1, data.n_joints, data.n_betas, like=torch.zeros((), dtype=torch.float64))
        params = params.replace(
            log_joint_scales=_batch(self.log_joint_scales), joint_offsets=_batch(self.joint_offsets)
        )
        if self.betas is not None and len(self.betas) == data.n_betas:
            params = params.replace(betas=_batch(self.betas))
        scales, offsets = SMIL(data).double().joint_scales_and_offsets(params)
        none = np.zeros((data.n_joints, 3))
        return (
            none if scales is None else scales[0].log().numpy(),
            none if offsets is None else offsets[0].numpy(),
        )

    def at_rest(self, data: BodyModelData) -> BodyParams:
        """Return the parameters by which `body_of`'s model stands at rest, in the world's unit.

        Args:
            data: the body model of the registration.
        """
        log_scales, offsets = self.joint_sizes(data)
        params = BodyParams.zeros(1, data.n_joints, 0, like=torch.zeros((), dtype=torch.float64))
        return params.replace(
            scale=torch.tensor([self.scale], dtype=torch.float64),
            log_joint_scales=_batch(log_scales),
            joint_offsets=_batch(offsets),
        )


def _batch(value: np.ndarray | None) -> torch.Tensor | None:
    return None if value is None else torch.as_tensor(np.asarray(value, np.float64)).unsqueeze(0)


def find_registrations(path: str | Path) -> list[Path]:
    """Find registrations: a file, one in a folder, or those of the folders in it.

    Raises:
        FileNotFoundError: none is there.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if (path / REGISTRATION).is_file():
        return [path / REGISTRATION]
    result = sorted(path.glob(f'*/{REGISTRATION}'))
    if not result:
        raise FileNotFoundError(
            f'{path}: must hold {REGISTRATION}, or folders that do; none does. Make it by smilfit register.'
        )
    return result


def read_registration(path: str | Path) -> Registration:
    """Read a registration.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no registration, or numbers that are not finite.
    """
    path = Path(path)
    arrays = read_npz(path, what=WHAT)
    if 'unposed' not in arrays:
        raise BadFileError(
            f"{path}: {WHAT} must hold 'unposed'; got {', '.join(sorted(arrays)[:8])}. Is it {REGISTRATION}?"
        )
    with reading(path, WHAT):
        unposed = _numbers(arrays, 'unposed', (-1, 3), path)
        scale = _numbers(arrays, 'scale', (-1,), path)
        name = _text(arrays, 'name') or (
            path.parent.resolve().name if path.name == REGISTRATION else path.stem
        )
        assert unposed is not None
        return Registration(
            name,
            unposed,
            _numbers(arrays, 'log_joint_scales', (-1, 3), path),
            _numbers(arrays, 'joint_offsets', (-1, 3), path),
            1.0 if scale is None or not len(scale) else float(scale[0]),
            _text(arrays, 'unit') or None,
            _text(arrays, 'model_hash') or None,
            _text(arrays, 'joint_scale_mode') or None,
            tuple(str(joint) for joint in arrays.get('absent', ())),
            _numbers(arrays, 'betas', (-1,), path),
            tuple(str(doubt) for doubt in arrays.get('doubts', ())),
            path,
        )


def _numbers(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], path: Path
) -> np.ndarray | None:
    if name not in arrays or not arrays[name].size:
        return None
    value = np.asarray(arrays[name], np.float64).reshape(shape)
    if not np.isfinite(value).all():
        raise BadFileError(
            f'{path}: {name} must be finite; got {int((~np.isfinite(value)).sum())} NaN or inf. Register again.'
        )
    return value


def _text(arrays: Mapping[str, np.ndarray], name: str) -> str | None:
    return str(arrays[name]) if name in arrays and arrays[name].ndim == 0 else None


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

    def reason_against(self, i: int) -> str:
        """Return why measurement `i` is not to be believed; '' where it may be."""
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
        unit: of the scan, where the registration does not say.
    """
    own = registration.body_of(body.data, body.joint_scale_mode)
    measurer = Measurer(own, measurements)
    own_unit = known_unit(registration.unit, unit) or SCAN_UNIT
    result = measured_at_rest(measurer, registration.name, registration.at_rest(body.data), own_unit)
    doubts = tuple(f'the registration is not believable: {why}' for why in registration.doubts)
    result = replace(result, doubts=doubts)
    if not registration.absent:
        return result
    guessed = _resting_on(registration.absent, measurer, registration.at_rest(body.data))
    named = ', '.join(m.name for m, g in zip(result.measurements, guessed) if g)
    absent = f"the scan does not show {', '.join(registration.absent)}: there the numbers are the model's"
    rests = (
        f"not measured but the model's, wholly or in part: {named}"
        if named
        else 'no measurement rests on them'
    )
    return replace(result, remarks=(*result.remarks, absent, rests), guessed=guessed)


def _resting_on(names: Sequence[str], measurer: Measurer, rest: BodyParams) -> Bool[np.ndarray, ' M']:
    """Return which measurements change when the sizes of some joints do.

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
        unit: of its lengths; what is one of length becomes mm.
    """
    factor, length_unit = in_mm(unit)
    body = next(measurer.geometries(params))
    result = measurer.measure(body.times(factor))
    unknown = np.full(len(result.values), np.nan)
    remarks = tuple(measurer.remarks(body))
    return Specimen(
        name,
        measurer.measurements,
        result.values,
        length_unit,
        unknown,
        unknown,
        remarks,
        dict(result.reasons),
    )


def in_mm(unit: str) -> tuple[float, str]:
    """Return the factor to mm and the unit that lengths have then; 1 and the unit itself where it is no length."""
    return (MILLIMETRES[unit], 'mm') if unit in MILLIMETRES else (1.0, unit)


def known_unit(stated: str | None, given: str | None) -> str | None:
    """Choose the unit that a file states, if it is one of length; else the caller's."""
    return stated if stated in MILLIMETRES else given or stated


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
        body: the fit's body model, with the landmarks of its session.
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
    unit = known_unit(fit.unit, unit) or WORLD_UNIT
    plain = measured_at_rest(measurer, name, rest, unit)
    sd, more = _deviations(fit, measurer, rest, int(rows[0]))
    factor, _ = in_mm(unit)
    sd = sd * factor ** np.array([m.dimension for m in measurer.measurements])
    spread = measurer.spread_percent(params, poses)
    return replace(plain, sd=sd, pose_spread_percent=spread, remarks=(*plain.remarks, *remarks, *more))


def _not_shared(params: BodyParams) -> str | None:
    """Name a parameter of the shape that frames do not share."""
    for name, value in params.as_dict().items():
        if PARAMETERS[name].shared and not torch.allclose(value, value[:1].expand_as(value), rtol=1e-4):
            return name
    return None


def _deviations(
    fit: FitResult, measurer: Measurer, rest: BodyParams, row: int
) -> tuple[Float[np.ndarray, ' M'], list[str]]:
    """Return standard deviations of measurements by the fit's covariance, and what they leave out."""
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
    """Return the covariance of the shape's parameters, infinite where nothing tells of one.

    Returns:
        The columns that are there, such as `betas[0]`, their covariance, and whether it is more than a diagonal.
    """
    shared = covariance.shared
    if shared is not None:
        every = [f'{_named(name)}[{i}]' for name, size in shared.names for i in range(size)]
        places = [i for i, column in enumerate(every) if column.partition('[')[0] in names]
        result = shared.covariance.double().cpu().numpy()[np.ix_(places, places)].copy()
        for at, place in enumerate(places):
            if bool(shared.unknown[place]):
                result[at], result[:, at] = 0.0, 0.0
                result[at, at] = np.inf
        return [every[i] for i in places], result, True
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
