"""Numbers of MJCF attributes: vectors, and the five ways to say how a frame is turned."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smilfit.files import BadFileError, shorten
from smilfit.rigs.mjcf_document import Compiler

# Attributes that say how a frame is turned, and of how many numbers they are.
WAYS = {'quat': 4, 'axisangle': 4, 'euler': 3, 'xyaxes': 6, 'zaxis': 3}
_TINY = 1e-12
# Cubes of larger numbers are beyond what the computer can count with.
_LARGEST = 1e30


class Frame(NamedTuple):
    """A place and a turn: takes points of the frame to those of the frame around it."""

    turn: Float[np.ndarray, '3 3']
    place: Float[np.ndarray, '3']

    def then(self, inner: 'Frame') -> 'Frame':
        """Give a frame inside this one in the frame around this one."""
        return Frame(self.turn @ inner.turn, self.turn @ inner.place + self.place)

    def matrix(self) -> Float[np.ndarray, '4 4']:
        """Write it as one matrix."""
        found = np.eye(4)
        found[:3, :3], found[:3, 3] = self.turn, self.place
        return found


WORLD = Frame(np.eye(3), np.zeros(3))


def vector(attributes: Mapping[str, str], name: str, default: str, where: str) -> Float[np.ndarray, ' n']:
    """Read an attribute of as many numbers as the default has.

    Raises:
        BadFileError: other text, another count, or numbers beyond all measure.
    """
    count = len(default.split())
    text = attributes.get(name, default)
    try:
        values = np.array([float(word) for word in text.split(None, count + 1)[: count + 1]])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not (np.abs(values) <= _LARGEST).all():
        raise BadFileError(
            f'{where}: {name} must be {count} finite numbers of at most {_LARGEST:g}; got {shorten(text)!r}. '
            'Correct it.'
        )
    return values


def frame_of(attributes: Mapping[str, str], compiler: Compiler, where: str) -> Frame:
    """Read place and turn of a body, a site or a frame."""
    return Frame(turn_of(attributes, compiler, where), vector(attributes, 'pos', '0 0 0', where))


def turn_of(attributes: Mapping[str, str], compiler: Compiler, where: str) -> Float[np.ndarray, '3 3']:
    """Read how a frame is turned, as a rotation matrix.

    Raises:
        BadFileError: two ways at once, or an axis of no length.
    """
    given = [name for name in WAYS if name in attributes]
    if not given:
        return np.eye(3)
    if len(given) > 1:
        raise BadFileError(
            f'{where}: one way must say how it is turned; got {" and ".join(given)}. Keep one.'
        )
    way = given[0]
    numbers = vector(attributes, way, ' '.join('0' * WAYS[way]), where)
    angle = np.pi / 180 if compiler.degrees else 1.0
    if way == 'quat':
        return quaternion_turn(numbers, where)
    if way == 'axisangle':
        return axis_turn(_unit(numbers[:3], way, where), angle * numbers[3])
    if way == 'euler':
        return _euler(angle * numbers, compiler.eulerseq)
    if way == 'zaxis':
        return shortest_turn(_unit(numbers, way, where))
    x = _unit(numbers[:3], way, where)
    y = _unit(numbers[3:] - (numbers[3:] @ x) * x, way, where)
    return np.stack((x, y, np.cross(x, y)), 1)


def quaternion_turn(quat: Float[np.ndarray, '4'], where: str) -> Float[np.ndarray, '3 3']:
    """Turn a quaternion (w, x, y, z) of any length into a matrix."""
    w, x, y, z = _unit(quat, 'quat', where)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def axis_turn(axis: Float[np.ndarray, '3'], angle: float) -> Float[np.ndarray, '3 3']:
    """Turn about a unit axis (Rodrigues)."""
    skew = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def unit_axis(attributes: Mapping[str, str], where: str) -> Float[np.ndarray, '3']:
    """Read a joint's axis."""
    return _unit(vector(attributes, 'axis', '0 0 1', where), 'axis', where)


def _unit(numbers: np.ndarray, name: str, where: str) -> np.ndarray:
    length = np.linalg.norm(numbers)
    if length < _TINY:
        raise BadFileError(f'{where}: {name} must have a length; got zeros. Correct it.')
    return numbers / length


def _euler(angles: np.ndarray, sequence: str) -> np.ndarray:
    """Turn about axes that turn along (small letters) or stay (capitals), one after the other."""
    found = np.eye(3)
    for letter, angle in zip(sequence, angles):
        turn = axis_turn(np.eye(3)['xyz'.index(letter.lower())], angle)
        found = found @ turn if letter.islower() else turn @ found
    return found


def shortest_turn(axis: Float[np.ndarray, '3']) -> Float[np.ndarray, '3 3']:
    """Turn z to a unit axis the shortest way."""
    across = np.cross([0.0, 0.0, 1.0], axis)
    sine = np.linalg.norm(across)
    if sine < _TINY:
        return np.eye(3) if axis[2] > 0 else np.diag([1.0, -1.0, -1.0])
    return axis_turn(across / sine, float(np.arctan2(sine, axis[2])))
