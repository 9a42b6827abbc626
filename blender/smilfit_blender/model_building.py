"""A body model's document as an armature and a mesh in Blender."""

import math

import bpy
import numpy as np
from mathutils import Matrix

from .bones import build_bones
from .document import checked, faces_of, names_of, packed, sliders_of, unpacked, vertices_of
from .errors import AddonError
from .model_properties import PROPERTIES
from .short_names import SCAN, short_names, skin_keypoints

DOCUMENT = 'smilfit_document'
# One more than a vertex's number in the document; 0 of vertices that were made in Blender.
NUMBER = 'smilfit_vertex'
_METRES = {'um': 1e-6, 'mm': 1e-3, 'cm': 1e-2, 'm': 1.0}


def new_model(context, document, name, in_metres=True):
    """Make a model's objects, in the active collection; gives the armature and the mesh.

    Data are in the model's own unit and axes; the armature object turns what points up to z and scales to metres,
    where the file states them.
    """
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    body = bpy.data.objects.new(f'{name} body', bpy.data.meshes.new(f'{name} body'))
    for one in (armature, body):
        context.collection.objects.link(one)
    armature.matrix_world = world_of(document, in_metres)
    armature.show_in_front = True
    body.parent = armature
    modifier = body.modifiers.new('Armature', 'ARMATURE')
    modifier.object = armature
    put_model(context, armature, body, document)
    for one in context.selected_objects:
        one.select_set(False)
    armature.select_set(True)
    context.view_layer.objects.active = armature
    return armature, body


def world_of(document, in_metres=True):
    """Give the matrix from the model's unit and axes to Blender's metres and z up."""
    up = document.get('up_axis') or '+z'
    turns = {
        'z': Matrix.Identity(4),
        'y': Matrix.Rotation(math.pi / 2, 4, 'X'),
        'x': Matrix.Rotation(-math.pi / 2, 4, 'Y'),
    }
    turn = turns[up[-1]]
    if up.startswith('-'):
        turn = Matrix.Rotation(math.pi, 4, 'X') @ turn
    scale = _METRES.get(document.get('unit'), 1.0) if in_metres else 1.0
    return turn @ Matrix.Scale(scale, 4)


def put_model(context, armature, body, document):
    """Make objects show a document: mesh, weights, shape keys, keypoints, bones, limits, properties."""
    checked(document, 'the model')
    scans = [(k.name, read_points(k.data)) for k in keys_of(body) if k.name.startswith(SCAN)]
    # Before the vertices: taking the keys out puts vertices where the first of them says.
    body.shape_key_clear()
    _put_mesh(body, document)
    _put_groups(body, document)
    _put_keys(body, document, scans)
    build_bones(context, armature, document)
    for key in PROPERTIES:
        setattr(body.data.smilfit, key, document.get(key) or '')
    # Taken out first: Blender writes shorter bytes over the beginning of longer ones.
    body.data.pop(DOCUMENT, None)
    body.data[DOCUMENT] = packed(document)


def document_of(body):
    """Give the document that a mesh object was made of.

    Raises:
        AddonError: it is no model, or damaged.
    """
    return unpacked(body.data[DOCUMENT])


def model_of(context):
    """Give armature and mesh of the model that is chosen.

    Raises:
        AddonError: none is.
    """
    active = context.active_object
    chosen = [active] if active is not None else []
    chosen += [child for one in chosen for child in one.children] + [
        one.parent for one in chosen if one.parent
    ]
    for one in chosen:
        if (
            one.type == 'MESH'
            and DOCUMENT in one.data
            and one.parent is not None
            and one.parent.type == 'ARMATURE'
        ):
            return one.parent, one
    raise AddonError(
        'A body model of smilfit must be chosen (its armature or its mesh); none is. Import one first.'
    )


def _put_mesh(body, document):
    """Give the mesh its vertices and faces; a mesh of the same ones keeps all else (materials, texture, scans)."""
    mesh, vertices, faces = body.data, vertices_of(document), faces_of(document)
    if len(mesh.vertices) == len(vertices) and np.array_equal(triangles_of(mesh), faces):
        mesh.vertices.foreach_set('co', vertices.astype(np.float32).ravel())
    else:
        mesh.clear_geometry()
        mesh.from_pydata(vertices.tolist(), [], faces.tolist())
        mesh.shade_smooth()
    numbers = mesh.attributes.get(NUMBER) or mesh.attributes.new(NUMBER, 'INT', 'POINT')
    numbers.data.foreach_set('value', np.arange(1, len(vertices) + 1, dtype=np.int32))
    mesh.update()


def triangles_of(mesh):
    """Give a mesh's triangles (F, 3); polygons are cut into them."""
    if all(polygon.loop_total == 3 for polygon in mesh.polygons):
        found = np.empty(3 * len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get('vertices', found)
    else:
        mesh.calc_loop_triangles()
        found = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get('vertices', found)
    return found.reshape(-1, 3).astype(np.int64)


def _put_groups(body, document):
    """Give the mesh its vertex groups: skinning weights by joint, then keypoints of the skin."""
    body.vertex_groups.clear()
    names = names_of(document)
    for name, short in zip(names, short_names(names)):
        _put_group(body, short, document['skin_weights'].get(name))
    for short, (_, _, vertices, weights) in skin_keypoints(document).items():
        _put_group(body, short, {'vertices': vertices, 'weights': weights})


def _put_group(body, name, entry):
    group = body.vertex_groups.new(name=name)
    for vertex, weight in zip(entry['vertices'], entry['weights']) if entry else ():
        group.add([vertex], weight, 'REPLACE')


def _put_keys(body, document, scans):
    """Give the mesh its shape keys. Scans stay, where the vertices are the same ones."""
    rest = vertices_of(document)
    sliders, scans = sliders_of(document), [scan for scan in scans if len(scan[1]) == len(rest)]
    if not sliders and not scans:
        return
    body.shape_key_add(name='Basis', from_mix=False)
    for name, moved, (low, high) in sliders:
        key = add_key(body, name, rest + moved)
        key.slider_min, key.slider_max = max(low, -10.0), min(high, 10.0)
    for name, points in scans:
        add_key(body, name, points)


def add_key(body, name, points):
    """Add a shape key of given vertices (V, 3), at value 0."""
    key = body.shape_key_add(name=name, from_mix=False)
    key.data.foreach_set('co', np.asarray(points, np.float32).ravel())
    key.value = 0.0
    return key


def keys_of(body):
    """Give all shape keys but the one at rest."""
    keys = body.data.shape_keys
    return [] if keys is None else [k for k in keys.key_blocks if k != keys.reference_key]


def read_points(data):
    """Read places (N, 3) of vertices or of a shape key, float64."""
    found = np.empty(3 * len(data), np.float32)
    data.foreach_get('co', found)
    return found.reshape(-1, 3).astype(np.float64)


def rest_points(body):
    """Give the mesh's vertices at rest (V, 3): those of the first shape key, where there are any."""
    keys = body.data.shape_keys
    return read_points(body.data.vertices if keys is None else keys.reference_key.data)
