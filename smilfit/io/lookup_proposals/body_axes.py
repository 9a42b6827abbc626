"""Where forward, left and up are on a model: from its file, from the names of its joints, or by default."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from smilfit.body_models.data import BodyModelData
from smilfit.io.lookup_proposals.part_names import LEFT, RIGHT, load_parts, read_name, says

# Where neither the file nor names say it: as in Blender.
DEFAULT_UP, DEFAULT_FORWARD = '+z', '-y'
_FRONT = ('nose', 'head', 'mandible')
_REAR = ('tail base', 'rump', 'abdomen tip', 'hip')


@dataclass(frozen=True)
class BodyAxes:
    """Unit vectors of a model at rest, and where they are known from, in words."""

    forward: Float[np.ndarray, '3']
    left: Float[np.ndarray, '3']
    up: Float[np.ndarray, '3']
    source: str


def body_axes(body: BodyModelData, up: str | None = None, forward: str | None = None) -> BodyAxes:
    """Find a model's axes.

    Args:
        body: the model.
        up: '+x' to '-z'; None takes the file's, else what the names of joints say, else '+z'.
        forward: the same of forward; by default '-y'.

    Raises:
        ValueError: up and forward along one axis.
    """
    named_up, named_forward = axes_by_names(body)
    chosen_up, up_source = _first(up, body.up_axis, named_up, DEFAULT_UP)
    chosen_forward, forward_source = _first(forward, body.forward_axis, named_forward, DEFAULT_FORWARD)
    if chosen_up[1] == chosen_forward[1]:
        raise ValueError(
            f'{body.name}: up and forward must be different axes; got {chosen_up} ({up_source}) and {chosen_forward} '
            f'({forward_source}). Give --up and --forward.'
        )
    a, b = _vector(chosen_forward), _vector(chosen_up)
    source = f'up {chosen_up} ({up_source}), forward {chosen_forward} ({forward_source})'
    return BodyAxes(a, np.cross(b, a), b, source)


def _first(given: str | None, file: str | None, named: str | None, default: str) -> tuple[str, str]:
    sources = ((given, 'as given'), (file, "the model's"), (named, 'from the names of joints'))
    return next(((axis, source) for axis, source in sources if axis), (default, 'a guess'))


def axes_by_names(body: BodyModelData) -> tuple[str | None, str | None]:
    """Return up and forward ('+x' to '-z') by where joints are that are called left and right, in front and behind.

    None where names do not tell. Forward is from hips or tail to head: upwards in an animal that stands upright.
    """
    names = [read_name(name) for name in body.joint_names]
    place = {(name.words, *name.place): joint for name, joint in zip(names, body.joints)}
    across = [
        joint - place[words, RIGHT, numbers]
        for (words, side, numbers), joint in place.items()
        if side == LEFT and (words, RIGHT, numbers) in place
    ]
    front, rear = (_centre(body, names, parts) for parts in (_FRONT, _REAR))
    if front is None:
        return None, None
    rear = body.joints.mean(0) if rear is None else rear
    ahead = _axis(front - rear)
    if not across:
        return None, ahead
    up = np.cross(_vector(ahead), _vector(_axis(np.sum(across, 0))))
    return (_axis(up) if up.any() else None), ahead


def _centre(body: BodyModelData, names: list, parts: tuple[str, ...]) -> Float[np.ndarray, '3'] | None:
    for wanted in map(load_parts().named, parts):
        rows = [j for j, name in enumerate(names) if says(name.words, wanted.names | wanted.joints)]
        if rows:
            return body.joints[rows].mean(0)
    # Tails are called by numbers alone, and the first joint is in the trunk.
    return body.joints[0] if parts is _REAR else None


def _axis(vector: Float[np.ndarray, '3']) -> str:
    axis = int(np.abs(vector).argmax())
    return f'{"+" if vector[axis] >= 0 else "-"}{"xyz"[axis]}'


def _vector(axis: str) -> Float[np.ndarray, '3']:
    vector = np.zeros(3)
    vector['xyz'.index(axis[1])] = 1.0 if axis[0] == '+' else -1.0
    return vector
