"""The tab "smilfit" in the 3D viewport's sidebar."""

import bpy

from .model_building import DOCUMENT
from .model_properties import PROPERTIES
from .operator_base import register_all, unregister_all

_TAB = 'smilfit'


class _Panel:
    bl_space_type = 'VIEW_3D'
    bl_region_type = 'UI'
    bl_category = _TAB


def _body(context):
    """Give the chosen model's mesh; None without one."""
    active = context.active_object
    if active is None:
        return None
    near = [active, *active.children]
    return next((one for one in near if one.type == 'MESH' and DOCUMENT in one.data), None)


class ModelPanel(_Panel, bpy.types.Panel):
    """Models in and out, and what they state of themselves."""

    bl_idname = 'SMILFIT_PT_model'
    bl_label = 'Body model'

    def draw(self, context):
        """Draw it."""
        layout = self.layout
        row = layout.row(align=True)
        row.operator('smilfit.import_model', text='Import')
        row.operator('smilfit.export_model', text='Export')
        layout.operator_menu_enum('smilfit.add_shipped_model', 'model')
        body = _body(context)
        if body is None:
            layout.label(text='No body model is chosen')
            return
        column = layout.column()
        for key in PROPERTIES:
            column.prop(body.data.smilfit, key)
        layout.operator('smilfit.check_model')


class EditPanel(_Panel, bpy.types.Panel):
    """What changes a model."""

    bl_idname = 'SMILFIT_PT_edit'
    bl_label = 'Change'

    def draw(self, context):
        """Draw it."""
        column = self.layout.column()
        column.operator('smilfit.clean_weights')
        column.operator('smilfit.mend')
        column.operator_menu_enum('smilfit.symmetrise', 'side')
        column.operator_menu_enum('smilfit.recompute_joints', 'method')


class LimitPanel(_Panel, bpy.types.Panel):
    """Joint limits."""

    bl_idname = 'SMILFIT_PT_limits'
    bl_label = 'Joint limits'

    def draw(self, context):
        """Draw it."""
        column = self.layout.column()
        column.operator('smilfit.set_limits')
        column.operator('smilfit.limits_from_motion')
        column.operator('smilfit.free_limits')


class ScanPanel(_Panel, bpy.types.Panel):
    """Registered scans."""

    bl_idname = 'SMILFIT_PT_scans'
    bl_label = 'Scans'

    def draw(self, context):
        """Draw it."""
        column = self.layout.column()
        column.operator('smilfit.import_registrations')
        column.operator('smilfit.make_shape_space')


class FitPanel(_Panel, bpy.types.Panel):
    """Fits and cameras."""

    bl_idname = 'SMILFIT_PT_fits'
    bl_label = 'Fits'

    def draw(self, context):
        """Draw it."""
        column = self.layout.column()
        column.operator('smilfit.import_fit')
        column.operator('smilfit.look_through')
        column.operator('smilfit.export_gltf')


_CLASSES = (ModelPanel, EditPanel, LimitPanel, ScanPanel, FitPanel)


def register():
    """Make the panels known."""
    register_all(_CLASSES)


def unregister():
    """Take them back."""
    unregister_all(_CLASSES)
