"""Draw the figure of docs/blender.md, inside Blender.

blender-env/bin/python docs/scripts/blender.py OUT.png MODEL.smil.json FIT.glb

Left a model with its bones, as the viewport shows them; right a frame of a fit with the session's cameras. The add-on
must be packed (`make blender-addon`). Rendered by Cycles, which needs no screen; what the viewport alone draws
(bones, cameras) stands there as meshes.
"""

import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

SIDE = 480
_SAMPLES = 16


def main(out, model, fit):
    """Draw both and put them side by side."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    archive = next((Path(__file__).resolve().parents[2] / 'dist').glob('smilfit_blender-*.zip'))
    bpy.ops.extensions.package_install_files(
        filepath=str(archive), repo='user_default', enable_on_install=True
    )
    bpy.ops.smilfit.import_model(filepath=model)
    armature = bpy.context.active_object
    body = armature.children[0]
    paint(body, (0.75, 0.72, 0.65, 1), 0.3)
    for bone in armature.pose.bones:
        bone_as_mesh(armature, bone)
    # From the front and above, across the longest side.
    middle, size = centre(body)
    left = render(Path(out).with_suffix('.left.png'), middle, 1.15 * size, Vector((0.9, -1.0, 0.35)))
    bpy.ops.object.select_all(action='SELECT')
    bpy.ops.object.delete()
    bpy.ops.smilfit.import_fit(filepath=fit)
    scene = bpy.context.scene
    scene.frame_set((scene.frame_start + scene.frame_end) // 2)
    body = next(one for one in scene.objects if one.type == 'MESH')
    paint(body, (0.85, 0.4, 0.12, 1), 1.0)
    cameras = [one for one in scene.objects if one.type == 'CAMERA']
    middle, size = centre(body)
    places = np.array([one.matrix_world.translation for one in cameras] + [middle])
    wide = float(np.linalg.norm(np.ptp(places, axis=0)))
    for camera in cameras:
        camera_as_mesh(camera, 0.12 * wide)
    middle = Vector((places.min(0) + places.max(0)) / 2)
    right = render(Path(out).with_suffix('.right.png'), middle, 1.1 * wide, Vector((0.8, -1.0, 0.9)))
    save(out, left, right)


def centre(body):
    """Give the middle and the longest side of what is shown."""
    evaluated = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    points = np.array([evaluated.matrix_world @ v.co for v in mesh.vertices])
    return Vector((points.min(0) + points.max(0)) / 2), float(np.ptp(points, axis=0).max())


def paint(one, colour, alpha):
    """Give an object a plain material."""
    material = bpy.data.materials.new('plain')
    material.use_nodes = True
    shader = material.node_tree.nodes['Principled BSDF']
    shader.inputs['Base Color'].default_value = colour
    shader.inputs['Alpha'].default_value = alpha
    shader.inputs['Roughness'].default_value = 0.8
    one.data.materials.clear()
    one.data.materials.append(material)


def bone_as_mesh(armature, bone):
    """Put a mesh where the viewport draws a bone."""
    length = bone.custom_shape_scale_xyz.x
    turn = Matrix.Rotation(0, 4, 'X') @ bone.custom_shape_rotation_euler.to_matrix().to_4x4()
    shown = bpy.data.objects.new(bone.name, bone.custom_shape.data.copy())
    bpy.context.collection.objects.link(shown)
    shown.matrix_world = armature.matrix_world @ bone.matrix @ turn @ Matrix.Scale(length, 4)
    paint(shown, (0.9, 0.35, 0.05, 1), 1.0)


def camera_as_mesh(camera, size):
    """Put a pyramid of the camera's own view where the viewport draws it."""
    corners = [size * v / abs(v.z) for v in camera.data.view_frame(scene=bpy.context.scene)]
    mesh = bpy.data.meshes.new(camera.name)
    mesh.from_pydata([Vector(), *corners], [], [(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 1)])
    shown = bpy.data.objects.new(f'{camera.name} drawn', mesh)
    bpy.context.collection.objects.link(shown)
    shown.matrix_world = camera.matrix_world
    modifier = shown.modifiers.new('wire', 'WIREFRAME')
    modifier.thickness = 0.06 * size
    paint(shown, (0.05, 0.3, 0.75, 1), 1.0)


def render(path, middle, size, direction):
    """Render what is there around a point; gives the picture's path."""
    scene = bpy.context.scene
    eye = bpy.data.objects.new('eye', bpy.data.cameras.new('eye'))
    bpy.context.collection.objects.link(eye)
    eye.data.type, eye.data.ortho_scale = 'ORTHO', size
    eye.data.clip_start, eye.data.clip_end = 1e-4 * size, 100 * size
    eye.matrix_world = (
        Matrix.Translation(middle + 5 * size * direction.normalized())
        @ direction.to_track_quat('Z', 'Y').to_matrix().to_4x4()
    )
    sun = bpy.data.objects.new('sun', bpy.data.lights.new('sun', 'SUN'))
    bpy.context.collection.objects.link(sun)
    sun.data.energy = 1.2
    sun.matrix_world = Matrix.Rotation(0.6, 4, 'X') @ Matrix.Rotation(0.4, 4, 'Y')
    world = scene.world or bpy.data.worlds.new('world')
    scene.world, world.use_nodes = world, True
    world.node_tree.nodes.get('Background').inputs[0].default_value = (0.8, 0.8, 0.8, 1)
    scene.render.film_transparent = False
    scene.camera = eye
    scene.render.engine, scene.cycles.samples, scene.cycles.device = 'CYCLES', _SAMPLES, 'CPU'
    scene.cycles.use_denoising = False
    scene.render.threads_mode, scene.render.threads = 'FIXED', 1
    scene.view_settings.view_transform = 'Standard'
    scene.render.resolution_x = scene.render.resolution_y = SIDE
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return path


def save(out, left, right):
    """Put two pictures side by side."""
    halves = []
    for path in (left, right):
        image = bpy.data.images.load(str(path))
        pixels = np.empty(SIDE * SIDE * 4, np.float32)
        image.pixels.foreach_get(pixels)
        halves.append(pixels.reshape(SIDE, SIDE, 4))
        path.unlink()
    both = bpy.data.images.new('both', 2 * SIDE, SIDE)
    both.pixels.foreach_set(np.hstack(halves).ravel())
    both.filepath_raw, both.file_format = str(out), Path(out).suffix[1:].upper()
    both.save()


main(*sys.argv[1:])
