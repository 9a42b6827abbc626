"""Inside Blender: open a .glb and save it as .blend, plain and compressed, .fbx and .dae: `GLB FOLDER CLIP RATE`."""

import sys

import bpy

source, folder, clip, rate = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.context.scene.render.fps = int(rate)
bpy.ops.import_scene.gltf(filepath=source)
for thing in [o for o in bpy.data.objects if o.name.startswith('Icosphere')]:
    # What the importer shows bones as.
    bpy.data.objects.remove(thing)
bpy.ops.wm.save_as_mainfile(filepath=f'{folder}/animal.blend', copy=True)
bpy.ops.wm.save_as_mainfile(filepath=f'{folder}/packed.blend', copy=True, compress=True)
bpy.ops.export_scene.fbx(
    filepath=f'{folder}/animal.fbx',
    add_leaf_bones=False,
    bake_anim_simplify_factor=0.0,
    path_mode='COPY',
    embed_textures=True,
)
# Collada holds one motion alone: the one that plays.
(armature,) = [o for o in bpy.data.objects if o.type == 'ARMATURE']
action = bpy.data.actions[clip]
armature.animation_data.use_nla = False
armature.animation_data.action = action
armature.animation_data.action_slot = action.slots[0]
scene = bpy.context.scene
scene.frame_start, scene.frame_end = (round(frame) for frame in action.frame_range)
bpy.ops.wm.collada_export(filepath=f'{folder}/animal.dae')
