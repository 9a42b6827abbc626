"""A fit in Blender: its animation by Blender's own glTF reader, then cameras, frames and their rate made right."""

import bpy
import numpy as np
from mathutils import Matrix

from .errors import AddonError
from .glb_text import glb_document
from .lens import SENSOR_MM, lens_of

# Of a camera: how long it is drawn, of its distance to the origin of the scene.
_DRAWN = 0.1
_FARTHEST = 1e4


def import_animation(context, path):
    """Import an `animation.glb` of `smilfit export`; gives its objects and what it says of itself.

    Raises:
        AddonError: another file, or Blender does not read it.
    """
    extras = glb_document(path).get('asset', {}).get('extras') or {}
    if 'recording' not in extras or not extras.get('fps'):
        raise AddonError(f'{path}: must be an animation of `smilfit export --to glb`; it is another file.')
    scene, before = context.scene, set(bpy.data.objects)
    fps = float(extras['fps'])
    # Blender's reader is wrong about rates that are no whole numbers (4.5 multiplies by fps_base): it gets one.
    scene.render.fps, scene.render.fps_base = max(1, round(fps)), 1.0
    per_key = fps / scene.render.fps
    if not hasattr(bpy.ops.import_scene, 'gltf') or 'io_scene_gltf2' not in context.preferences.addons:
        bpy.ops.preferences.addon_enable(module='io_scene_gltf2')
    try:
        bpy.ops.import_scene.gltf(filepath=str(path), disable_bone_shape=True)
    except RuntimeError as error:
        raise AddonError(f'{path}: Blender must read it; {error}') from None
    made = [one for one in bpy.data.objects if one not in before]
    first = int(extras.get('first_frame', 0))
    actions = {one.animation_data.action for one in made if one.animation_data and one.animation_data.action}
    for action in actions:
        number_keys(action, per_key, first)
    set_rate(scene, fps)
    last = max((round(action.frame_range[1]) for action in actions), default=first)
    scene.frame_start, scene.frame_end = first, last
    scene.frame_set(first)
    return made, extras


def set_rate(scene, fps):
    """Make the scene's rate that of the recording, fractions included: 29.97 is 30 / 1.001."""
    scene.render.fps = max(1, round(fps))
    scene.render.fps_base = scene.render.fps / fps


def number_keys(action, factor, first):
    """Put keys at the recording's frame numbers, which are whole."""
    for curve in curves_of(action):
        for key in curve.keyframe_points:
            key.co.x = round(key.co.x * factor) + first
            key.interpolation = 'LINEAR'
        curve.update()


def curves_of(action):
    """Give an action's curves, in Blenders of before and after actions had layers."""
    if hasattr(action, 'layers') and action.layers:
        bags = (bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags)
        return [curve for bag in bags for curve in bag.fcurves]
    return list(action.fcurves)


def make_cameras(context, objects):
    """Give cameras their lenses, free of the scaled node, at size one; gives them and what Blender cannot show."""
    # The reader has just made them: where they stand is known after this.
    context.view_layer.update()
    found, told = [one for one in objects if one.type == 'CAMERA'], []
    for camera in found:
        place, turn, _ = camera.matrix_world.decompose()
        camera.parent = None
        camera.matrix_world = Matrix.Translation(place) @ turn.to_matrix().to_4x4()
        data = camera.data
        data.clip_start, data.clip_end = 1e-3, max(_FARTHEST, 10 * place.length)
        data.display_size = max(1e-3, _DRAWN * place.length)
        if 'K' not in camera:
            told.append(
                f'{camera.name}: its camera matrix is not in the file: the picture is taken as centred'
            )
            continue
        lens = lens_of(_rows(camera['K']), list(camera['size_px']))
        data.type, data.lens_unit, data.sensor_fit = 'PERSP', 'MILLIMETERS', 'HORIZONTAL'
        data.sensor_width, data.lens = SENSOR_MM, lens.focal_mm
        data.shift_x, data.shift_y = lens.shift_x, lens.shift_y
        if (
            camera.get('distortion') is not None
            and np.abs(np.asarray(list(camera['distortion']), float)).max() > 0
        ):
            told.append(
                f'{camera.name}: its lens distorts, which Blender cannot show; pictures must be undistorted'
            )
        if abs(_rows(camera['K'])[0][1]) > 1e-9:
            told.append(f'{camera.name}: its axes are not at right angles, which Blender cannot show')
    return found, told


def look_through(scene, camera):
    """Make a camera the scene's, with its picture's size and its pixels' sides."""
    scene.camera = camera
    if 'K' not in camera:
        return
    lens = lens_of(_rows(camera['K']), list(camera['size_px']))
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = lens.width, lens.height, 100
    render.pixel_aspect_x, render.pixel_aspect_y = lens.pixel_aspect_x, lens.pixel_aspect_y


def _rows(K):
    return [[float(x) for x in row] for row in K]
