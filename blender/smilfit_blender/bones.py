"""Joints as bones.

A bone's head is its joint, and its axes at rest are the joint's own: a pose in Blender is a pose of the model, and
limits are about the very same axes. Where it points therefore tells nothing of the body; a shape is drawn from joint
to joint instead.
"""

import math

import bpy
import numpy as np
from mathutils import Vector

from .document import axes_of, limits_of, names_of, parents_of, rest_joints, size_of
from .short_names import short_names

JOINT = 'smilfit_joint'
LIMITS = 'smilfit limits'
_SHAPE = 'smilfit bone'
# Of the mesh's size: no bone is shorter (Blender takes out bones without length), nor drawn thinner.
_SHORTEST = 0.01
# Nor the last of a limb drawn longer.
_LONGEST_END = 0.05
_FREE = math.pi - 1e-6
_AXES = 'xyz'


def build_bones(context, armature, document):
    """Make an armature's bones those of a document; bones that stay keep what else hangs on them."""
    names, parents, heads, axes = (f(document) for f in (names_of, parents_of, rest_joints, axes_of))
    shorts = short_names(names)
    ends = ends_of(parents, heads, _SHORTEST * size_of(document), _LONGEST_END * size_of(document))
    with editing(context, armature):
        bones = armature.data.edit_bones
        for bone in [b for b in bones if b.get(JOINT) is not None and b.name not in shorts]:
            bones.remove(bone)
        for j, short in enumerate(shorts):
            bone = bones.get(short) or bones.new(short)
            bone.parent = None if parents[j] < 0 else bones[shorts[parents[j]]]
            bone.use_connect = False
            bone.head = heads[j]
            bone.tail = heads[j] + float(np.linalg.norm(ends[j])) * axes[j][:, 1]
            bone.align_roll(axes[j][:, 2])
            bone.inherit_scale = 'FULL' if document.get('joint_scale_mode') == 'inherited' else 'NONE'
            bone[JOINT] = names[j]
    limits = limits_of(document)
    for j, short in enumerate(shorts):
        bone = armature.pose.bones[short]
        bone.rotation_mode = 'XYZ'
        set_limits(bone, None if limits is None else limits[j])
        _draw(bone, axes[j].T @ ends[j])


def ends_of(parents, heads, least, most):
    """Give where bones are drawn to, from their heads (J, 3): the middle of the children, or on from the parent."""
    ends = np.zeros_like(heads)
    for j in range(len(parents)):
        children = np.flatnonzero(parents == j)
        if len(children):
            ends[j] = heads[children].mean(0) - heads[j]
        elif parents[j] >= 0:
            ends[j] = 0.5 * (heads[j] - heads[parents[j]])
            # Helpers of a rig may stand far off.
            ends[j] *= min(1.0, most / max(np.linalg.norm(ends[j]), least))
    short = np.linalg.norm(ends, axis=1) < least
    ends[short] = [0.0, least, 0.0]
    return ends


class editing:
    """Edit mode of one object, with the mode and the active object as they were afterwards."""

    def __init__(self, context, target):
        self.context, self.target = context, target

    def __enter__(self):
        layer = self.context.view_layer
        self.before = layer.objects.active
        self.mode = self.before.mode if self.before is not None else 'OBJECT'
        if self.mode != 'OBJECT':
            bpy.ops.object.mode_set(mode='OBJECT')
        layer.objects.active = self.target
        bpy.ops.object.mode_set(mode='EDIT')

    def __exit__(self, *_):
        layer = self.context.view_layer
        bpy.ops.object.mode_set(mode='OBJECT')
        if self.before is not None:
            layer.objects.active = self.before
            if self.mode != 'OBJECT':
                bpy.ops.object.mode_set(mode=self.mode)


def set_limits(pose_bone, limits):
    """Put limits (3, 2), rad, on a bone, as a constraint in its own axes; none where all are free or None."""
    found = limits_constraint(pose_bone)
    if limits is None:
        if found is not None:
            pose_bone.constraints.remove(found)
        return
    if found is None:
        found = pose_bone.constraints.new('LIMIT_ROTATION')
        found.name = LIMITS
    found.owner_space = 'LOCAL'
    # Sliders of the bone's rotation stop there too.
    found.use_transform_limit = True
    for axis, (low, high) in zip(_AXES, np.asarray(limits).tolist()):
        setattr(found, f'use_limit_{axis}', not (low <= -_FREE and high >= _FREE))
        setattr(found, f'min_{axis}', low)
        setattr(found, f'max_{axis}', high)


def limits_constraint(pose_bone):
    """Give the constraint that holds a bone's limits: ours, else the first that turns about the bone's own axes."""
    found = [c for c in pose_bone.constraints if c.type == 'LIMIT_ROTATION' and c.owner_space == 'LOCAL']
    ours = [c for c in found if c.name == LIMITS]
    return (ours or found or [None])[0]


def read_limits(pose_bone):
    """Give a bone's limits (3, 2), rad: +-pi where it is free; None without a constraint."""
    found = limits_constraint(pose_bone)
    if found is None or found.mute:
        return None
    rows = [
        (getattr(found, f'min_{a}'), getattr(found, f'max_{a}'))
        if getattr(found, f'use_limit_{a}')
        else (-math.pi, math.pi)
        for a in _AXES
    ]
    return np.asarray(rows)


def _draw(pose_bone, end):
    """Draw a bone along to a point in its own axes."""
    pose_bone.custom_shape = _shape()
    pose_bone.use_custom_shape_bone_size = False
    length = float(np.linalg.norm(end))
    pose_bone.custom_shape_scale_xyz = (length, length, length)
    pose_bone.custom_shape_rotation_euler = (
        Vector((0.0, 1.0, 0.0)).rotation_difference(Vector(end)).to_euler()
    )


def _shape():
    """Give the object that bones are drawn with: Blender's own octahedron, one unit along y."""
    found = bpy.data.objects.get(_SHAPE)
    if found is None:
        mesh = bpy.data.meshes.new(_SHAPE)
        corners = [
            (0, 0, 0),
            (0.1, 0.1, 0.1),
            (0.1, 0.1, -0.1),
            (-0.1, 0.1, -0.1),
            (-0.1, 0.1, 0.1),
            (0, 1, 0),
        ]
        sides = [(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 1), (5, 2, 1), (5, 3, 2), (5, 4, 3), (5, 1, 4)]
        mesh.from_pydata(corners, [], sides)
        found = bpy.data.objects.new(_SHAPE, mesh)
    return found
