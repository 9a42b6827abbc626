"""Faces of a mesh: without area, twice there, turned the wrong way."""

import numpy as np

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import NOTE, WARNING, Finding, counted, listed, vertex_places
from smilfit.rigs.checking.mesh_edges import Edges

# Of the squared longest side of a face: below it the face has no direction.
_NO_AREA = 1e-9
# Of the median area of faces.
_TINY = 1e-4
CLEAN = '`smilfit model clean` takes them out.'


def faces_without_area(model: StoredModel) -> list[Finding]:
    """Find faces that are a line or a point, faces that stand twice, and tiny ones."""
    data = model.data
    if not len(data.faces):
        return []
    area = face_areas(data.v_template, data.faces)
    flat = degenerate_faces(data.v_template, data.faces)
    found = []
    if flat.any():
        corners = np.unique(data.faces[flat])
        what = f'{counted(int(flat.sum()), "face")} without area (number {listed(np.flatnonzero(flat).tolist())})'
        found.append(Finding('faces', WARNING, vertex_places(data, corners), what, CLEAN, int(flat.sum())))
    twice = repeated_faces(data.faces)
    if twice.any():
        corners = np.unique(data.faces[twice])
        numbers = listed(np.flatnonzero(twice).tolist())
        what = f'{counted(int(twice.sum()), "face")} with the corners of another (number {numbers})'
        found.append(Finding('faces', WARNING, vertex_places(data, corners), what, CLEAN, int(twice.sum())))
    tiny = ~flat & (area < _TINY * np.median(area))
    if tiny.any():
        corners = np.unique(data.faces[tiny])
        what = f'{counted(int(tiny.sum()), "face")} below {_TINY:g} of the median area'
        found.append(Finding('faces', NOTE, vertex_places(data, corners), what, '', int(tiny.sum())))
    return found


def flipped_faces(model: StoredModel) -> list[Finding]:
    """Find faces that look the other way than their neighbours, and closed surfaces that are inside out."""
    data = model.data
    if not len(data.faces):
        return []
    edges = Edges.of(data.faces)
    part, flipped, twisted = orientation(edges)
    found = []
    if flipped.any():
        what = f'{counted(int(flipped.sum()), "face")} looking the other way than their neighbours'
        where = vertex_places(data, np.unique(data.faces[flipped]))
        advice = 'Recalculate normals in the authoring tool.'
        found.append(Finding('flipped faces', WARNING, where, what, advice, int(flipped.sum())))
    if twisted:
        what = f'{counted(twisted, "edge")} that cannot agree: the surface has one side, as a Moebius strip'
        found.append(Finding('flipped faces', WARNING, 'faces', what, 'Mend the mesh.', twisted))
    open_parts = np.unique(part[(edges.shared_by[edges.of_face] != 2).any(1)])
    corners = data.v_template[data.faces]
    corners = np.where(flipped[:, None, None], corners[:, ::-1], corners)
    volume = np.bincount(part, np.linalg.det(corners - corners.mean((0, 1))) / 6)
    inside_out = np.setdiff1d(np.flatnonzero(volume < 0), open_parts)
    if len(inside_out):
        faces = np.isin(part, inside_out)
        what = f'{counted(len(inside_out), "closed surface")} of {int(faces.sum())} faces inside out'
        where = vertex_places(data, np.unique(data.faces[faces]))
        advice = 'Turn their normals outwards in the authoring tool.'
        found.append(Finding('flipped faces', WARNING, where, what, advice, int(faces.sum())))
    return found


def face_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Give areas (F,)."""
    corners = vertices[faces]
    return 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )


def degenerate_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Say of each face (F,) whether it is a line or a point."""
    corners = vertices[faces]
    longest2 = ((np.roll(corners, -1, axis=1) - corners) ** 2).sum(-1).max(1, initial=0.0)
    return face_areas(vertices, faces) <= _NO_AREA * longest2


def repeated_faces(faces: np.ndarray) -> np.ndarray:
    """Say of each face (F,) whether one before it has the same corners."""
    if not len(faces):
        return np.zeros(0, bool)
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    repeated = np.ones(len(faces), bool)
    repeated[first] = False
    return repeated


def orientation(edges: Edges) -> tuple[np.ndarray, np.ndarray, int]:
    """Turn faces to agree across edges of two faces.

    Returns:
        The connected part of each face (F,), whether a face looks the other way than most of its part (F,), and how
        many edges cannot agree however faces are turned.
    """
    count = len(edges.of_face)
    number, forward = edges.of_face.reshape(-1), edges.forward.reshape(-1)
    order = np.argsort(number, kind='stable')
    order = order[edges.shared_by[number[order]] == 2].reshape(-1, 2)
    pairs, same = order // 3, forward[order[:, 0]] == forward[order[:, 1]]
    neighbours: list[list[tuple[int, bool]]] = [[] for _ in range(count)]
    for (a, b), turned in zip(pairs.tolist(), same.tolist()):
        neighbours[a].append((b, turned))
        neighbours[b].append((a, turned))
    part, turned = np.full(count, -1), np.zeros(count, bool)
    for start in range(count):
        if part[start] >= 0:
            continue
        part[start], stack = start, [start]
        while stack:
            face = stack.pop()
            for other, flip in neighbours[face]:
                if part[other] < 0:
                    part[other], turned[other] = start, turned[face] ^ flip
                    stack.append(other)
    part = np.unique(part, return_inverse=True)[1]
    twisted = int((turned[pairs[:, 0]] ^ turned[pairs[:, 1]] != same).sum()) if len(pairs) else 0
    most = np.bincount(part, turned) > 0.5 * np.bincount(part)
    return part, turned ^ most[part], twisted
