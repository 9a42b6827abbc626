"""Measure bodies: at rest, in poses, and how sure a fit's shape leaves each measurement."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.measurements.definitions import Measurement
from smilfit.measurements.geometry import KEYPOINT, BodyGeometry, NotMeasurableError, names_in
from smilfit.measurements.surface import Surface
from smilfit.structures import PARAMETERS, BodyParams

# Bodies whose meshes are held at once.
_AT_ONCE = 16
# Steps of derivatives, in standard deviations, or in the parameter's own unit where it has none.
_STEP, _PLAIN_STEP = 1e-2, 1e-4
# A parameter that nothing tells of spoils what changes by more than this share a unit of it.
_TOUCHED = 1e-7
# A spread below this, %, is none.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Measured:
    """Measurements of one body, NaN where it does not have one, and why."""

    values: Float[np.ndarray, ' M']
    reasons: Mapping[str, str] = field(default_factory=dict)


class Measurer:
    """Measures bodies of one model.

    Args:
        body: the body model; it is cast to float64.
        measurements: what to measure.
    """

    def __init__(self, body: SMIL, measurements: Sequence[Measurement]) -> None:
        self.body = SMIL(
            body.data,
            scale_directions=_factor(body.scaledirs, body.data.scaledirs),
            offset_directions=_factor(body.transdirs, body.data.transdirs),
            joint_scale_mode=body.joint_scale_mode,
        ).double()
        self.surface = Surface.of(body.data)
        self._names = tuple(
            dict.fromkeys(n for m in measurements for place in m.places for n in names_in(place))
        )
        plain = (name.removeprefix(KEYPOINT) for name in self._names if name not in body.joint_names)
        self._keypoints = tuple(dict.fromkeys(plain))
        rest = next(self.geometries(self.body.zero_params()))
        self.measurements = tuple(m.anchored(rest, self.surface) for m in measurements)
        self.rest = rest

    @property
    def data(self) -> BodyModelData:
        """The model."""
        return self.body.data

    def geometries(self, params: BodyParams) -> Iterator[BodyGeometry]:
        """Give the bodies of some parameters, one by one, in the unit that their scale leads to."""
        params = params.detach().to('cpu', torch.float64)
        for start in range(0, params.batch_size, _AT_ONCE):
            with torch.no_grad():
                part = params[slice(start, start + _AT_ONCE)]
                found = self.body(part, ('joints', 'vertices', *self._keypoints))
            joints = dict(zip(self.data.joint_names, found.joints.numpy().swapaxes(0, 1)))
            if self._keypoints:
                seen = zip(self._keypoints, found.keypoints.numpy().swapaxes(0, 1))
                joints |= {f'{KEYPOINT}{name}': xyz for name, xyz in seen}
            # A joint before what is seen of it.
            named = {n: joints[n] if n in joints else joints[f'{KEYPOINT}{n}'] for n in self._names}
            for b in range(part.batch_size):
                points = {name: xyz[b] for name, xyz in named.items()}
                yield BodyGeometry(found.vertices[b].numpy(), points)

    def measure(self, body: BodyGeometry) -> Measured:
        """Measure one body."""
        values, reasons = [], {}
        for measurement in self.measurements:
            try:
                values.append(measurement.value(body, self.surface))
            except NotMeasurableError as error:
                values.append(np.nan)
                reasons[measurement.name] = str(error)
        return Measured(np.array(values), reasons)

    def remarks(self, body: BodyGeometry) -> list[str]:
        """Say what a reader of the numbers should know."""
        found: list[str] = []
        for measurement in self.measurements:
            try:
                found += measurement.remarks(body, self.surface)
            except NotMeasurableError:
                continue
        return found

    def at_rest(self, params: BodyParams) -> BodyParams:
        """Give one frame's shape without its pose and place."""
        shape = {n: v for n, v in params.as_dict().items() if PARAMETERS[n].shared}
        zero = BodyParams.zeros(1, self.body.n_joints, self.body.n_betas, like=self.body.v_template)
        return zero.replace(**{n: v[:1].detach().to('cpu', torch.float64) for n, v in shape.items()})

    def spread_percent(self, params: BodyParams, most: int) -> Float[np.ndarray, ' M']:
        """Give by measurement its standard deviation over poses, % of its mean; NaN of angles and of one pose.

        Args:
            params: of the frames.
            most: of so many frames, evenly over all.
        """
        rows = np.unique(
            np.linspace(0, params.batch_size - 1, min(most, params.batch_size)).round().astype(int)
        )
        found = np.stack([self.measure(body).values for body in self.geometries(params[rows.tolist()])])
        lengths = np.array([m.dimension > 0 for m in self.measurements])
        if len(rows) < 2:
            return np.full(len(lengths), np.nan)
        with np.errstate(invalid='ignore', divide='ignore'):
            spread = 100 * found.std(0, ddof=1) / np.abs(found.mean(0))
        # What no pose changes differs by rounding.
        return np.where(lengths, np.where(spread < _ROUNDING, 0.0, spread), np.nan)

    def deviations(
        self, rest: BodyParams, columns: Sequence[str], covariance: Float[np.ndarray, 'Q Q']
    ) -> Float[np.ndarray, ' M']:
        """Carry a covariance of shape parameters over to the measurements, to first order.

        Args:
            rest: one body at rest.
            columns: names of the parameters, such as `betas[0]`; a scale's is of its logarithm.
            covariance: of them; infinite where nothing tells of one.

        Returns:
            Standard deviations, infinite where a measurement rests on what nothing tells of.
        """
        variance = covariance.diagonal()
        unknown = ~np.isfinite(variance)
        sd = np.sqrt(np.where(unknown, 0.0, variance).clip(0))
        steps = np.where(sd > 0, _STEP * sd, _PLAIN_STEP)
        slope = self._slopes(rest, columns, steps)
        known = np.where(unknown[:, None] | unknown[None], 0.0, covariance)
        found = np.sqrt(np.einsum('mq,qr,mr->m', slope, known, slope).clip(0))
        here = np.abs(self.measure(next(self.geometries(rest))).values)
        touched = (np.abs(slope[:, unknown]) > _TOUCHED * here[:, None]).any(1)
        return np.where(touched, np.inf, found)

    def _slopes(
        self, rest: BodyParams, columns: Sequence[str], steps: Float[np.ndarray, ' Q']
    ) -> Float[np.ndarray, 'M Q']:
        """Measure how measurements change with parameters, by central differences."""
        body = next(self.geometries(rest))
        held: list[Callable[[BodyGeometry], float] | None] = []
        for measurement in self.measurements:
            try:
                held.append(measurement.held(body, self.surface))
            except NotMeasurableError:
                held.append(None)
        moved = [_moved(rest, name, sign * step) for name, step in zip(columns, steps) for sign in (1, -1)]
        slopes = np.full((len(self.measurements), 2 * len(columns)), np.nan)
        for i, near in enumerate(self.geometries(BodyParams.cat(moved))) if moved else ():
            for m, measure in enumerate(held):
                slopes[m, i] = _value(measure, near)
        return (slopes[:, ::2] - slopes[:, 1::2]) / (2 * steps)


def _factor(used: Tensor | None, stored: np.ndarray | None) -> float:
    """Give by what factor a body takes its model's directions."""
    if used is None or stored is None or not np.abs(stored).max(initial=0):
        return 0.0
    return float(used.abs().max()) / float(np.abs(stored).max())


def _value(measure: Callable[[BodyGeometry], float] | None, body: BodyGeometry) -> float:
    try:
        return np.nan if measure is None else measure(body)
    except NotMeasurableError:
        return np.nan


def _moved(rest: BodyParams, column: str, step: float) -> BodyParams:
    """Move one free number of a body, such as `betas[0]`."""
    name, _, number = column.partition('[')
    value = getattr(rest, name)
    free = PARAMETERS[name].free(value).clone()
    free.view(-1)[int(number.removesuffix(']') or 0)] += step
    return rest.replace(**{name: PARAMETERS[name].from_free(free)})
