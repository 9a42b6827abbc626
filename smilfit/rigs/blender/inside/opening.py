"""Open a file of another program, or of Blender, as the scene."""

import os

import bpy


class RefusedError(Exception):
    """A file that cannot be a rig: the message says the rule, what was found and what to do."""


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
