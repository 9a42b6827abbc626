"""Buttons for fits: in, through their cameras, and out as glTF."""

import tempfile
from pathlib import Path

import bpy
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .commands import run_smilfit
from .errors import AddonError
from .fit_building import import_animation, look_through, make_cameras
from .operator_base import OfModel, SmilfitOperator, register_all, unregister_all

_ANIMATION = 'animation.glb'
_AS_IT_IS = 'AS_IT_IS'


class ImportFit(SmilfitOperator, bpy.types.Operator, ImportHelper):
    """Import a fit or an inferred animation, with its cameras: a folder of smilfit fit or infer, or animation.glb."""

    bl_idname = 'smilfit.import_fit'
    bl_label = 'Import fit'

    filter_glob: bpy.props.StringProperty(default='*.npz;*.glb', options={'HIDDEN'})
    up: bpy.props.EnumProperty(
        name='Up',
        description="The calibration's axis that points up",
        items=[
            (_AS_IT_IS, 'Not known', "The calibration's y is taken for up"),
            *((a, a, '') for a in ('x', 'y', 'z', '-x', '-y', '-z')),
        ],
    )
    fps: bpy.props.FloatProperty(
        name='Frames per second', description='0: as the recording says', default=0.0, min=0.0
    )
    body_model: bpy.props.StringProperty(
        name='Body model', description='Where the fit does not find it', subtype='FILE_PATH'
    )

    def run(self, context):
        """Import all of its recordings."""
        path = Path(self.filepath)
        if path.suffix.lower() == '.glb':
            return self._show(context, path)
        with tempfile.TemporaryDirectory(prefix='smilfit-') as folder:
            options = [] if self.up == _AS_IT_IS else [f'--up={self.up}']
            options += ['--fps', self.fps] if self.fps else []
            options += ['--body-model', bpy.path.abspath(self.body_model)] if self.body_model else []
            told = run_smilfit(context, 'export', path, '--to', 'glb', '--out', folder, *options)
            files = sorted(Path(folder).rglob(_ANIMATION))
            if not files:
                raise AddonError('\n'.join(told[-4:]) or f'{path}: nothing could be written of it.')
            return [line for file in files for line in self._show(context, file)]

    def _show(self, context, path):
        objects, extras = import_animation(context, path)
        cameras, told = make_cameras(context, objects)
        name = str(extras['recording'])
        collection = bpy.data.collections.new(name)
        context.scene.collection.children.link(collection)
        for one in objects:
            for old in list(one.users_collection):
                old.objects.unlink(one)
            collection.objects.link(one)
        if cameras:
            look_through(context.scene, cameras[0])
        scene = context.scene
        if not extras.get('metres_per_unit'):
            told.append('the unit of the calibration is not known: one of it is one metre here')
        return [
            *told,
            f'{name}: frames {scene.frame_start} to {scene.frame_end} at {extras["fps"]:g} a second, '
            f'{len(cameras)} cameras',
        ]


class LookThrough(SmilfitOperator, bpy.types.Operator):
    """Look through the chosen camera: the scene's pictures get its size and pixels."""

    bl_idname = 'smilfit.look_through'
    bl_label = 'Look through camera'

    def run(self, context):
        """Look."""
        camera = context.active_object
        if camera is None or camera.type != 'CAMERA':
            raise AddonError('A camera must be chosen; none is.')
        look_through(context.scene, camera)
        if context.space_data is not None and context.space_data.type == 'VIEW_3D':
            context.space_data.region_3d.view_perspective = 'CAMERA'
        return [
            f'{camera.name}: {context.scene.render.resolution_x} x {context.scene.render.resolution_y} px'
        ]


class ExportGltf(OfModel, bpy.types.Operator, ExportHelper):
    """Write the chosen animal as it is in Blender (pose, motion, shapes, materials) by Blender's glTF writer."""

    bl_idname = 'smilfit.export_gltf'
    bl_label = 'Export glTF'
    bl_options = {'REGISTER'}

    filename_ext = '.glb'
    filter_glob: bpy.props.StringProperty(default='*.glb', options={'HIDDEN'})

    def run(self, context):
        """Write it."""
        top = context.active_object
        while top.parent is not None:
            top = top.parent
        family, before = [top, *top.children_recursive], list(context.selected_objects)
        for one in context.view_layer.objects:
            one.select_set(one in family)
        if 'io_scene_gltf2' not in context.preferences.addons:
            bpy.ops.preferences.addon_enable(module='io_scene_gltf2')
        try:
            bpy.ops.export_scene.gltf(
                filepath=self.filepath, export_format='GLB', use_selection=True, export_all_influences=True,
                export_morph=True, export_animations=True, export_extras=False, export_cameras=True,
            )  # fmt: skip
        except RuntimeError as error:
            raise AddonError(f'{self.filepath}: Blender must write it; {error}') from None
        for one in context.view_layer.objects:
            one.select_set(one in before)
        return [f'written: {self.filepath}']


_CLASSES = (ImportFit, LookThrough, ExportGltf)


def _import_entry(self, context):
    self.layout.operator(ImportFit.bl_idname, text='smilfit fit (.npz, animation.glb)')


def register():
    """Make operators and the menu entry known."""
    register_all(_CLASSES)
    bpy.types.TOPBAR_MT_file_import.append(_import_entry)


def unregister():
    """Take them back."""
    bpy.types.TOPBAR_MT_file_import.remove(_import_entry)
    unregister_all(_CLASSES)
