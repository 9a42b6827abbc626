"""How armatures and shape keys stand where no clip moves them."""

from typing import Any

import bpy
from mathutils import Matrix


class Standing:
    """What bones and shape keys are set to before a clip is played, so that none goes on with another's pose.

    An importer poses bones as the file's nodes stand. In a .blend the pose is whatever its author looked at last, and
    bones that no clip moves are at rest.
    """

    def __init__(self, as_imported: bool) -> None:
        self.armatures = [o for o in bpy.context.scene.objects if o.type == 'ARMATURE']
        meshes = [o for o in bpy.context.scene.objects if o.type == 'MESH' and o.data.shape_keys is not None]
        self.keys: list[Any] = list(dict.fromkeys(o.data.shape_keys for o in meshes))
        self.poses = {
            (armature, bone.name): bone.matrix_basis.copy() if as_imported else Matrix()
            for armature in self.armatures
            for bone in armature.pose.bones
        }
        self.values = {(keys, key.name): key.value for keys in self.keys for key in keys.key_blocks}

    def restore(self) -> None:
        """Let nothing play, and set bones and shape keys."""
        for owner in [*self.armatures, *self.keys]:
            if owner.animation_data is not None:
                owner.animation_data.use_nla = False
                owner.animation_data.action = None
        for (armature, name), matrix in self.poses.items():
            armature.pose.bones[name].matrix_basis = matrix
        for (keys, name), value in self.values.items():
            keys.key_blocks[name].value = value
