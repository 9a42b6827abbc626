"""Meshes at rest, as arrays: vertices in the world, triangles, weights, shape keys, and the images on them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from skeletons import RefusedError, Skeleton, bone_above, movers

_MAGIC = (b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff')
# What makes a part of the animal's surface; all else (smoothing, subdivision, physics, hair) is left out.
_BUILDING = (
    'ARRAY',
    'BEVEL',
    'BOOLEAN',
    'DECIMATE',
    'MIRROR',
    'SCREW',
    'SKIN',
    'SOLIDIFY',
    'TRIANGULATE',
    'WELD',
)
# These change shading alone.
_SHADING = ('EDGE_SPLIT', 'NORMAL_EDIT', 'WEIGHTED_NORMAL', 'UV_PROJECT', 'UV_WARP')


class ImageTable:
    """Images that materials show, each under a number; those that cannot be had are reported."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.data: list[bytes] = []
        self._numbers: dict[str, int] = {}
        self._lost: list[str] = []

    def number(self, image: bpy.types.Image | None) -> int:
        """Return an image's number; -1 where there is none or it cannot be read."""
        if image is None:
            return -1
        if image.name not in self._numbers:
            data = _stored(image)
            self._numbers[image.name] = -1 if data is None else len(self.data)
            if data is None:
                self._lost.append(os.path.basename(image.filepath.replace('\\', '/')) or image.name)
            else:
                self.data.append(data)
        return self._numbers[image.name]

    def write(self, arrays: dict[str, np.ndarray]) -> None:
        """Write the images' bytes, and tell of those that are missing."""
        for number, data in enumerate(self.data):
            arrays[f'image{number}'] = np.frombuffer(data, np.uint8)
        if self._lost:
            self.notes.append(
                f'{len(self._lost)} textures are missing or no images: {", ".join(self._lost[:5])}.'
            )


def base_image(material: bpy.types.Material | None) -> bpy.types.Image | None:
    """Find the image that a material's base colour, or whatever is nearest to one, comes from."""
    tree = material.node_tree if material is not None else None
    if tree is None:
        return None
    shaders = [
        node
        for node in tree.nodes
        if node.type in ('BSDF_PRINCIPLED', 'BSDF_DIFFUSE', 'EMISSION', 'EEVEE_SPECULAR')
    ]
    sockets = [s for node in shaders for s in node.inputs if s.name in ('Base Color', 'Color')]
    waiting = [link.from_node for socket in sockets for link in socket.links]
    visited = set()
    while waiting:
        node = waiting.pop(0)
        if node.name in visited:
            continue
        visited.add(node.name)
        if node.type == 'TEX_IMAGE' and node.image is not None:
            return node.image
        waiting += [link.from_node for socket in node.inputs for link in socket.links]
    return None


def _stored(image: bpy.types.Image) -> bytes | None:
    """Return an image's file as it is, if it is PNG or JPEG, else as PNG."""
    data = b''
    if image.packed_file is not None:
        data = bytes(image.packed_file.data)
    elif image.source == 'FILE':
        path = bpy.path.abspath(image.filepath_from_user())
        if os.path.isfile(path):
            with open(path, 'rb') as file:
                data = file.read()
    if data.startswith(_MAGIC):
        return data
    if not image.has_data and not len(image.pixels):
        return None
    path = os.path.join(tempfile.mkdtemp(), 'image.png')
    copy = image.copy()
    copy.filepath_raw, copy.file_format = path, 'PNG'
    try:
        copy.save()
    except RuntimeError:
        return None
    with open(path, 'rb') as file:
        return file.read()


