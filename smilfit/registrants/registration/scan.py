"""A scanned mesh, made fit to be registered to: cleaned, counted, with normals."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from smilfit.geometry.surface_graph import surface_graph
from smilfit.geometry.surface_search import FacesAround
from smilfit.renderers import vertex_normals
from smilfit.structures.units import MILLIMETRES

# Pieces of fewer of the mesh's triangles are dust.
DUST = 0.005
# An animal is hardly ever smaller or larger, mm.
LEAST_MM, MOST_MM = 0.2, 30_000.0
# Sizes of scan and model that differ by more are told.
ODD_RATIO = 30.0


@dataclass(frozen=True)
class Scan:
    """A triangle mesh in the unit of its file.

    Attributes:
        name: for messages.
        vertices: of the cleaned mesh.
        faces: its triangles.
        unit: of the coordinates; None where nobody said.
        landmarks: points by name.
        report: what was left out, and why.
    """

    name: str
    vertices: Float[np.ndarray, 'V 3']
    faces: Int[np.ndarray, 'F 3']
    unit: str | None = None
    landmarks: dict[str, np.ndarray] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def extent(self) -> float:
        """The longest side of the box."""
        return float(np.ptp(self.vertices, axis=0).max())

    @cached_property
    def graph(self) -> csr_matrix:
        """The graph of distances along the surface."""
        return surface_graph(self.vertices, self.faces)

    @cached_property
    def around(self) -> FacesAround:
        """The triangles around every vertex."""
        return FacesAround.of(torch.as_tensor(self.faces), len(self.vertices))

    @cached_property
    def normals(self) -> Float[np.ndarray, 'V 3']:
        """Unit normals of vertices, by the area of the triangles around them."""
        return vertex_normals(torch.from_numpy(self.vertices), torch.from_numpy(self.faces)).numpy()

    @cached_property
    def roughness(self) -> float:
        """How far vertices stand off from the middle of their neighbours, beside a smooth surface: noise, a length.

        The normal part of the distance from the neighbours' mean has, on a smooth surface, the sign of the curvature
        and changes slowly; what two neighbours differ in it is noise.
        """
        joined = _neighbours(self.faces, len(self.vertices))
        count = np.asarray(joined.sum(1)).ravel().clip(1)
        off = self.vertices - (joined @ self.vertices) / count[:, None]
        height = (off * self.normals).sum(1)
        rough = height - (joined @ height) / count
        # Of independent noise of unit size: variance (1 + 1/k) (1 + 1/k) roughly, k neighbours.
        return float(1.4826 * np.median(np.abs(rough)) / (1 + 1 / np.median(count)))


def clean_scan(
    name: str,
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    unit: str | None = None,
    landmarks: dict[str, np.ndarray] | None = None,
) -> Scan:
    """Weld equal vertices, leave out what is no surface, and count it.

    Args:
        name: for messages.
        vertices: of the file.
        faces: of the file.
        unit: of the coordinates.
        landmarks: points by name, in the same coordinates.

    Raises:
        ValueError: no faces, no finite vertices, faces of vertices that are not there, or no extent.
    """
    where = f'scan {name}'
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or len(vertices) < 4:
        raise ValueError(f'{where}: vertices must be (V, 3), 4 or more; got {vertices.shape}.')
    if faces.ndim != 2 or faces.shape[1:] != (3,) or not len(faces):
        raise ValueError(
            f'{where}: must be a surface of triangles; got {len(faces)} faces. Make a mesh of the points first '
            '(Poisson reconstruction in MeshLab, Open3D or CloudCompare).'
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f'{where}: faces must name vertices 0 to {len(vertices) - 1}; got {faces.min()} to {faces.max()}.'
        )
    report: dict[str, Any] = {'vertices': len(vertices), 'faces': len(faces)}
    finite = np.isfinite(vertices).all(1)
    report['vertices_not_finite'] = int((~finite).sum())
    if finite.sum() < max(4, 0.5 * len(vertices)):
        raise ValueError(
            f'{where}: vertices must be finite; {int((~finite).sum())} of {len(vertices)} are not. '
            'Export the scan again.'
        )
    faces = faces[finite[faces].all(1)]
    used = np.unique(faces)
    if not len(used) or np.ptp(vertices[used], axis=0).max() <= 0:
        raise ValueError(f'{where}: the surface must have an extent; got none.')
    vertices, faces = _welded(vertices, faces)
    flat = _areas(vertices, faces) <= 1e-14 * np.ptp(vertices, axis=0).max() ** 2
    report['faces_without_area'] = int(flat.sum())
    vertices, faces, dropped = _without_dust(vertices, faces[~flat])
    report.update(dropped)
    if not len(faces):
        raise ValueError(f'{where}: must have triangles with an area; got none.')
    return Scan(name, vertices, faces, unit, landmarks or {}, report)


def unit_suspicion(scan: Scan, model_unit_mm: float | None, extent_of_model: float) -> str | None:
    """Say in words why the unit of a scan is probably another; None where it may be right.

    Args:
        scan: the scan.
        model_unit_mm: how long the model's unit is, mm; None where it is none of length.
        extent_of_model: the model's longest side, its unit.
    """
    to_mm = MILLIMETRES.get(scan.unit or '')
    if to_mm is None:
        return None
    size = scan.extent * to_mm
    if not LEAST_MM <= size <= MOST_MM:
        return (
            f'{scan.name}: is {size:.3g} mm long if its unit is {scan.unit}: no animal is. '
            f'Is it {_likely(scan.extent)}?'
        )
    if model_unit_mm is not None:
        ratio = size / (extent_of_model * model_unit_mm)
        if not 1 / ODD_RATIO <= ratio <= ODD_RATIO:
            factor = 10.0 ** round(math.log10(ratio))
            return (
                f'{scan.name}: is {ratio:.3g} times as long as the model if its unit is {scan.unit}; '
                f'units that differ by about {factor:g}? Say which with unit=.'
            )
    return None


def _likely(extent: float) -> str:
    fits = [u for u, mm in MILLIMETRES.items() if LEAST_MM * 5 <= extent * mm <= MOST_MM / 10]
    return ' or '.join(fits) or 'another unit'


def _neighbours(faces: np.ndarray, n: int) -> csr_matrix:
    a = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a = np.unique(np.sort(a, 1), axis=0)
    both = np.concatenate([a, a[:, ::-1]])
    return coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (n, n)).tocsr()


def _areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    c = vertices[faces]
    return 0.5 * np.linalg.norm(np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]), axis=1)


def _welded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join vertices at one place: files with texture seams hold them several times."""
    places, index = np.unique(vertices[np.unique(faces)], axis=0, return_inverse=True)
    number = np.full(len(vertices), -1)
    number[np.unique(faces)] = index.reshape(-1)
    faces = number[faces]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return places, faces[distinct]


def _without_dust(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Leave out small loose pieces."""
    _, piece = connected_components(_neighbours(faces, len(vertices)), directed=False)
    of_face = piece[faces[:, 0]] if len(faces) else np.zeros(0, int)
    count = np.bincount(of_face, minlength=1)
    kept = count >= max(1, DUST * len(faces))
    keep = kept[of_face]
    used = np.unique(faces[keep])
    number = np.full(len(vertices), -1)
    number[used] = np.arange(len(used))
    pieces = {
        'pieces': int(kept.sum()),
        'loose_pieces_left_out': int((count > 0).sum() - kept.sum()),
        'faces_of_loose_pieces': int((~keep).sum()),
    }
    return vertices[used], number[faces[keep]], pieces
