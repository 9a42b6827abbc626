"""Vertices of a mesh: that no face uses, or that lie at one place."""

import numpy as np

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import NOTE, WARNING, Finding, counted, vertex_places

# Of the model's size: vertices nearer than that are at one place.
SAME_PLACE = 1e-7


def unreferenced_vertices(model: StoredModel) -> list[Finding]:
    """Find vertices of no face."""
    data = model.data
    if not len(data.faces):
        return []
    loose = np.setdiff1d(np.arange(data.n_vertices), data.faces)
    if not len(loose):
        return []
    what = f'{counted(len(loose), "vertex")} of no face'
    advice = '`smilfit model clean` takes them out.'
    return [Finding('loose vertices', WARNING, vertex_places(data, loose), what, advice, len(loose))]


def duplicate_vertices(model: StoredModel) -> list[Finding]:
    """Find vertices at the place of another: seams of textures, parts that were never joined."""
    data = model.data
    repeated = np.flatnonzero(same_place(data.v_template, model.size) != np.arange(data.n_vertices))
    if not len(repeated):
        return []
    what = (
        f'{counted(len(repeated), "vertex")} at the place of another: seams, along which the surface is open'
    )
    advice = (
        '`smilfit model clean --weld` joins those that move alike, where the surface should be whole; images of the '
        'skin then no longer fit.'
    )
    return [Finding('duplicate vertices', NOTE, vertex_places(data, repeated), what, advice, len(repeated))]


def same_place(vertices: np.ndarray, size: float) -> np.ndarray:
    """Give for every vertex (V,) the first one that lies at its place."""
    rounded = np.round(vertices / max(SAME_PLACE * size, 1e-300)).astype(np.int64)
    _, first, number = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    return first[number.reshape(-1)]
