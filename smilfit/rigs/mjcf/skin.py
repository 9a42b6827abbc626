"""Skins of MuJoCo models: read from .skn files or from the model, and posed as MuJoCo does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import BadFileError, accounted, charge, check_budget, reading, shorten
from smilfit.rigs.mjcf.document import Frame, quaternion_rotation, vector

WHAT = 'a MuJoCo skin (.skn)'
MOST_BYTES, MOST_BONES = 1 << 30, 10_000
_NAME = 40


@dataclass(frozen=True)
class SkinBone:
    """A body that moves the skin, where it stood when the skin was bound."""

    body: str
    bind: Frame
    vertices: Int[np.ndarray, ' n']
    weights: Float[np.ndarray, ' n']


@dataclass(frozen=True)
class MjcfSkin:
    """A skin as it was bound; a weight may stand for several bones of one vertex, and need not sum to one."""

    vertices: Float[np.ndarray, 'V 3']
    faces: Int[np.ndarray, 'F 3']
    bones: tuple[SkinBone, ...]

    def posed(self, frames: Mapping[str, Frame]) -> Float[np.ndarray, 'V 3']:
        """Move the skin with its bodies as MuJoCo does: each bone carries its vertices from the bind pose."""
        result, total = np.zeros_like(self.vertices), np.zeros(len(self.vertices))
        for bone in self.bones:
            now = frames[bone.body]
            rotation = now.rotation @ bone.bind.rotation.T
            moved = (self.vertices[bone.vertices] - bone.bind.place) @ rotation.T + now.place
            np.add.at(result, bone.vertices, bone.weights[:, None] * moved)
            np.add.at(total, bone.vertices, bone.weights)
        return result / np.where(total > 0, total, 1)[:, None]


def read_skn(path: str | Path) -> MjcfSkin:
    """Read a `.skn` file: four counts, vertices, texture coordinates, faces, and the bones.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: cut short, too long, or with numbers that cannot be.
    """
    path = Path(path)
    with reading(path, WHAT), accounted(path, WHAT):
        charge('its skins', n_bytes=4 * check_budget(path, WHAT, path.stat().st_size, MOST_BYTES))
        rest = _Bytes(path.read_bytes(), path)
        n_vertices, n_uv, n_faces, n_bones = (int(n) for n in rest.take('<i4', 4))
        vertices = rest.take('<f4', 3 * n_vertices)
        rest.take('<f4', 2 * n_uv)
        faces = rest.take('<i4', 3 * n_faces)
        bones = tuple(
            _bone(rest, path) for _ in range(check_budget(path, 'bones', n_bones, MOST_BONES, 'of them'))
        )
        if rest.left:
            raise BadFileError(
                f'{path}: {WHAT} must end behind its bones; {rest.left} bytes follow. Is it a .skn?'
            )
        return check_skin(_skin(vertices, faces, bones), str(path))


class _Bytes:
    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, dtype: str, count: int) -> np.ndarray:
        size = np.dtype(dtype).itemsize * count
        if count < 0 or size > self.left:
            raise BadFileError(
                f'{self.path}: {WHAT} must hold what it announces; got {self.left} bytes where '
                f'{shorten(size)} should stand. Copy it again.'
            )
        result = np.frombuffer(self.data, dtype, count, self.at)
        self.at += size
        return result


def _bone(rest: _Bytes, path: Path) -> SkinBone:
    name = rest.take('u1', _NAME).tobytes().split(b'\0')[0].decode('utf-8', 'replace')
    place, quat = rest.take('<f4', 3).astype(float), rest.take('<f4', 4).astype(float)
    count = int(rest.take('<i4', 1)[0])
    vertices, weights = rest.take('<i4', count), rest.take('<f4', count)
    rotation = quaternion_rotation(quat, f'{path}: bone {shorten(name)}')
    return SkinBone(name, Frame(rotation, place), vertices.astype(np.int64), weights.astype(float))


def inline_skin(element: Element, where: str) -> MjcfSkin:
    """Read a skin that is written into the model.

    Raises:
        BadFileError: no vertices or faces, or numbers that cannot be.
    """
    vertices, faces = _numbers(element, 'vertex', where), _numbers(element, 'face', where)
    if not vertices.size or vertices.size % 3 or faces.size % 3:
        raise BadFileError(
            f'{where}: vertex and face must be rows of 3 numbers; got {vertices.size} and {faces.size}. Name a file, '
            'or write them out.'
        )
    result = element.findall('bone')
    check_budget(where, 'bones', len(result), MOST_BONES, 'of them')
    bones = tuple(
        SkinBone(
            bone.get('body', ''),
            Frame(
                quaternion_rotation(vector(bone.attrib, 'bindquat', '1 0 0 0', where), where),
                vector(bone.attrib, 'bindpos', '0 0 0', where),
            ),
            _numbers(bone, 'vertid', where).astype(np.int64),
            _numbers(bone, 'vertweight', where),
        )
        for bone in result
    )
    return check_skin(_skin(vertices, faces, bones), where)


def _numbers(element: Element, name: str, where: str) -> np.ndarray:
    words = element.get(name, '').split()
    return vector(element.attrib, name, ' '.join('0' * len(words)), where) if words else np.zeros(0)


def _skin(vertices: np.ndarray, faces: np.ndarray, bones: tuple[SkinBone, ...]) -> MjcfSkin:
    return MjcfSkin(vertices.astype(float).reshape(-1, 3), faces.astype(np.int64).reshape(-1, 3), bones)


def check_skin(skin: MjcfSkin, where: str) -> MjcfSkin:
    """Check numbers and numberings.

    Raises:
        BadFileError: no face or bone, NaN, or a number of a vertex that is not there.
    """
    count = len(skin.vertices)
    if not (count and len(skin.faces) and skin.bones):
        raise BadFileError(
            f'{where}: a skin must have vertices, faces and bones; got {count}, {len(skin.faces)} and '
            f'{len(skin.bones)}. Is it the right file?'
        )
    numbers = (skin.vertices, *(x for b in skin.bones for x in (b.weights, b.bind.place)))
    if not all(np.isfinite(x).all() for x in numbers):
        raise BadFileError(f'{where}: a skin must have finite numbers; some are not. Export it again.')
    for what, index in (('faces', skin.faces), *((f'bone {b.body}', b.vertices) for b in skin.bones)):
        if index.size and not 0 <= index.min() <= index.max() < count:
            raise BadFileError(
                f'{where}: {shorten(what)} must name vertices 0 to {count - 1}; got {index.min()} to {index.max()}. '
                'Export it again.'
            )
    for bone in skin.bones:
        if len(bone.vertices) != len(bone.weights):
            raise BadFileError(
                f'{where}: bone {shorten(bone.body)} must have a weight a vertex; got {len(bone.weights)} for '
                f'{len(bone.vertices)}. Export it again.'
            )
    return skin
