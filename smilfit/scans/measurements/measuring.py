"""Measure bodies: at rest, in poses, and how sure a fit's shape leaves each measurement."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.body_models.part_sizes import limb_pairs, midline_joints
from smilfit.scans.measurements.definitions import (
    BodyVolume,
    Chain,
    Distance,
    Girth,
    Measurement,
    SurfaceArea,
    joints_between,
)
from smilfit.scans.measurements.surface import (
    KEYPOINT,
    VERTEX,
    BodyGeometry,
    NotMeasurableError,
    Surface,
    names_in,
)
from smilfit.structures import PARAMETERS, BodyParams

# Bodies whose meshes are held at once.
_AT_ONCE = 16
# Steps of derivatives, in standard deviations, or in the parameter's own unit where it has none.
_STEP, _PLAIN_STEP = 1e-2, 1e-4
# A parameter that nothing tells of spoils what changes by more than this share a unit of it.
_TOUCHED = 1e-7
# A spread below this, %, is none.
_ROUNDING = 1e-6
BODY_LENGTH = 'body_length'


@dataclass(frozen=True)
class Measured:
    """Measurements of one body, NaN where it does not have one, and why."""

    values: Float[np.ndarray, ' M']
    reasons: Mapping[str, str] = field(default_factory=dict)


class Measurer:
    """Measures bodies of one model.

    Args:
        body: the body model; it is cast to float64.
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
        """Return the bodies of some parameters, one by one, in the unit that their scale leads to."""
        params = params.detach().to('cpu', torch.float64)
        for start in range(0, params.batch_size, _AT_ONCE):
            with torch.no_grad():
                part = params[slice(start, start + _AT_ONCE)]
                result = self.body(part, ('joints', 'vertices', *self._keypoints))
            joints = dict(zip(self.data.joint_names, result.joints.numpy().swapaxes(0, 1)))
            if self._keypoints:
                observed = zip(self._keypoints, result.keypoints.numpy().swapaxes(0, 1))
                joints |= {f'{KEYPOINT}{name}': xyz for name, xyz in observed}
            # A joint before what is seen of it.
            named = {n: joints[n] if n in joints else joints[f'{KEYPOINT}{n}'] for n in self._names}
            for b in range(part.batch_size):
                points = {name: xyz[b] for name, xyz in named.items()}
                yield BodyGeometry(result.vertices[b].numpy(), points)

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
        """Return what a reader of the numbers should know."""
        result: list[str] = []
        for measurement in self.measurements:
            try:
                result += measurement.remarks(body, self.surface)
            except NotMeasurableError:
                continue
        return result

    def at_rest(self, params: BodyParams) -> BodyParams:
        """Return one frame's shape without its pose and place."""
        shape = {n: v for n, v in params.as_dict().items() if PARAMETERS[n].shared}
        zero = BodyParams.zeros(1, self.body.n_joints, self.body.n_betas, like=self.body.v_template)
        return zero.replace(**{n: v[:1].detach().to('cpu', torch.float64) for n, v in shape.items()})

    def spread_percent(self, params: BodyParams, most: int) -> Float[np.ndarray, ' M']:
        """Return by measurement its standard deviation over poses, % of its mean; NaN of angles and of one pose.

        Args:
            most: of so many frames, evenly over all.
        """
        rows = np.unique(
            np.linspace(0, params.batch_size - 1, min(most, params.batch_size)).round().astype(int)
        )
        result = np.stack([self.measure(body).values for body in self.geometries(params[rows.tolist()])])
        lengths = np.array([m.dimension > 0 for m in self.measurements])
        if len(rows) < 2:
            return np.full(len(lengths), np.nan)
        with np.errstate(invalid='ignore', divide='ignore'):
            spread = 100 * result.std(0, ddof=1) / np.abs(result.mean(0))
        # What no pose changes differs by rounding.
        return np.where(lengths, np.where(spread < _ROUNDING, 0.0, spread), np.nan)

    def deviations(
        self, rest: BodyParams, columns: Sequence[str], covariance: Float[np.ndarray, 'Q Q']
    ) -> Float[np.ndarray, ' M']:
        """Carry a covariance of shape parameters over to the measurements, to first order.

        Args:
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
        result = np.sqrt(np.einsum('mq,qr,mr->m', slope, known, slope).clip(0))
        here = np.abs(self.measure(next(self.geometries(rest))).values)
        touched = (np.abs(slope[:, unknown]) > _TOUCHED * here[:, None]).any(1)
        return np.where(touched, np.inf, result)

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
    """Return by what factor a body takes its model's directions."""
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


