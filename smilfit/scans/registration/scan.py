"""A scanned mesh, cleaned: its graph, normals and noise, what was left out, and whether its unit may be right."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import cKDTree

from smilfit.geometry.surface_graph import first_of_place, surface_graph
from smilfit.geometry.surface_search import FacesAround
from smilfit.renderers import vertex_normals
from smilfit.rigs.triangles import Edges, connected_parts, face_areas
from smilfit.structures.body import MILLIMETRES

# An animal is hardly ever smaller or larger, mm: of a mite, and of an elephant.
LEAST_MM, MOST_MM = 0.2, 8_000.0
# Sizes of scan and model that differ by more are told.
ODD_RATIO = 30.0
# Pieces of fewer of the mesh's triangles are dust.
DUST = 0.005
# Of the cube of a piece's extent: a smaller volume tells no inside from an outside. A leg alone has 1e-3.
LEAST_VOLUME = 1e-5
# Of the extent: joints lie inside the body, but no landmark lies farther from the surface.
FARTHEST_LANDMARK = 0.25
# Triangles around a corner, mean over all corners: of a scan 6, of coarse fans some tens.
MOST_AROUND = 100


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
        joined = neighbours(self.faces, len(self.vertices))
        count = np.asarray(joined.sum(1)).ravel().clip(1)
        off = self.vertices - (joined @ self.vertices) / count[:, None]
        height = (off * self.normals).sum(1)
        rough = height - (joined @ height) / count
        # Of independent noise of unit size: variance (1 + 1/k) (1 + 1/k) roughly, k neighbours.
        return float(1.4826 * np.median(np.abs(rough)) / (1 + 1 / np.median(count)))


def unit_suspicion(scan: Scan, model_unit_mm: float | None, extent_of_model: float) -> str | None:
    """Describe in words why the unit of a scan is probably another; None where it may be right.

    Args:
        model_unit_mm: how long the model's unit is, mm; None where it is none of length.
        extent_of_model: the model's longest side, its unit.
    """
    to_mm = MILLIMETRES.get(scan.unit or '')
    if to_mm is None:
        return None
    size = scan.extent * to_mm
    if not LEAST_MM <= size <= MOST_MM:
        return (
            f'{scan.name}: is {size:.3g} mm long if its unit is {scan.unit}: hardly any animal is. '
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


def neighbours(faces: Int[np.ndarray, 'F 3'], n: int) -> csr_matrix:
    """Join the n vertices of every edge; (n, n), 1 where two are neighbours."""
    edges = Edges.of(faces).ends
    both = np.concatenate([edges, edges[:, ::-1]])
    return coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (n, n)).tocsr()


def clean_scan(
    name: str,
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    unit: str | None = None,
    landmarks: dict[str, np.ndarray] | None = None,
) -> Scan:
    """Weld equal vertices, leave out what is no surface, turn what is inside out, and count it.

    Args:
        landmarks: points by name, in the same coordinates; those far from the surface are left out.

    Raises:
        ValueError: no faces, no finite vertices, faces of vertices that are not there, no extent, or many more
            triangles than vertices.
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
    vertices, faces, report['vertices_welded'] = _welded(vertices, faces)
    flat = face_areas(vertices, faces) <= 1e-14 * np.ptp(vertices, axis=0).max() ** 2
    report['faces_without_area'] = int(flat.sum())
    vertices, faces, dropped = _without_dust(vertices, faces[~flat])
    report.update(dropped)
    if not len(faces):
        raise ValueError(f'{where}: must have triangles with an area; got none.')
    around = np.bincount(faces.ravel()).astype(np.float64)
    if (mean := (around @ around) / around.sum()) > MOST_AROUND:
        raise ValueError(
            f'{where}: a corner must lie on at most {MOST_AROUND} triangles, in the mean; got {mean:.0f}. It is no '
            'scanned surface: remesh it.'
        )
    faces, report['pieces_inside_out'] = _outwards(vertices, faces)
    near, report['landmarks_far_off'] = _near_landmarks(vertices, landmarks or {})
    return Scan(name, vertices, faces, unit, near, report)


def _welded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Join vertices at one place: files with texture seams hold them several times. Says how many there were."""
    used = np.unique(faces)
    places, index = np.unique(vertices[used], axis=0, return_inverse=True)
    first, kept = np.unique(first_of_place(places), return_inverse=True)
    places = places[first]
    number = np.full(len(vertices), -1)
    number[used] = kept.reshape(-1)[index.reshape(-1)]
    faces = number[faces]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return places, faces[distinct], len(used) - len(places)


def _without_dust(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Leave out small loose pieces."""
    piece = connected_parts(faces, len(vertices))
    of_face = piece[faces[:, 0]] if len(faces) else np.zeros(0, int)
    count = np.bincount(of_face, minlength=1)
    kept = count >= max(1, DUST * len(faces))
    keep = kept[of_face]
    used = np.unique(faces[keep])
    number = np.full(len(vertices), -1)
    number[used] = np.arange(len(used))
    pieces = {
        'pieces': int(kept.sum()),
        'share_of_largest': float(count.max() / max(1, count[kept].sum())),
        'loose_pieces_left_out': int((count > 0).sum() - kept.sum()),
        'faces_of_loose_pieces': int((~keep).sum()),
    }
    return vertices[used], number[faces[keep]], pieces


def _outwards(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, int]:
    """Turn pieces of the surface that are inside out; gives the triangles, and how many pieces were.

    By the sign of a piece's volume (divergence theorem), taken about the middle of its border, which closes a hole by
    a cap. Of one whose volume is next to none, as of a flat sheet, it says nothing.
    """
    piece = connected_parts(faces, len(vertices))
    n_reversed = 0
    for k in np.unique(piece[faces[:, 0]]):
        own = np.nonzero(piece[faces[:, 0]] == k)[0]
        mine = faces[own]
        edges = Edges.of(mine)
        border = edges.ends[edges.shared_by == 1]
        centre = vertices[np.unique(border if len(border) else mine)].mean(0)
        corners = vertices[mine] - centre
        volume = np.einsum('ni,ni->n', corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        if volume < -LEAST_VOLUME * np.ptp(vertices[mine.ravel()], axis=0).max() ** 3:
            faces = faces.copy()
            faces[own] = mine[:, ::-1]
            n_reversed += 1
    return faces, n_reversed


def _near_landmarks(
    vertices: np.ndarray, landmarks: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Leave out landmarks that cannot be of this scan; gives the others, and the names of these."""
    if not landmarks:
        return {}, []
    away = cKDTree(vertices).query(np.stack(list(landmarks.values())))[0]
    near = away <= FARTHEST_LANDMARK * np.ptp(vertices, axis=0).max()
    names = list(landmarks)
    return {n: landmarks[n] for n, ok in zip(names, near) if ok}, [n for n, ok in zip(names, near) if not ok]
