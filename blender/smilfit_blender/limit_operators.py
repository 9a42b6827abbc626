"""Buttons for joint limits of one's own: degrees about the joint's own axes."""

import math

import bpy
import numpy as np

from .bones import JOINT, read_limits, set_limits
from .errors import AddonError
from .model_building import model_of
from .operator_base import OfModel, register_all, unregister_all

_FREE = np.tile([-math.pi, math.pi], (3, 1))


def chosen_bones(context, armature):
    """Give the bones that are selected (in pose mode; else the active one).

    Raises:
        AddonError: none is.
    """
    bones = [
        armature.pose.bones[bone.name] for bone in armature.data.bones if bone.select and bone.get(JOINT)
    ]
    active = armature.data.bones.active
    if not bones and active is not None:
        bones = [armature.pose.bones[active.name]]
    if not bones:
        raise AddonError('A bone must be selected (in pose mode); none is.')
    return bones


class SetLimits(OfModel, bpy.types.Operator):
    """How far the selected bones may turn about their own x, y and z, in degrees from rest."""

    bl_idname = 'smilfit.set_limits'
    bl_label = 'Set limits'

    least: bpy.props.FloatVectorProperty(name='Least', subtype='EULER', min=-2 * math.pi, max=2 * math.pi)
    greatest: bpy.props.FloatVectorProperty(
        name='Greatest', subtype='EULER', min=-2 * math.pi, max=2 * math.pi
    )

    def invoke(self, context, event):
        """Begin with the limits that the first bone has."""
        try:
            limits = read_limits(chosen_bones(context, model_of(context)[0])[0])
        except AddonError as error:
            self.report({'ERROR'}, str(error))
            return {'CANCELLED'}
        self.least, self.greatest = (_FREE if limits is None else limits).T.tolist()
        return context.window_manager.invoke_props_dialog(self)

    def run(self, context):
        """Set them."""
        limits = np.stack((np.array(self.least), np.array(self.greatest)), 1)
        for axis, (low, high) in zip('xyz', limits.tolist()):
            if low > high:
                raise AddonError(
                    f'{axis}: the least angle must be below the greatest; got {math.degrees(low):.1f} and '
                    f'{math.degrees(high):.1f}.'
                )
        bones = chosen_bones(context, model_of(context)[0])
        for bone in bones:
            set_limits(bone, limits)
        return [f'limits of {len(bones)} bones were set']


class FreeLimits(OfModel, bpy.types.Operator):
    """Let the selected bones turn as they like."""

    bl_idname = 'smilfit.free_limits'
    bl_label = 'Free'

    def run(self, context):
        """Free them."""
        bones = chosen_bones(context, model_of(context)[0])
        for bone in bones:
            set_limits(bone, None)
        return [f'{len(bones)} bones turn freely']


class LimitsFromMotion(OfModel, bpy.types.Operator):
    """Limits as far as the selected bones turn in the action, and a margin more."""

    bl_idname = 'smilfit.limits_from_motion'
    bl_label = 'From the motion'

    margin: bpy.props.FloatProperty(
        name='Margin', subtype='ANGLE', default=math.radians(15), min=0.0, max=math.pi
    )

    def run(self, context):
        """Look at every frame of the scene."""
        armature, _ = model_of(context)
        bones, scene = chosen_bones(context, armature), context.scene
        if armature.animation_data is None or armature.animation_data.action is None:
            raise AddonError(
                f'{armature.name}: must have an action; it has none. Pose it and set keys first.'
            )
        before, seen = scene.frame_current, {bone.name: [] for bone in bones}
        muted = [c for bone in bones for c in bone.constraints if c.type == 'LIMIT_ROTATION' and not c.mute]
        for constraint in muted:
            constraint.mute = True
        for frame in range(scene.frame_start, scene.frame_end + 1):
            scene.frame_set(frame)
            for bone in bones:
                turn = bone.matrix_basis.to_quaternion()
                axis, angle = turn.to_axis_angle()
                angle = angle - 2 * math.pi if angle > math.pi else angle
                seen[bone.name].append(np.array(axis) * angle)
        scene.frame_set(before)
        for constraint in muted:
            constraint.mute = False
        for bone in bones:
            turns = np.stack(seen[bone.name])
            low, high = np.minimum(turns.min(0), 0) - self.margin, np.maximum(turns.max(0), 0) + self.margin
            set_limits(bone, np.clip(np.stack((low, high), 1), -math.pi, math.pi))
        return [
            f'limits of {len(bones)} bones were taken from {scene.frame_end - scene.frame_start + 1} frames'
        ]


_CLASSES = (SetLimits, FreeLimits, LimitsFromMotion)


def register():
    """Make the operators known."""
    register_all(_CLASSES)


def unregister():
    """Take them back."""
    unregister_all(_CLASSES)
