"""Morph targets of a glTF file, as displacements of all vertices of the rig."""

from dataclasses import replace

import numpy as np

from smilfit.rigs.gltf_meshes import MeshPiece
from smilfit.rigs.rig import Clip
from smilfit.rigs.unique_names import unique_names


class MorphTargets:
    """Morph targets of all pieces, those of one node behind those of another."""

    def __init__(self, pieces: list[MeshPiece], morphs: list[list[np.ndarray]], offsets: np.ndarray) -> None:
        self.counts: dict[int, int] = {}
        for piece in pieces:
            if piece.morph_names:
                self.counts[piece.node] = max(self.counts.get(piece.node, 0), len(piece.morph_names))
        self.nodes = list(self.counts)
        self.names: list[str] = []
        self.moves: list[np.ndarray] = []
        for node in self.nodes:
            mine = [(p, m, at) for p, m, at in zip(pieces, morphs, offsets) if p.node == node]
            for k in range(self.counts[node]):
                moved = np.zeros((offsets[-1], 3))
                for piece, found, at in mine:
                    if k < len(found):
                        moved[at : at + len(piece.vertices)] = found[k]
                self.names.append(next(p.morph_names[k] for p, _, _ in mine if k < len(p.morph_names)))
                self.moves.append(moved)

    def merged(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], list[Clip]]:
        """Make targets of one name one, where no clip moves them differently; those that move nothing go.

        A mouth of several meshes (skin, teeth, tongue) is one shape.
        """
        weights = [clip.morph_weights for clip in clips if clip.morph_weights is not None]
        first: list[int] = []
        moves: list[np.ndarray] = []
        for k, name in enumerate(self.names):
            same = [
                i for i, other in enumerate(first)
                if self.names[other] == name and all(np.array_equal(w[:, k], w[:, other]) for w in weights)
            ]  # fmt: skip
            if not self.moves[k].any():
                continue
            if same:
                moves[same[0]] = moves[same[0]] + self.moves[k]
            else:
                first.append(k)
                moves.append(self.moves[k])
        names, _ = unique_names([self.names[k] for k in first])
        kept = [
            replace(c, morph_weights=None if c.morph_weights is None else c.morph_weights[:, first])
            for c in clips
        ]
        return dict(zip(names, moves)), kept
