"""A model in Blender, as arrays: what a person may have changed."""

from dataclasses import dataclass, field

import numpy as np

from .bones import JOINT, read_limits
from .errors import AddonError
from .model_building import NUMBER, keys_of, read_points, rest_points, triangles_of
from .model_properties import PROPERTIES
from .short_names import KEYPOINT, SCAN, short_names


@dataclass
class Joint:
    """A bone. `before` is the joint that it was made of; None of a bone that was made in Blender."""

    name: str
    before: str | None
    parent: int
    place: np.ndarray  # (3,)
    axes: np.ndarray  # (3, 3), one a column
    limits: np.ndarray | None  # (3, 2) rad


@dataclass
class Shown:
    """A model as Blender has it, in the model's own unit and axes."""

    joints: list  # of Joint, parents before children
    vertices: np.ndarray  # (V, 3)
    numbers: np.ndarray  # (V,) of the document's vertices, -1 of new ones
    faces: np.ndarray  # (F, 3)
    weights: list  # of (vertices, weights), by joint
    moved: dict  # by shape key: how vertices move at value 1 (V, 3)
    keypoints: dict  # by vertex group: (vertices, weights)
    properties: dict
    told: list = field(default_factory=list)


def read_model(armature, body, order):
    """Read a model's objects.

    Args:
        armature: of the model.
        body: its mesh object.
        order: names of the joints that it was made of; new ones follow.

    Raises:
        AddonError: they are no body any more: no bone, several roots.
    """
    told = []
    bones = _bones(armature, order, told)
    groups = _groups(body)
    rest = rest_points(body)
    joints = _joints(armature, bones)
    empty = (np.zeros(0, np.int64), np.zeros(0))
    weights = [groups.pop(bone.name, empty) for bone in bones]
    keypoints = {name: entry for name, entry in groups.items() if name.startswith(KEYPOINT) and len(entry[0])}
    other = [n for n, entry in groups.items() if not n.startswith(KEYPOINT) and len(entry[0])]
    if other:
        told.append(
            f'{len(other)} vertex groups are neither bones nor keypoints and were left out: {", ".join(other[:5])}'
        )
    if any(polygon.loop_total != 3 for polygon in body.data.polygons):
        told.append('polygons of more than three corners were cut into triangles')
    return Shown(
        joints=joints,
        vertices=rest,
        numbers=_numbers(body.data),
        faces=triangles_of(body.data),
        weights=weights,
        moved={k.name: read_points(k.data) - rest for k in keys_of(body) if not k.name.startswith(SCAN)},
        keypoints=keypoints,
        properties={key: getattr(body.data.smilfit, key) or None for key in PROPERTIES},
        told=told,
    )


def _bones(armature, order, told):
    """Give the bones that are joints, parents before children, and else in the model's own order."""
    kept = [b for b in armature.data.bones if b.get(JOINT) is not None or b.use_deform]
    if left := len(armature.data.bones) - len(kept):
        told.append(f'{left} bones that move no skin (controls) were left out')
    roots = [bone.name for bone in kept if bone.parent not in kept]
    if len(roots) != 1:
        raise AddonError(
            f'{armature.name}: one bone must have no parent (the root); got {len(roots)}: {", ".join(roots[:6])}. '
            'Give the others a parent, or take "Deform" away from bones that are no joints.'
        )
    place = {name: i for i, name in enumerate(order)}
    ready, ordered = [armature.data.bones[roots[0]]], []
    while ready:
        first = min(
            ready, key=lambda bone: place.get(bone[JOINT], len(order)) if JOINT in bone else len(order)
        )
        ready.remove(first)
        ready += [bone for bone in first.children if bone in kept]
        ordered.append(first)
    return ordered


def _joints(armature, bones):
    found, befores = [], [bone.get(JOINT) for bone in bones]
    joints = list(dict.fromkeys(before for before in befores if before is not None))
    shorts = dict(zip(joints, short_names(joints)))
    for bone, before in zip(bones, befores):
        # A copy of a bone says that it is the same joint: the one of its name is.
        if befores.count(before) > 1 and bone.name != shorts.get(before):
            before = None
        matrix = np.array(bone.matrix_local)
        found.append(
            Joint(
                name=before if before is not None and bone.name == shorts[before] else bone.name,
                before=before,
                parent=bones.index(bone.parent) if bone.parent in bones else -1,
                place=np.array(bone.head_local, np.float64),
                axes=matrix[:3, :3],
                limits=read_limits(armature.pose.bones[bone.name]),
            )
        )
    return found


def _groups(body):
    """Read all vertex groups: name -> (vertices, weights)."""
    names = {group.index: group.name for group in body.vertex_groups}
    found = {name: ([], []) for name in names.values()}
    for vertex in body.data.vertices:
        for entry in vertex.groups:
            if entry.weight > 0 and entry.group in names:
                mine = found[names[entry.group]]
                mine[0].append(vertex.index)
                mine[1].append(entry.weight)
    return {name: (np.array(v, np.int64), np.array(w, np.float64)) for name, (v, w) in found.items()}


def _numbers(mesh):
    """Give each vertex's number in the document; -1 of new ones, and of copies."""
    attribute = mesh.attributes.get(NUMBER)
    if attribute is None or len(attribute.data) != len(mesh.vertices):
        raise AddonError(
            f'{mesh.name}: its attribute {NUMBER} must be there; it is not. Import the model anew.'
        )
    found = np.empty(len(mesh.vertices), np.int32)
    attribute.data.foreach_get('value', found)
    found = found.astype(np.int64) - 1
    first = np.zeros(len(found), bool)
    first[np.unique(found, return_index=True)[1]] = True
    return np.where(first, found, -1)
