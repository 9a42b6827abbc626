"""What all operators share: failures become words for the user."""

import bpy

from .errors import AddonError


class SmilfitOperator:
    """An operator whose `run(context)` says in words what it did; what it raises as `AddonError` is reported."""

    bl_options = {'REGISTER', 'UNDO'}

    def execute(self, context):
        """Run, and report."""
        try:
            said = self.run(context)
        except AddonError as error:
            self.report({'ERROR'}, str(error))
            return {'CANCELLED'}
        except OSError as error:
            self.report({'ERROR'}, f'{error.filename or "file"}: {error.strerror}')
            return {'CANCELLED'}
        for line in said or ():
            self.report({'INFO'}, line)
        return {'FINISHED'}


class OfModel(SmilfitOperator):
    """An operator of a chosen model."""

    @classmethod
    def poll(cls, context):
        """Only with something chosen; what it is, `model_of` says in words."""
        return context.active_object is not None


def register_all(classes):
    """Make classes known to Blender."""
    for one in classes:
        bpy.utils.register_class(one)


def unregister_all(classes):
    """Take them back, the last first."""
    for one in reversed(classes):
        bpy.utils.unregister_class(one)
