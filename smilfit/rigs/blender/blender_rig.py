"""Read a rigged animal from .fbx, .blend or .dae: Blender opens it, and what it hands over becomes a rig."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smilfit.body_models.data import SparseMatrix
from smilfit.files import BadFileError, read_npz, reading, shorten
from smilfit.rigs.blender.running import BlenderError, run_in_blender
from smilfit.rigs.gltf.meshes import merge_targets
from smilfit.rigs.read_rig import Clip, Rig, apply, unique_joint_names, unique_names

_INSIDE = Path(__file__).parent / 'inside' / 'reading.py'
_ADVICE = 'Open it in the program that made it and export it anew, as .fbx or as glTF 2.0 (.glb).'
_KINDS = {'.fbx': 'an FBX file', '.blend': 'a Blender file', '.dae': 'a Collada file'}
# Blender's world is +z up and -y forward; glTF's, which our rigs of it have, +y and +z.
_TO_GLTF = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
# Of the size: where Blender's own skin lies further from linear skinning, this is told.
_SAME_SKIN = 1e-4


@dataclass(frozen=True)
class Seams:
    """A mesh whose vertices have one place on the texture each.

    `source` (V') is which vertex of the file each is, in the file's order; `uv` (V', 2) is None without a texture,
    and NaN for vertices of triangles that show none.
    """

    source: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray | None

    @classmethod
    def of(
        cls, triangles: Int[np.ndarray, 'F 3'], uv: Float[np.ndarray, 'F 3 2'], n_vertices: int
    ) -> 'Seams':
        """Split vertices along seams; without a place on a texture anywhere (all NaN) nothing is split."""
        flat, places = triangles.reshape(-1).astype(np.int64), uv.reshape(-1, 2)
        textured = np.isfinite(places).all(1)
        if not textured.any():
            return cls(np.arange(n_vertices), triangles.astype(np.int64), None)
        # Corners that show no texture join a place that their vertex has, if it has one.
        rows = np.column_stack((flat[textured], places[textured].astype(np.float32)))
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        vertex = unique[:, 0].astype(np.int64)
        bare = np.setdiff1d(np.arange(n_vertices), vertex)
        source = np.concatenate((vertex, bare))
        order = np.argsort(source, kind='stable')
        rank = np.argsort(order)
        source = source[order]
        corners = np.searchsorted(source, flat)
        corners[textured] = rank[inverse.reshape(-1)]
        result = np.concatenate((unique[:, 1:], np.full((len(bare), 2), np.nan)))[order]
        return cls(source, corners.reshape(-1, 3), result)

    def weights(self, weights: SparseMatrix) -> SparseMatrix:
        """Return the vertices made of one the weights of that one."""
        order = np.argsort(weights.rows, kind='stable')
        counts = np.bincount(weights.rows, minlength=weights.shape[0])
        starts = np.cumsum(counts) - counts
        mine = counts[self.source]
        rows = np.repeat(np.arange(len(self.source)), mine)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(mine) - mine, mine)
        entries = order[np.repeat(starts[self.source], mine) + nth]
        return SparseMatrix(
            rows, weights.cols[entries], weights.values[entries], (len(self.source), weights.shape[1])
        )


def linear_skin(
    vertices: Float[np.ndarray, 'V 3'],
    weights: SparseMatrix,
    rest: Float[np.ndarray, 'J 4 4'],
    posed: Float[np.ndarray, 'J 4 4'],
) -> Float[np.ndarray, 'V 3']:
    """Return `sum_j w_j P_j R_j^-1 x / sum_j w_j`; vertices without weights stay."""
    rows, values = weights.rows, weights.values
    moved = apply((posed @ np.linalg.inv(rest))[weights.cols], vertices[rows]) * values[:, None]
    total = np.bincount(rows, values, len(vertices))
    result = np.stack([np.bincount(rows, moved[:, k], len(vertices)) for k in range(3)], 1)
    bare = total <= 0
    return np.where(bare[:, None], vertices, result / np.where(bare, 1, total)[:, None])


def read_with_blender(path: str | Path, armature: str | None = None) -> Rig:
    """Read a rig.

    Vertices are those of all meshes that the bones move, in the order of the file, at rest in the world; they are
    double along seams of texture where there is a texture. Metres, +y up, facing +z, as glTF has it.

    Args:
        path: .fbx, .blend or .dae.
        armature: the name of the one to take, where several have meshes of their own.

    Raises:
        FileNotFoundError: no such file.
        NoBlenderError: there is no Blender to read it.
        BadFileError: Blender cannot open it, or it holds no rig.
    """
    path = Path(path)
    what = _KINDS[path.suffix.lower()]
    with reading(path, what, _ADVICE):
        _check_head(path)
        with tempfile.TemporaryDirectory(prefix='smilfit-blender-') as folder:
            out = Path(folder) / 'rig.npz'
            try:
                printed = run_in_blender(_INSIDE, path.resolve(), armature or '', out)
            except BlenderError as error:
                raise _refusal(path, what, error) from error
            if not out.is_file():
                raise BadFileError(f'{path}: {what} must be whole; Blender said: {_last(printed)}. {_ADVICE}')
            arrays = read_npz(out)
        document = json.loads(arrays.pop('document').tobytes())
        return _BlenderRig(path, document, arrays).rig()


def _check_head(path: Path) -> None:
    """Refuse what Blender should not be asked to open."""
    with path.open('rb') as file:
        head = file.read(1 << 16)
    if not head:
        raise BadFileError(
            f'{path}: {_KINDS[path.suffix.lower()]} must hold something; it is empty. {_ADVICE}'
        )
    # Entities of XML can read other files and fill the memory; no exporter writes any.
    if path.suffix.lower() == '.dae' and b'<!ENTITY' in head.replace(b'\0', b''):
        raise BadFileError(
            f'{path}: a Collada file must declare no XML entities; it does. Nothing was read. {_ADVICE}'
        )


def _refusal(path: Path, what: str, error: BlenderError) -> Exception:
    if error.kind == 'RefusedError':
        return BadFileError(f'{path}: {shorten(str(error), 1000)}')
    if error.kind in ('', 'TimeoutError'):
        return BadFileError(f'{path}: {shorten(str(error), 1000)} {_ADVICE}')
    return BadFileError(
        f'{path}: {what} must be whole and well-formed; Blender said: {_last(str(error))}. {_ADVICE}'
    )


def _last(text: str) -> str:
    """Return the last line that says something: operators put a whole traceback into one message."""
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith('Location:')
    ]
    return shorten(lines[-1].removeprefix('Error: ').rstrip('.'), 200) if lines else 'nothing'


class _BlenderRig:
    """What Blender handed over, on the way to a rig."""

    def __init__(self, path: Path, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.path, self.document, self.arrays = path, document, arrays
        self.notes: list[str] = list(document['notes'])
        scale = float(document['metres'])
        self.to_world = np.diag([scale, scale, scale, 1.0]) @ _TO_GLTF
        self.counts = [len(self.arrays[f'm{n}.vertices']) for n in range(len(document['meshes']))]
        self.starts = np.cumsum([0, *self.counts])

    def rig(self) -> Rig:
        """Put the rig together."""
        names = unique_joint_names([joint['name'] for joint in self.document['joints']], self.notes)
        image, corners_uv = self._texture()
        triangles = self._joined('triangles', (0, 3)) + self._starts_of('triangles')[:, None]
        vertices = self._points(self._joined('vertices', (0, 3)))
        weights = SparseMatrix(
            self._joined('rows', (0,)) + self._starts_of('rows'), self._joined('columns', (0,)),
            self._joined('weights', (0,)), (len(vertices), len(names)),
        )  # fmt: skip
        seams = Seams.of(triangles, corners_uv, len(vertices))
        rest = self._joints(self.arrays['rest'])
        targets, moves, clips = self._targets(), self._moves(), self._clips()
        self._compare_skin(vertices, weights, rest, moves, clips)
        morphs, clips = merge_targets(targets, [move[seams.source] for move in moves], clips)
        return Rig(
            name=self.path.name.split('.')[0] or 'rig',
            vertices=vertices[seams.source],
            faces=seams.triangles,
            joint_names=names,
            parents=np.array([joint['parent'] for joint in self.document['joints']]),
            rest=rest,
            weights=seams.weights(weights),
            morphs=morphs,
            clips=tuple(clips),
            texture=image,
            uv=seams.uv,
            unit='m',
            up_axis='+y',
            forward_axis='+z',
            notes=tuple(self.notes),
        )

    def _joined(self, name: str, empty: tuple[int, ...]) -> np.ndarray:
        """Return one array of all meshes, one mesh behind the other."""
        result = [self.arrays.get(f'm{n}.{name}', np.zeros(empty)) for n in range(len(self.counts))]
        return np.concatenate(result)

    def _starts_of(self, name: str) -> np.ndarray:
        """Return the number of its mesh's first vertex for every row of an array."""
        return np.repeat(
            self.starts[:-1], [len(self.arrays[f'm{n}.{name}']) for n in range(len(self.counts))]
        )

    def _points(self, points: np.ndarray) -> np.ndarray:
        return apply(self.to_world, points)

    def _joints(self, worlds: np.ndarray) -> np.ndarray:
        """Bring transforms into the rig's world; its unit scales places, not the joints' own axes."""
        result = _TO_GLTF @ worlds
        result[..., :3, 3] *= float(self.document['metres'])
        return result

    def _targets(self) -> list[str]:
        return [name for entry in self.document['meshes'] for name in entry['morphs']]

    def _moves(self) -> list[np.ndarray]:
        """Return each shape key's displacement of all vertices."""
        result = []
        for number, entry in enumerate(self.document['meshes']):
            for k in range(len(entry['morphs'])):
                moved = np.zeros((self.starts[-1], 3))
                mine = self.arrays[f'm{number}.morphs'][k]
                moved[self.starts[number] : self.starts[number + 1]] = mine @ self.to_world[:3, :3].T
                result.append(moved)
        return result

    def _clips(self) -> list[Clip]:
        names = unique_names([clip['name'] for clip in self.document['clips']])
        result = []
        for number, name in enumerate(names):
            joints, morphs = (self.arrays[f'c{number}.{what}'] for what in ('joints', 'morphs'))
            times = self.arrays[f'c{number}.times']
            result.append(Clip(name, times, self._joints(joints), morphs if morphs.shape[1] else None))
        return result

    def _texture(self) -> tuple[bytes | None, np.ndarray]:
        """Return the image that most triangles show, and where their corners lie on it (F, 3, 2), else NaN."""
        shown, places = [], []
        for number in range(len(self.counts)):
            count = len(self.arrays[f'm{number}.triangles'])
            shown.append(self.arrays.get(f'm{number}.images', np.full(count, -1)))
            places.append(self.arrays.get(f'm{number}.uv', np.full((count, 3, 2), np.nan)))
        images, uv = np.concatenate(shown), np.concatenate(places).astype(np.float64)
        numbers, counts = np.unique(images[images >= 0], return_counts=True)
        if not len(numbers):
            return None, np.full_like(uv, np.nan)
        if len(numbers) > 1:
            self.notes.append(f'{len(numbers)} textures: the one that most faces show is kept.')
        chosen = numbers[counts.argmax()]
        uv[images != chosen] = np.nan
        # Blender's images begin at the lower left.
        uv[..., 1] = 1 - uv[..., 1]
        return self.arrays[f'image{chosen}'].tobytes(), uv

    def _compare_skin(
        self,
        vertices: np.ndarray,
        weights: SparseMatrix,
        rest: np.ndarray,
        moves: list[np.ndarray],
        clips: list[Clip],
    ) -> None:
        """Return where Blender moves the skin otherwise than linear skinning does, which is what a model has."""
        size = float(np.ptp(vertices, axis=0).max())
        worst, where = 0.0, ''
        for number, clip in enumerate(clips):
            key = self.document['clips'][number]['check']
            truth = self._points(self.arrays[f'c{number}.check'])
            if truth.shape != vertices.shape:
                worst, where = np.inf, clip.name
                continue
            shaped = vertices.copy()
            for move, weight in zip(moves, () if clip.morph_weights is None else clip.morph_weights[key]):
                shaped += weight * move
            off = np.linalg.norm(linear_skin(shaped, weights, rest, clip.joints[key]) - truth, axis=1).max()
            if off > worst:
                worst, where = off, clip.name
        if worst > _SAME_SKIN * size:
            how = (
                'has another number of vertices'
                if np.isinf(worst)
                else f'lies up to {worst / size:.2%} of the size off'
            )
            self.notes.append(
                f'in the clip {where} the skin that Blender shows {how}: it does more than linear skinning by these '
                'bones, which is all that a model does.'
            )
