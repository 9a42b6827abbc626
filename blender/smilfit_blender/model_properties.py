"""What a model states of itself and Blender has no place for: properties of its mesh, to look at and to change."""

import bpy

# As keys of the document.
PROPERTIES = ('unit', 'up_axis', 'forward_axis', 'joint_scale_mode', 'licence', 'version')


class SmilfitModel(bpy.types.PropertyGroup):
    """Of a body model's mesh."""

    unit: bpy.props.StringProperty(name='Unit', description='Of lengths: mm, cm, m or um. Changes no number')
    up_axis: bpy.props.StringProperty(name='Up', description="The model's axis that points up, such as +z")
    forward_axis: bpy.props.StringProperty(
        name='Forward', description="The model's axis that points forward, such as +x"
    )
    joint_scale_mode: bpy.props.StringProperty(
        name='Joint scales', description='local: children do not inherit them; inherited: they do'
    )
    licence: bpy.props.StringProperty(name='Licence')
    version: bpy.props.StringProperty(name='Version')
    scans: bpy.props.StringProperty(
        name='Registrations', description='Folder whose specimens are shape keys', subtype='DIR_PATH'
    )


def register():
    """Make the properties known."""
    bpy.utils.register_class(SmilfitModel)
    bpy.types.Mesh.smilfit = bpy.props.PointerProperty(type=SmilfitModel)


def unregister():
    """Take them back."""
    del bpy.types.Mesh.smilfit
    bpy.utils.unregister_class(SmilfitModel)
