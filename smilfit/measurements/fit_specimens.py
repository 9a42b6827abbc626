"""The measurements of a fit: its shape at rest, how sure it is, and what poses do to each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models import SMIL
from smilfit.measurements.definitions import Measurement
from smilfit.measurements.measuring import Measurer
from smilfit.measurements.specimens import WORLD_UNIT, Specimen, in_mm, known_unit, measured_at_rest
from smilfit.structures import PARAMETERS, BodyParams, FitCovariance, FitResult


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
