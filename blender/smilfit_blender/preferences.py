"""Where smilfit is."""

import bpy

from .commands import VARIABLE


class SmilfitPreferences(bpy.types.AddonPreferences):
    """Which Python runs smilfit's commands."""

    bl_idname = __package__

    python: bpy.props.StringProperty(
        name='Python with smilfit',
        description=f'A Python that has smilfit, or the program smilfit. Empty: {VARIABLE}, else smilfit on the PATH',
        subtype='FILE_PATH',
    )

    def draw(self, context):
        """Draw the preferences."""
        self.layout.prop(self, 'python')
        self.layout.operator('smilfit.test_command')


def register():
    """Make the preferences known."""
    bpy.utils.register_class(SmilfitPreferences)


def unregister():
    """Take them back."""
    bpy.utils.unregister_class(SmilfitPreferences)
