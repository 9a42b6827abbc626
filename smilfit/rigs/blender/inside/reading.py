"""Read a rigged animal with Blender: `reading.py RIG ARMATURE OUT.npz`, an empty ARMATURE for the only one.

Runs inside Blender, as the other files of this folder, and is never imported by smilfit. What it writes is put
together there: arrays, and under `document` what they are, as JSON.
"""

import json
import os
import sys
from collections import Counter

import bpy
import numpy as np
from clips import Standing, read_clips
from meshes import SkinnedMeshes
from skeletons import RefusedError, Skeleton, armature_modifiers, rest_pose

# These say how far a joint turns; they are no machinery.
_LIMITS = ('LIMIT_ROTATION', 'LIMIT_LOCATION', 'LIMIT_SCALE')


def main() -> None:
    """Read the file and write what came out."""
    path, wanted, out = sys.argv[1:4]
    notes: list[str] = []
    open_file(path, notes)
    standing = Standing(as_imported=not path.lower().endswith('.blend'))
    # What importers left is evaluated first: rest joints and rest vertices must be of one frame.
    bpy.context.scene.frame_set(bpy.context.scene.frame_current)
    skeleton = Skeleton.of_scene(wanted, notes)
    arrays: dict[str, np.ndarray] = {}
    with rest_pose(skeleton.armatures):
        arrays['rest'] = skeleton.rest()
        meshes = SkinnedMeshes(skeleton, notes)
        meshes.write(arrays)
    clips = read_clips(skeleton, meshes, standing, arrays, notes)
    report_features(skeleton, meshes, notes)
    if getattr(bpy.app, 'autoexec_fail', False):
        notes.append(
            'the file holds Python code (drivers or scripts), which was not run: what it moves stands as it was '
            'saved.'
        )
    document = {
        'blender': bpy.app.version_string,
        'metres': bpy.context.scene.unit_settings.scale_length,
        'joints': [
            {'name': bone.name, 'parent': parent} for bone, parent in zip(skeleton.bones, skeleton.parents)
        ],
        'meshes': meshes.entries,
        'clips': clips,
        'notes': notes,
    }
    arrays['document'] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(out, **arrays)  # type: ignore[arg-type]


def open_file(path: str, notes: list[str]) -> None:
    """Open a file; no code of its runs."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == '.blend':
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)
        lost = [library.filepath for library in bpy.data.libraries if library.is_missing]
        if lost:
            notes.append(f'{len(lost)} linked files are missing: {", ".join(sorted(lost)[:5])}.')
        return
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # Times of a file without a rate of its own are seconds.
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 30, 1.0
    if suffix == '.fbx':
        _open_fbx(path)
    elif 'collada_import' not in dir(bpy.ops.wm):
        raise RefusedError(
            f'Collada (.dae) must be read by Blender 4.5 or older, with Collada; this is Blender '
            f'{bpy.app.version_string}, which has none. Set SMILFIT_BLENDER to Blender 4.5, or export the rig as '
            'glTF 2.0 (.glb) or .fbx.'
        )
    else:
        bpy.ops.wm.collada_import(filepath=path, import_units=False)


def _open_fbx(path: str) -> None:
    """Read FBX, binary or text, by the importer of Blender 4.5; older ones have one that reads newer binary files."""
    if 'fbx_import' in dir(bpy.ops.wm):
        bpy.ops.wm.fbx_import(filepath=path, anim_offset=0.0, use_custom_props=False)
    else:
        bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0, use_custom_props=False)


def report_features(skeleton: Skeleton, meshes: SkinnedMeshes, notes: list[str]) -> None:
    """Report constraints, drivers and kinds of skinning that only work inside Blender."""
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


if __name__ == '__main__':
    main()
