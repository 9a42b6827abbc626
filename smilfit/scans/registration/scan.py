"""A scanned mesh with its graph, normals and noise, and whether its unit may be right."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csr_matrix

from smilfit.geometry.surface_graph import surface_graph
from smilfit.geometry.surface_search import FacesAround
from smilfit.renderers import vertex_normals
from smilfit.structures.body import MILLIMETRES

# An animal is hardly ever smaller or larger, mm: of a mite, and of an elephant.
LEAST_MM, MOST_MM = 0.2, 8_000.0
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
    a = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a = np.unique(np.sort(a, 1), axis=0)
    both = np.concatenate([a, a[:, ::-1]])
    return coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (n, n)).tocsr()
