"""Buttons and menu entries: models in, models out, and whether smilfit answers."""

import tempfile
from pathlib import Path

import bpy
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .commands import run_smilfit
from .document import write_document
from .model_building import model_of, new_model
from .model_files import SHIPPED, SUFFIX, current_document, load_model, save_model
from .operator_base import OfModel, SmilfitOperator, register_all, unregister_all

_FORMATS = (
    (SUFFIX, 'smil.json', 'Everything'),
    ('.pkl', 'SMIL/SMAL pickle', 'As SMILify reads it: without unit, symmetry and keypoints'),
    ('.npz', 'npz', 'As smplx reads it'),
    ('.glb', 'glTF', 'Skin, skeleton and shapes; all else as extras'),
)


class ImportModel(SmilfitOperator, bpy.types.Operator, ImportHelper):
    """Import a body model, or make one of a rig of another program."""

    bl_idname = 'smilfit.import_model'
    bl_label = 'Import body model'

    filter_glob: bpy.props.StringProperty(
        default='*.json;*.pkl;*.npz;*.glb;*.gltf;*.xml;*.fbx;*.dae;*.blend', options={'HIDDEN'}
    )
    in_metres: bpy.props.BoolProperty(
        name='In metres', description='Scale to metres where the unit is known', default=True
    )
    clip_limits: bpy.props.BoolProperty(
        name='Limits from clips',
        description='Of a rig with clips: joints may turn as far as they do there',
        default=False,
    )

    def run(self, context):
        """Import."""
        document, told = load_model(context, self.filepath, 'clips' if self.clip_limits else '')
        name = document.get('name') or Path(self.filepath).name.removesuffix(SUFFIX)
        new_model(context, document, name, self.in_metres)
        return [*told, f'{name}: {len(document["vertices"])} vertices, {len(document["joints"])} joints']


class AddShippedModel(SmilfitOperator, bpy.types.Operator):
    """Add one of the animals that come with smilfit."""

    bl_idname = 'smilfit.add_shipped_model'
    bl_label = 'Add shipped model'

    model: bpy.props.EnumProperty(name='Model', items=[(name, name.capitalize(), '') for name in SHIPPED])

    def run(self, context):
        """Add it."""
        document, _ = load_model(context, self.model)
        new_model(context, document, document.get('name') or self.model)
        return [f'{self.model}: {len(document["vertices"])} vertices, {len(document["joints"])} joints']


class ExportModel(OfModel, bpy.types.Operator, ExportHelper):
    """Write the chosen body model to a file."""

    bl_idname = 'smilfit.export_model'
    bl_label = 'Export body model'
    # Nothing in the scene changes.
    bl_options = {'REGISTER'}

    filename_ext = SUFFIX
    filter_glob: bpy.props.StringProperty(default='*.json;*.pkl;*.npz;*.glb', options={'HIDDEN'})
    format: bpy.props.EnumProperty(name='Format', items=_FORMATS)

    def check(self, context):
        """Keep the name's ending that of the format; Blender asks while the name is written."""
        path = self.filepath
        for ending, _, _ in _FORMATS:
            path = path.removesuffix(ending)
        changed = self.filepath != path + self.format
        self.filepath = path + self.format
        return changed

    def run(self, context):
        """Write it."""
        armature, body = model_of(context)
        told = save_model(context, armature, body, self.filepath)
        return [*told, f'written: {self.filepath}']


class CheckModel(OfModel, bpy.types.Operator):
    """Let smilfit say what is wrong with the chosen model; it goes into a text block."""

    bl_idname = 'smilfit.check_model'
    bl_label = 'Check'

    def run(self, context):
        """Check it."""
        document, _ = current_document(context, *model_of(context))
        with tempfile.TemporaryDirectory(prefix='smilfit-') as folder:
            source = Path(folder) / f'model{SUFFIX}'
            write_document(document, source)
            # 3: there are warnings.
            lines = run_smilfit(context, 'model', 'check', source, allowed=(0, 3))
        text = bpy.data.texts.new(f'{document.get("name") or "model"} check')
        text.write('\n'.join(lines) + '\n')
        return [lines[-1], f'The findings are in the text "{text.name}".']


class TestCommand(SmilfitOperator, bpy.types.Operator):
    """Look whether smilfit is found and answers."""

    bl_idname = 'smilfit.test_command'
    bl_label = 'Look for smilfit'
    bl_options = {'REGISTER'}

    def run(self, context):
        """Ask for its version."""
        return [f'found: {run_smilfit(context, "--version")[-1]}']


_CLASSES = (ImportModel, AddShippedModel, ExportModel, CheckModel, TestCommand)


def _import_entry(self, context):
    self.layout.operator(ImportModel.bl_idname, text='smilfit body model (.smil.json, .pkl, .npz, rigs)')


def _export_entry(self, context):
    self.layout.operator(ExportModel.bl_idname, text='smilfit body model (.smil.json, .pkl, .npz, .glb)')


def register():
    """Make operators and menu entries known."""
    register_all(_CLASSES)
    bpy.types.TOPBAR_MT_file_import.append(_import_entry)
    bpy.types.TOPBAR_MT_file_export.append(_export_entry)


def unregister():
    """Take them back."""
    bpy.types.TOPBAR_MT_file_export.remove(_export_entry)
    bpy.types.TOPBAR_MT_file_import.remove(_import_entry)
    unregister_all(_CLASSES)