class SkinnedMeshes:
    """The meshes that bones move. `entries` says what the arrays of each are; `keys` are its shape keys."""

    def __init__(self, skeleton: Skeleton, notes: list[str]) -> None:
        self.skeleton, self.notes = skeleton, notes
        # As glTF's reader does: those with weights first.
        self.objects = sorted(skeleton.meshes, key=lambda o: not movers(o))
        self.entries: list[dict[str, object]] = []
        self.keys: list[list[bpy.types.ShapeKey]] = []
        self.whole: list[str] = []
        self._show_only_building()

    def write(self, arrays: dict[str, np.ndarray]) -> None:
        """Write the arrays of all meshes, and of the textures."""
        images = ImageTable(self.notes)
        for number, thing in enumerate(self.objects):
            keys = _shape_keys(thing, self.notes)
            with _at_rest(thing):
                self._write(f'm{number}.', thing, keys, images, arrays)
            self.keys.append(keys)
        images.write(arrays)
        if not any(entry['triangles'] for entry in self.entries):
            raise RefusedError(
                'the mesh of a rig must have triangles; got none. Export faces, not points or lines.'
            )
        if self.whole:
            many = f' and {len(self.whole) - 5} more' if len(self.whole) > 5 else ''
            self.notes.append(
                f'{len(self.whole)} meshes without weights move with one joint each: '
                f'{", ".join(self.whole[:5])}{many}.'
            )

    def shown(self) -> np.ndarray:
        """Return all vertices in the world as Blender moves them at the scene's frame (V, 3)."""
        graph = bpy.context.evaluated_depsgraph_get()
        return np.concatenate([_vertices(thing.evaluated_get(graph)) for thing in self.objects])

    def _write(
        self,
        name: str,
        thing: bpy.types.Object,
        keys: list[bpy.types.ShapeKey],
        images: ImageTable,
        arrays: dict[str, np.ndarray],
    ) -> None:
        _pin(thing, 0)
        graph = bpy.context.evaluated_depsgraph_get()
        shown = thing.evaluated_get(graph)
        base = arrays[name + 'vertices'] = _vertices(shown)
        mesh = shown.to_mesh(preserve_all_data_layers=True, depsgraph=graph)
        mesh.calc_loop_triangles()
        triangles, corners, polygons = _triangles(mesh)
        if np.linalg.det(np.array(shown.matrix_world)[:3, :3]) < 0:
            # A mirror turns triangles inside out.
            triangles, corners = triangles[:, ::-1], corners[:, ::-1]
        arrays[name + 'triangles'] = triangles
        materials = np.zeros(len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get('material_index', materials)
        of_material = [images.number(base_image(m)) for m in mesh.materials] or [-1]
        chosen = np.array(of_material)[np.clip(materials, 0, len(of_material) - 1)]
        uv = mesh.uv_layers.active
        if uv is not None and len(mesh.loops):
            places = np.zeros(2 * len(mesh.loops), np.float32)
            uv.data.foreach_get('uv', places)
            arrays[name + 'uv'] = places.reshape(-1, 2)[corners]
            arrays[name + 'images'] = chosen[polygons]
        self._weights(name, thing, mesh, arrays)
        shown.to_mesh_clear()
        moves, kept = [], []
        for key in keys:
            blocks = key.id_data.key_blocks
            with_key, without = (_pinned(thing, blocks.find(k.name)) for k in (key, key.relative_key))
            if len(with_key) == len(without) == len(base):
                moves.append(with_key - without)
                kept.append(key)
            else:
                self.notes.append(
                    f'the shape key {key.name} of {thing.name} changes how many vertices there are: left out.'
                )
        keys[:] = kept
        if moves:
            arrays[name + 'morphs'] = np.stack(moves)
        entry = {'name': thing.name, 'triangles': len(triangles), 'morphs': [key.name for key in keys]}
        self.entries.append(entry)

    def _weights(
        self, name: str, thing: bpy.types.Object, mesh: bpy.types.Mesh, arrays: dict[str, np.ndarray]
    ) -> None:
        """Write which bones move which vertices by how much."""
        joints: dict[int, list[int]] = {}
        skeleton = self.skeleton
        moving = movers(thing)
        for group in thing.vertex_groups:
            joints[group.index] = [
                skeleton.indices[a.name, group.name]
                for a in moving
                if (a.name, group.name) in skeleton.indices and a.data.bones[group.name].use_deform
            ]
        result: list[tuple[int, int, float]] = []
        if moving:
            for vertex in mesh.vertices:
                for entry in vertex.groups:
                    for joint in joints.get(entry.group, ()):
                        if entry.weight > 0:
                            result.append((vertex.index, joint, entry.weight))
            if not result:
                self.notes.append(f'the mesh {thing.name} has an armature but no weights.')
        else:
            hung = bone_above(thing)
            assert hung is not None  # The skeleton lists meshes that a bone moves, in one way or the other.
            joint = skeleton.indices[hung[0].name, hung[1]]
            result = [(i, joint, 1.0) for i in range(len(mesh.vertices))]
            self.whole.append(f'{thing.name} on {hung[1]}')
        rows, columns, values = zip(*result) if result else ((), (), ())
        arrays[name + 'rows'] = np.array(rows, np.int64)
        arrays[name + 'columns'] = np.array(columns, np.int64)
        arrays[name + 'weights'] = np.array(values, np.float64)

    def _show_only_building(self) -> None:
        """Switch off what does not build the surface, and tell it."""
        left: dict[str, int] = {}
        for thing in self.objects:
            thing.show_only_shape_key = False
            for modifier in thing.modifiers:
                if modifier.type == 'ARMATURE':
                    continue
                if modifier.type not in _BUILDING:
                    if (
                        modifier.show_viewport
                        and modifier.type not in _SHADING
                        and not _smooths_shading(modifier)
                    ):
                        left[modifier.type] = left.get(modifier.type, 0) + 1
                    modifier.show_viewport = False
        if left:
            words = ', '.join(
                f'{count} {kind.replace("_", " ").capitalize()}' for kind, count in sorted(left.items())
            )
            self.notes.append(f'modifiers that are left out, as they build no part of the skin: {words}.')


def _smooths_shading(modifier: bpy.types.Modifier) -> bool:
    """Check whether a modifier is what newer Blenders make of the old setting "auto smooth"."""
    return modifier.type == 'NODES' and modifier.name.startswith(('Smooth by Angle', 'Auto Smooth'))


@contextmanager
def _at_rest(thing: bpy.types.Object) -> Iterator[None]:
    """Show a mesh without its armature's and its shape keys' work inside this context."""
    moving = [m for m in thing.modifiers if m.type == 'ARMATURE']
    before = [m.show_viewport for m in moving]
    pinned, index = thing.show_only_shape_key, thing.active_shape_key_index
    for modifier in moving:
        modifier.show_viewport = False
    thing.show_only_shape_key = True
    yield
    for modifier, shown in zip(moving, before):
        modifier.show_viewport = shown
    thing.show_only_shape_key, thing.active_shape_key_index = pinned, index


def _shape_keys(thing: bpy.types.Object, notes: list[str]) -> list[bpy.types.ShapeKey]:
    keys = thing.data.shape_keys
    if keys is None or len(keys.key_blocks) < 2:
        return []
    if not keys.use_relative:
        notes.append(f'shape keys of {thing.name} follow each other in time: left out.')
        return []
    return [key for key in keys.key_blocks if key != keys.reference_key]


def _pin(thing: bpy.types.Object, index: int) -> None:
    if thing.data.shape_keys is not None:
        thing.active_shape_key_index = index
    thing.update_tag()
    bpy.context.view_layer.update()


def _pinned(thing: bpy.types.Object, index: int) -> np.ndarray:
    """Return the vertices in the world with one shape key alone."""
    _pin(thing, index)
    return _vertices(thing.evaluated_get(bpy.context.evaluated_depsgraph_get()))


def _vertices(shown: bpy.types.Object) -> np.ndarray:
    """Return the vertices of an evaluated mesh in the world (V, 3)."""
    mesh = shown.data
    places = np.zeros(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get('co', places)
    world = np.array(shown.matrix_world)
    return places.reshape(-1, 3).astype(np.float64) @ world[:3, :3].T + world[:3, 3]


def _triangles(mesh: bpy.types.Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return triangles' vertices (F, 3), their corners' numbers (F, 3), and their polygons (F,)."""
    count = len(mesh.loop_triangles)
    result = {}
    for what, width in (('vertices', 3), ('loops', 3), ('polygon_index', 1)):
        values = np.zeros(width * count, np.int32)
        mesh.loop_triangles.foreach_get(what, values)
        result[what] = values.reshape(count, 3) if width == 3 else values
    return result['vertices'], result['loops'], result['polygon_index']
