"""What of a rig a body model does not have: counted and told."""

from collections import Counter

from meshes import SkinnedMeshes
from skeletons import Skeleton, armature_modifiers

# These say how far a joint turns; they are no machinery.
_LIMITS = ('LIMIT_ROTATION', 'LIMIT_LOCATION', 'LIMIT_SCALE')


def told_features(skeleton: Skeleton, meshes: SkinnedMeshes, notes: list[str]) -> None:
    """Tell constraints, drivers and kinds of skinning that only work inside Blender."""
    kinds: Counter[str] = Counter()
    for armature in skeleton.armatures:
        kinds.update(
            c.type for bone in armature.pose.bones for c in bone.constraints if c.type not in _LIMITS
        )
    if kinds:
        words = ', '.join(
            f'{count} {kind.replace("_", " ").capitalize()}' for kind, count in sorted(kinds.items())
        )
        notes.append(f'constraints of bones have moved the clips and are not part of the model: {words}.')
    drivers = sum(
        len(owner.animation_data.drivers)
        for thing in [*skeleton.armatures, *(t.data.shape_keys for t in meshes.objects)]
        for owner in (thing, getattr(thing, 'data', None))
        if owner is not None and owner.animation_data is not None
    )
    if drivers:
        notes.append(f'{drivers} drivers have moved the clips and are not part of the model.')
    soft = sum(bone.bbone_segments > 1 for bone in skeleton.bones)
    if soft:
        notes.append(f'{soft} bones bend (B-bones): they are straight in the model.')
    volume = [t.name for t in meshes.objects for m in armature_modifiers(t) if m.use_deform_preserve_volume]
    if volume:
        notes.append(
            f'{len(volume)} meshes preserve volume (dual quaternions), where the model skins linearly: '
            f'{", ".join(volume[:5])}.'
        )
    masked = [
        t.name
        for t in meshes.objects
        for m in armature_modifiers(t)
        if m.vertex_group or m.use_bone_envelopes
    ]
    if masked:
        notes.append(f'envelopes or masks of armatures are left out: {", ".join(masked[:5])}.')
