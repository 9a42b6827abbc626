"""Checks of a mesh: vertices that no face uses or that stand twice, edges, faces, parts."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking.findings import NOTE, WARNING, Finding, counted, strongest_joint, vertex_places
from smilfit.rigs.read_rig import listed
from smilfit.rigs.triangles import (
    Edges,
    connected_parts,
    degenerate_faces,
    face_areas,
    orientation,
    repeated_faces,
    same_place,
)

# Of the median area of faces.
_TINY = 1e-4
_CLEAN = '`smilfit model clean` takes them out.'


def empty_mesh(model: StoredModel) -> Iterator[Finding]:
    """Find a mesh without faces, which has no surface to draw, measure or register."""
    if not len(model.data.faces):
        what, advice = 'there are no faces', 'Export the mesh with its triangles.'
        yield Finding('faces', WARNING, '', what, advice)


def unreferenced_vertices(model: StoredModel) -> Iterator[Finding]:
    """Find vertices of no face."""
    data = model.data
    loose = np.setdiff1d(np.arange(data.n_vertices), data.faces)
    if len(data.faces) and len(loose):
        what = f'{counted(len(loose), "vertex")} of no face'
        yield Finding('loose vertices', WARNING, vertex_places(data, loose), what, _CLEAN, len(loose))


def duplicate_vertices(model: StoredModel) -> Iterator[Finding]:
    """Find vertices at the place of another: seams of textures, parts that were never joined."""
    data = model.data
    repeated = np.flatnonzero(same_place(data.v_template, model.size) != np.arange(data.n_vertices))
    if len(repeated):
        what = f'{counted(len(repeated), "vertex")} at the place of another: seams, along which the surface is open'
        advice = (
            '`smilfit model clean --weld` joins those that move alike, where the surface should be whole; images of '
            'the skin then no longer fit.'
        )
        where = vertex_places(data, repeated)
        yield Finding('duplicate vertices', NOTE, where, what, advice, len(repeated))


def boundary_edges(model: StoredModel) -> Iterator[Finding]:
    """Find edges of one face alone: where the surface is open, and what of that is seams of vertices at one place."""
    edges = Edges.of(model.data.faces)
    open_edges = edges.ends[edges.shared_by == 1]
    if not len(open_edges):
        return
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
    yield Finding('boundary edges', NOTE, where, what, advice, len(open_edges))


def non_manifold_edges(model: StoredModel) -> Iterator[Finding]:
    """Find edges that more than two faces share."""
    edges = Edges.of(model.data.faces)
    wrong = edges.ends[edges.shared_by > 2]
    if len(wrong):
        what = f'{counted(len(wrong), "edge")} shared by more than two faces, up to {edges.shared_by.max()}'
        advice = 'Take out the inner faces in the authoring tool.'
        where = vertex_places(model.data, np.unique(wrong))
        yield Finding('non-manifold edges', WARNING, where, what, advice, len(wrong))


def faces_without_area(model: StoredModel) -> Iterator[Finding]:
    """Find faces that are a line or a point, faces that stand twice, and tiny ones."""
    data = model.data
    area = face_areas(data.v_template, data.faces)
    flat, repeated = degenerate_faces(data.v_template, data.faces), repeated_faces(data.faces)
    tiny = ~flat & (area < _TINY * np.median(area)) if len(area) else flat
    for faces, severity, what, advice in (
        (flat, WARNING, f'without area (number {_numbers(flat)})', _CLEAN),
        (repeated, WARNING, f'with the corners of another (number {_numbers(repeated)})', _CLEAN),
        (tiny, NOTE, f'below {_TINY:g} of the median area', ''),
    ):
        count = int(faces.sum())
        if count:
            where = vertex_places(data, np.unique(data.faces[faces]))
            yield Finding('faces', severity, where, f'{counted(count, "face")} {what}', advice, count)


def _numbers(faces: np.ndarray) -> str:
    return listed(np.flatnonzero(faces).tolist())


def flipped_faces(model: StoredModel) -> Iterator[Finding]:
    """Find faces that look the other way than their neighbours, and closed surfaces that are inside out."""
    data = model.data
    if not len(data.faces):
        return
    edges = Edges.of(data.faces)
    part, flipped, twisted = orientation(edges)
    if flipped.any():
        what = f'{counted(int(flipped.sum()), "face")} looking the other way than their neighbours'
        where = vertex_places(data, np.unique(data.faces[flipped]))
        advice = 'Recalculate normals in the authoring tool.'
        yield Finding('flipped faces', WARNING, where, what, advice, int(flipped.sum()))
    if twisted:
        what = f'{counted(twisted, "edge")} that cannot agree: the surface has one side, as a Moebius strip'
        yield Finding('flipped faces', WARNING, 'faces', what, 'Mend the mesh.', twisted)
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
        yield Finding('flipped faces', WARNING, where, what, advice, int(faces.sum()))


def mesh_parts(model: StoredModel) -> Iterator[Finding]:
    """Find a mesh of several parts, such as eyes, teeth and claws, or a body that fell apart."""
    data = model.data
    part = connected_parts(data.faces, data.n_vertices)
    used = np.unique(data.faces)
    sizes = Counter(part[used].tolist())
    if len(sizes) < 2:
        return
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
    yield Finding('mesh parts', NOTE, where, what, '', len(sizes), figures)
