"""Buttons that change a model: weights, symmetry, joints."""

import bpy

from .bones import build_bones
from .document import names_of, regressed_joints
from .errors import AddonError
from .model_building import document_of, model_of, rest_points
from .model_files import change_model
from .operator_base import OfModel, register_all, unregister_all


class CleanWeights(OfModel, bpy.types.Operator):
    """Few weights a vertex, none that is next to nothing, sums of one."""

    bl_idname = 'smilfit.clean_weights'
    bl_label = 'Clean weights'

    most: bpy.props.IntProperty(
        name='Joints a vertex', description='The heaviest stay', default=4, min=1, max=64
    )
    least: bpy.props.FloatProperty(
        name='Least weight', description='Smaller ones go', default=0.001, min=0.0, max=0.5, precision=4
    )
    hang: bpy.props.BoolProperty(
        name='Hang what is loose',
        description='Vertices without weights go to the bone that is nearest',
        default=True,
    )

    def run(self, context):
        """Clean."""
        armature, body = model_of(context)
        hung = _hang_loose(armature, body) if self.hang else 0
        told = [f'{hung} vertices without weights were hung on the nearest bone'] if hung else []
        options = ('--most-weights', self.most, '--least-weight', self.least)
        return told + change_model(context, armature, body, 'edit', *options)


class Mend(OfModel, bpy.types.Operator):
    """Take out bad faces and loose vertices; pair left and right; make limits the same on both sides."""

    bl_idname = 'smilfit.mend'
    bl_label = 'Mend'

    symmetric_limits: bpy.props.BoolProperty(name='Limits the same on both sides', default=True)

    def run(self, context):
        """Mend."""
        options = ['--symmetry-from-names', *(['--symmetrise-limits'] if self.symmetric_limits else [])]
        return change_model(context, *model_of(context), 'clean', *options)


class Symmetrise(OfModel, bpy.types.Operator):
    """Make skin, weights, joints and shapes of both sides mirror images, across whatever plane mirrors the body."""

    bl_idname = 'smilfit.symmetrise'
    bl_label = 'Symmetrise'

    side: bpy.props.EnumProperty(
        name='From',
        items=(
            ('mean', 'Mean of both', 'Each side gives half'),
            ('left', 'Left', 'The left side is mirrored to the right'),
            ('right', 'Right', 'The right side is mirrored to the left'),
        ),
    )

    def run(self, context):
        """Symmetrise."""
        return change_model(context, *model_of(context), 'edit', '--symmetrise', self.side)


class RecomputeJoints(OfModel, bpy.types.Operator):
    """Put joints anew, from the skin."""

    bl_idname = 'smilfit.recompute_joints'
    bl_label = 'Recompute joints'

    method: bpy.props.EnumProperty(
        name='Where',
        items=(
            ('regressor', 'Where the regressor says', 'After the skin was sculpted: bones follow it'),
            (
                'ring',
                'Between the parts',
                'In the middle of the skin that hangs on a joint and on its parent alike',
            ),
            (
                'fit',
                'Where the bones are',
                'They stay; a new regressor is fitted to them, so that shapes move them',
            ),
        ),
    )

    def run(self, context):
        """Recompute."""
        armature, body = model_of(context)
        if self.method != 'regressor':
            return change_model(context, armature, body, 'edit', '--joints', self.method)
        return _follow_skin(context, armature, body)


def _follow_skin(context, armature, body):
    """Put bones where the regressor puts them on the skin as it is now."""
    document = document_of(body)
    rest = rest_points(body)
    if document.get('joint_regressor') is None:
        raise AddonError(
            'The model must have a joint regressor for this; it has none. "Where the bones are" makes one.'
        )
    if len(rest) != len(document['vertices']):
        raise AddonError(
            'The vertices must be those of the model; some came or went. Use "Between the parts".'
        )
    before = {bone.name: bone.head_local.copy() for bone in armature.data.bones}
    places = regressed_joints(document, rest).tolist()
    joints = [dict(joint, position=place) for joint, place in zip(document['joints'], places)]
    build_bones(context, armature, dict(document, joints=joints))
    moved = max(
        (armature.data.bones[n].head_local - h).length for n, h in before.items() if n in armature.data.bones
    )
    return [
        f'{len(names_of(document))} joints are where the regressor puts them; they moved by up to {moved:.3g}'
    ]


def _hang_loose(armature, body):
    """Hang vertices without any bone's weight on the nearest bone; gives how many."""
    bones = {bone.name: bone for bone in armature.data.bones}
    groups = {group.index for group in body.vertex_groups if group.name in bones}
    loose = [
        v.index for v in body.data.vertices if not any(g.weight > 0 and g.group in groups for g in v.groups)
    ]
    points = rest_points(body)
    for index in loose:
        nearest = min(bones.values(), key=lambda bone: sum((points[index] - bone.head_local) ** 2))
        group = body.vertex_groups.get(nearest.name) or body.vertex_groups.new(name=nearest.name)
        group.add([index], 1.0, 'REPLACE')
    return len(loose)


_CLASSES = (CleanWeights, Mend, Symmetrise, RecomputeJoints)


def register():
    """Make the operators known."""
    register_all(_CLASSES)


def unregister():
    """Take them back."""
    unregister_all(_CLASSES)
