"""Vertices that have several places on a texture are made several; linear skinning, to compare with."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilfit.body_models.data import SparseMatrix
from smilfit.rigs.transforms import apply


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
        found = np.concatenate((unique[:, 1:], np.full((len(bare), 2), np.nan)))[order]
        return cls(source, corners.reshape(-1, 3), found)

    def weights(self, weights: SparseMatrix) -> SparseMatrix:
        """Give the vertices made of one the weights of that one."""
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
    """Give `sum_j w_j P_j R_j^-1 x / sum_j w_j`; vertices without weights stay."""
    rows, values = weights.rows, weights.values
    moved = apply((posed @ np.linalg.inv(rest))[weights.cols], vertices[rows]) * values[:, None]
    total = np.bincount(rows, values, len(vertices))
    found = np.stack([np.bincount(rows, moved[:, k], len(vertices)) for k in range(3)], 1)
    bare = total <= 0
    return np.where(bare[:, None], vertices, found / np.where(bare, 1, total)[:, None])