def default_measurements(data: BodyModelData) -> tuple[Measurement, ...]:
    """Derive measurements from a model's tree, sides and joint groups.

    Body length runs along the midline's joints from the skin at its front end through the root to that at its hind
    end, or to where a tail begins; where no midline is known, between the two joints that lie farthest apart. A limb
    goes from where it hangs on the midline to its farthest end; joint groups that are a chain are measured, too.
    Bones are named by the joint at their end.
    """
    # A template mesh has one joint, from which nothing can be measured to another.
    result: list[Measurement] = [_body_length(data)] if data.n_joints > 1 else []
    limbs: dict[tuple[str, ...], str] = {}
    for name, joints in data.joint_groups.items():
        if len(joints) > 2 and _is_chain(data, joints):
            limbs.setdefault(tuple(joints), f'chain_{name}')
    for pair in limb_pairs(data):
        for top in pair:
            chain = _to_farthest(data, top)
            if len(chain) > 2:
                limbs.setdefault(chain, f'limb_{top}')
    taken: set[str] = set()
    for chain, name in limbs.items():
        if name not in taken:
            taken.add(name)
            result.append(Chain(name, chain))
    bones = [(j, p) for j, p in enumerate(data.parents.tolist()) if p >= 0]
    for j, parent in bones:
        ends = data.joint_names[parent], data.joint_names[j]
        result.append(Distance(f'bone_{ends[1]}', ends))
    if len(data.faces):
        trunk = _trunk_bone(data)
        if trunk is not None:
            result.append(Girth('trunk_girth', trunk))
        result += [SurfaceArea('surface_area'), BodyVolume('volume')]
    return tuple(result)


def _body_length(data: BodyModelData) -> Measurement:
    midline = [name for name in midline_joints(data) if 'tail' not in name.lower()]
    chain = _longest(data, midline)
    if len(chain) > 1:
        behind = [
            name
            for name in midline_joints(data)
            if 'tail' in name.lower() and _parent(data, name) in (chain[0], chain[-1])
        ]
        before, after = _skin_end(data, chain[0], chain[1]), _skin_end(data, chain[-1], chain[-2])
        if behind and _parent(data, behind[0]) == chain[0]:
            before = (behind[0],)
        elif behind:
            after = (behind[0],)
        return Chain(BODY_LENGTH, (*before, *chain, *after))
    distance = np.linalg.norm(data.joints[:, None] - data.joints[None], axis=-1)
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    return Distance(BODY_LENGTH, (data.joint_names[a], data.joint_names[b]))


def _skin_end(data: BodyModelData, end: str, inner: str) -> tuple[str, ...]:
    """Name the skin of a body's last joint that reaches farthest beyond it; nothing where it has none."""
    j, k = data.joint_names.index(end), data.joint_names.index(inner)
    own = np.flatnonzero(data.weights.to_dense().argmax(1) == j)
    beyond = (data.v_template[own] - data.joints[j]) @ (data.joints[j] - data.joints[k])
    return (f'{VERTEX}{own[beyond.argmax()]}',) if len(own) and beyond.max() > 0 else ()


def _longest(data: BodyModelData, names: list[str]) -> tuple[str, ...]:
    """Return the longest way through the tree between two of some joints."""
    best: tuple[str, ...] = ()
    length = 0.0
    for i, first in enumerate(names):
        for last in names[i + 1 :]:
            chain = joints_between(data, first, last, data.name)
            own = _length(data, chain)
            if own > length and set(chain) <= set(names):
                best, length = chain, own
    return best


def _length(data: BodyModelData, chain: tuple[str, ...]) -> float:
    places = data.joints[[data.joint_names.index(name) for name in chain]]
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def _parent(data: BodyModelData, name: str) -> str:
    parent = int(data.parents[data.joint_names.index(name)])
    return data.joint_names[parent] if parent >= 0 else ''


def _is_chain(data: BodyModelData, joints: tuple[str, ...]) -> bool:
    return all(_parent(data, below) == above for above, below in zip(joints, joints[1:]))


def _to_farthest(data: BodyModelData, top: str) -> tuple[str, ...]:
    """Return the longest chain from a joint down to an end of the tree."""
    below = {top}
    chains: dict[str, tuple[str, ...]] = {top: (top,)}
    for name in data.joint_names:
        parent = _parent(data, name)
        if parent in below and name not in below:
            below.add(name)
            chains[name] = (*chains[parent], name)
    return max(chains.values(), key=lambda chain: _length(data, chain))


def _trunk_bone(data: BodyModelData) -> tuple[str, str] | None:
    """Return the longest bone of the midline, before a tail."""
    midline = [name for name in midline_joints(data) if 'tail' not in name.lower()]
    bones = [(_parent(data, name), name) for name in midline if _parent(data, name) in midline]
    return max(bones, key=lambda bone: _length(data, bone)) if bones else None
