"""Parts of a mesh that hang together, named by the joint that carries them."""

from collections import Counter

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import NOTE, Finding, listed, strongest_joint
from smilfit.rigs.checking.mesh_vertices import same_place


def mesh_parts(model: StoredModel) -> list[Finding]:
    """Find a mesh of several parts, such as eyes, teeth and claws, or a body that fell apart."""
    data = model.data
    if not len(data.faces):
        return []
    part = connected_parts(data.faces, data.n_vertices)
    used = np.unique(data.faces)
    sizes = Counter(part[used].tolist())
    if len(sizes) < 2:
        return []
    joined = same_place(data.v_template, model.size)
    n_joined = len(np.unique(connected_parts(joined[data.faces], data.n_vertices)[joined[used]]))
    strongest = strongest_joint(data)
    carriers: Counter[str] = Counter()
    for number, _ in sizes.most_common()[1:]:
        joints = Counter(strongest[used[part[used] == number]].tolist()).most_common(1)
        carriers[data.joint_names[joints[0][0]] if joints[0][0] >= 0 else 'no joint'] += 1
    names = [f'{name} ({count})' if count > 1 else name for name, count in carriers.most_common()]
    largest = max(sizes.values())
    what = f'the mesh has {len(sizes)} parts that no face joins, the largest of {largest} of {len(used)} vertices'
    if n_joined < len(sizes):
        what += f'; {n_joined} if vertices at one place are joined'
    figures = {
        'parts': float(len(sizes)),
        'parts_joined': float(n_joined),
        'largest_vertices': float(largest),
    }
    where = f'beside the largest, on {listed(names)}'
    return [Finding('mesh parts', NOTE, where, what, '', len(sizes), figures)]


def connected_parts(faces: np.ndarray, n_vertices: int) -> np.ndarray:
    """Give the number of the part that every vertex (V,) belongs to."""
    ends = np.concatenate((faces[:, :2], faces[:, 1:]))
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), (n_vertices, n_vertices))
    return connected_components(graph, directed=False)[1]
