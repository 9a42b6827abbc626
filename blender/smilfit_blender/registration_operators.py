"""Buttons for registered scans: as shape keys, and their principal components as a new model."""

import tempfile
from pathlib import Path

import bpy
import numpy as np

from .commands import run_smilfit
from .document import read_document, write_document
from .errors import AddonError
from .model_building import add_key, document_of, keys_of, model_of, new_model, rest_points, triangles_of
from .model_files import SUFFIX
from .operator_base import OfModel, register_all, unregister_all
from .registrations import find_registrations, read_registration
from .short_names import SCAN, shortened


class ImportRegistrations(OfModel, bpy.types.Operator):
    """Show registered specimens as shape keys of the chosen model, in its rest pose."""

    bl_idname = 'smilfit.import_registrations'
    bl_label = 'Import registrations'

    directory: bpy.props.StringProperty(
        name='Folder', description='That smilfit register wrote', subtype='DIR_PATH'
    )
    filter_folder: bpy.props.BoolProperty(default=True, options={'HIDDEN'})

    def invoke(self, context, event):
        """Ask for the folder."""
        context.window_manager.fileselect_add(self)
        return {'RUNNING_MODAL'}

    def run(self, context):
        """Import all specimens that are of this model."""
        _, body = model_of(context)
        rest, faces, told, count = rest_points(body), triangles_of(body.data), [], 0
        if body.data.shape_keys is None:
            body.shape_key_add(name='Basis', from_mix=False)
        there = {key.name: key for key in keys_of(body)}
        files = find_registrations(self.directory)
        for file in files:
            try:
                name, points, of_faces = read_registration(file)
            except AddonError as error:
                told.append(f'left out: {error}')
                continue
            if points.shape != rest.shape or not (of_faces is None or np.array_equal(of_faces, faces)):
                told.append(
                    f'left out: {name} must have vertices and faces of the model ({len(rest)}); it has others '
                    f'({len(points)})'
                )
                continue
            key_name = shortened(f'{SCAN}{name}')
            if key_name in there:
                body.shape_key_remove(there[key_name])
            add_key(body, key_name, points)
            count += 1
        if not count:
            raise AddonError(f'{self.directory}: no registration is of this model. {"; ".join(told[:3])}')
        body.data.smilfit.scans = self.directory
        return [*told, f'{count} of {len(files)} specimens are shape keys now']


class MakeShapeSpace(OfModel, bpy.types.Operator):
    """Principal components of the registered specimens, as a new model beside this one."""

    bl_idname = 'smilfit.make_shape_space'
    bl_label = 'Make shape space'

    components: bpy.props.IntProperty(
        name='Components', description='Shape coefficients, of each block', default=5, min=1, max=200
    )
    form: bpy.props.EnumProperty(
        name='Form',
        items=(
            ('entangled', 'Entangled', 'Vertices, joint scales and joint offsets together'),
            ('disentangled', 'Disentangled', 'Coefficients of each alone'),
            ('vertices', 'Vertices', 'Of the rest vertices alone'),
        ),
    )
    keep_size: bpy.props.BoolProperty(
        name='Size is a part', description='Else all are brought to one size first', default=False
    )

    def run(self, context):
        """Let smilfit make it, and import it."""
        _, body = model_of(context)
        folder = body.data.smilfit.scans
        if not folder:
            raise AddonError('Registrations must be imported first; none are.')
        before = document_of(body)
        name = f'{before.get("name") or "model"}_space'
        with tempfile.TemporaryDirectory(prefix='smilfit-') as temporary:
            model, out = Path(temporary) / f'model{SUFFIX}', Path(temporary) / f'{name}{SUFFIX}'
            # As it was imported: registrations are of that one.
            write_document(before, model)
            size = 'keep' if self.keep_size else 'remove'
            options = (
                '--form',
                self.form,
                '--components',
                self.components,
                '--size',
                size,
                '--body-model',
                model,
            )
            lines = run_smilfit(context, 'model', 'shape-space', folder, out, *options)
            document = read_document(out)
        new_model(context, document, name)
        return [line.strip() for line in lines if not line.startswith('written')]


_CLASSES = (ImportRegistrations, MakeShapeSpace)


def register():
    """Make the operators known."""
    register_all(_CLASSES)


def unregister():
    """Take them back."""
    unregister_all(_CLASSES)
