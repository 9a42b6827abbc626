"""Edges of a mesh, each with the faces that share it."""

from dataclasses import dataclass

import numpy as np

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import NOTE, WARNING, Finding, counted, vertex_places
from smilfit.rigs.checking.mesh_vertices import same_place


@dataclass(frozen=True)
class Edges:
    """All edges (n, 2), least vertex first, how many faces share each, and the directed edges of faces in order.

    `of_face` (F, 3) is the number of the edge from each corner to the next, `forward` whether it runs upwards there.
    """

    ends: np.ndarray
    shared_by: np.ndarray
    of_face: np.ndarray
    forward: np.ndarray

    @classmethod
    def of(cls, faces: np.ndarray) -> 'Edges':
        """List them."""
        directed = np.stack((faces, np.roll(faces, -1, axis=1)), -1)
        ends, number = np.unique(np.sort(directed.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
        number = number.reshape(-1)
        shared = np.bincount(number, minlength=len(ends))
        return cls(ends, shared, number.reshape(faces.shape), directed[..., 0] < directed[..., 1])


def boundary_edges(model: StoredModel) -> list[Finding]:
    """Find edges of one face alone: where the surface is open, and what of that is seams of vertices at one place."""
    edges = Edges.of(model.data.faces)
    open_edges = edges.ends[edges.shared_by == 1]
    if not len(open_edges):
        return []
    what = f'{counted(len(open_edges), "edge")} with a face on one side alone: the surface is open there'
    advice = 'Close it where volume or self-contact matter.'
    joined = Edges.of(same_place(model.data.v_template, model.size)[model.data.faces])
    left = int((joined.shared_by == 1).sum())
    if left < len(open_edges):
        what += f'; {left} if vertices at one place are joined'
        advice = 'Where volume or self-contact matter: `smilfit model clean --weld`' + (
            ', and close the rest.' if left else '.'
        )
    where = vertex_places(model.data, np.unique(open_edges))
    return [Finding('boundary edges', NOTE, where, what, advice, len(open_edges))]


def non_manifold_edges(model: StoredModel) -> list[Finding]:
    """Find edges that more than two faces share."""
    edges = Edges.of(model.data.faces)
    wrong = edges.ends[edges.shared_by > 2]
    if not len(wrong):
        return []
    what = f'{counted(len(wrong), "edge")} shared by more than two faces, up to {edges.shared_by.max()}'
    advice = 'Take out the inner faces in the authoring tool.'
    where = vertex_places(model.data, np.unique(wrong))
    return [Finding('non-manifold edges', WARNING, where, what, advice, len(wrong))]
