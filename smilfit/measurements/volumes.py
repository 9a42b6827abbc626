"""Area and volume of a surface, with what its holes leave open."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilfit.measurements.surface import Surface, pieces_of


@dataclass(frozen=True)
class Volume:
    """A volume, unit cubed, and how sure it is.

    `open_percent` is how much of it rests on how holes are closed: between caps that bulge as far as a cone to the
    body's middle and caps through the middle of each hole's border. `n_border_edges` and `n_pieces` are counts.
    """

    value: float
    open_percent: float
    n_border_edges: int
    n_pieces: int
    n_turned: int

    def remarks(self) -> list[str]:
        """Say what speaks against it."""
        found = []
        if self.n_border_edges:
            found.append(
                f'volume: the surface is open ({self.n_border_edges} border edges); holes are closed by caps, which '
                f'matters by {self.open_percent:.2g} % of the volume'
            )
        if self.n_pieces > 1:
            found.append(
                f'volume: the surface has {self.n_pieces} separate pieces; where they overlap, space counts twice'
            )
        if self.n_turned:
            found.append(
                f'volume: {self.n_turned} edges have triangles of opposite sense; the volume is not to be trusted'
            )
        return found


def area_of(vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']) -> float:
    """Sum the triangles' areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())


def volume_of(vertices: Float[np.ndarray, 'V 3'], surface: Surface) -> Volume:
    """Sum the tetrahedra between triangles and the middle (divergence theorem), holes closed by fans.

    Each border is closed by triangles to its mean point. Pieces of the surface are summed as they are; a piece whose
    normals point inwards counts by its size.
    """
    faces = surface.faces
    middle = vertices[np.unique(faces)].mean(0) if len(faces) else np.zeros(3)
    placed = vertices - middle
    border = _border(surface)
    loop = pieces_of(len(vertices), border)
    n = int(loop.max()) + 1 if len(loop) else 0
    count = np.bincount(loop[border[:, 0]], minlength=n).clip(1)
    caps = np.stack([np.bincount(loop[border[:, 0]], placed[border[:, 0], i], n) for i in range(3)], 1)
    caps = caps / count[:, None]
    # A cap's triangles run against the border, as the missing ones would.
    closing = np.stack((placed[border[:, 1]], placed[border[:, 0]], caps[loop[border[:, 0]]]), 1)
    piece = surface.piece
    total, n_pieces = np.zeros((2, int(piece.max(initial=0)) + 1)), surface.n_pieces
    np.add.at(total[0], piece[faces[:, 0]], _tetrahedra(placed[faces]))
    np.add.at(total[1], piece[border[:, 0]], _tetrahedra(closing))
    value = float(np.abs(total.sum(0)).sum())
    left_open = float(np.abs(total[0]).sum())
    percent = 100 * abs(value - left_open) / value if value > 0 else 0.0
    return Volume(value, percent, len(border), n_pieces, surface.against_neighbours)


def _border(surface: Surface) -> Int[np.ndarray, 'n 2']:
    """Give the edges of one triangle, in the triangle's sense."""
    alone = surface.edge_faces[surface.face_edges] == 1
    ends = np.stack((surface.faces, np.roll(surface.faces, -1, 1)), -1)
    return ends[alone]


def _tetrahedra(corners: Float[np.ndarray, 'n 3 3']) -> Float[np.ndarray, ' n']:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return np.einsum('ni,ni->n', a, np.cross(b, c)) / 6
