"""Read a rigged animal with Blender: `reading.py RIG ARMATURE OUT.npz`, an empty ARMATURE for the only one.

Runs inside Blender, as the other files of this folder, and is never imported by smilfit. What it writes is put
together there: arrays, and under `document` what they are, as JSON.
"""

import json
import sys

import bpy
import numpy as np
from clips import read_clips
from features import told_features
from meshes import SkinnedMeshes
from opening import open_file
from skeletons import Skeleton, rest_pose
from standing import Standing


def main() -> None:
    """Read the file and write what was found."""
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
    told_features(skeleton, meshes, notes)
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


main()
