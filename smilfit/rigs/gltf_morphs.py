"""Morph targets of a glTF file, as displacements of all vertices of the rig."""

import numpy as np

from smilfit.rigs.gltf_meshes import MeshPiece
from smilfit.rigs.morph_targets import merge_targets
from smilfit.rigs.rig import Clip


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
        """Make targets of one name one, where no clip moves them differently; those that move nothing go."""
        return merge_targets(self.names, self.moves, clips)
