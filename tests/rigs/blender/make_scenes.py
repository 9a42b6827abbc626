"""Inside Blender: make small scenes of what artists' files hold, and save each: `FOLDER [SCENE]`.

A worm lies along x, of three bones of length 1 and a box of four rings; a scene adds one thing to it.
"""

import sys

import bpy

FOLDER = sys.argv[1]
BONES = 3


def spine(name='worm', at=0.0):
    """Make an armature."""
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode='EDIT')
    above = None
    for j in range(BONES):
        bone = armature.data.edit_bones.new(f'bone{j}')
        bone.head, bone.tail = (j, at, 0), (j + 1, at, 0)
        bone.parent, above = above, bone
    bpy.ops.object.mode_set(mode='OBJECT')
    return armature


def skin_of(armature, points, edges, faces, rows):
    """Make a mesh of an armature; `rows` are the vertices that each bone moves."""
    mesh = bpy.data.meshes.new(f'{armature.name} skin')
    mesh.from_pydata(points, edges, faces)
    skin = bpy.data.objects.new(mesh.name, mesh)
    bpy.context.scene.collection.objects.link(skin)
    for bone, vertices in rows.items():
        skin.vertex_groups.new(name=bone).add(vertices, 0.5, 'REPLACE')
    skin.parent = armature
    skin.modifiers.new('bones', 'ARMATURE').object = armature
    return skin


def worm(name='worm', at=0.0):
    """Make an armature and a mesh that it moves, one ring of four corners at every joint and the end."""
    armature = spine(name, at)
    rings = [
        [(x, at + y, z) for y, z in ((-0.2, -0.2), (0.2, -0.2), (0.2, 0.2), (-0.2, 0.2))] for x in range(4)
    ]
    sides = [
        [4 * i + k, 4 * i + (k + 1) % 4, 4 * i + 4 + (k + 1) % 4, 4 * i + 4 + k]
        for i in range(3)
        for k in range(4)
    ]
    rows = {f'bone{j}': range(4 * j, 4 * j + 8) for j in range(BONES)}
    points = [p for ring in rings for p in ring]
    return armature, skin_of(armature, points, [], [*sides, [3, 2, 1, 0], [12, 13, 14, 15]], rows)


def bend(armature, name='bend', angle=0.6):
    """Turn the middle bone over frames 1 to 5."""
    armature.animation_data_create().action = bpy.data.actions.new(name)
    bone = armature.pose.bones['bone1']
    bone.rotation_mode = 'XYZ'
    for frame, share in ((1, 0.0), (5, 1.0)):
        bone.rotation_euler = (0, 0, share * angle)
        bone.keyframe_insert('rotation_euler', frame=frame)


def cube(name, at):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(at, 0, 1), (at + 0.1, 0, 1), (at, 0.1, 1)], [], [(0, 1, 2)])
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def plain():
    bend(worm()[0])


def walking():
    armature, _ = worm()
    bend(armature)
    for frame in (1, 5):
        armature.location.y = frame
        armature.keyframe_insert('location', frame=frame)
    # The same action moves bones and armature: both are the clip.


def two_animals():
    worm('left', -1)
    worm('right', 1)


def one_of_two():
    worm()
    other = worm('empty', 1)
    bpy.data.objects.remove(other[1])


def no_mesh():
    bpy.data.objects.remove(worm()[1])


def no_armature():
    bpy.data.objects.remove(worm()[0])


def only_points():
    skin_of(spine(), [(0, 0, 0), (1, 0, 0)], [(0, 1)], [], {'bone0': [0, 1]})


def mirrored():
    """Half a worm (y < 0) that a modifier makes whole, and another one smoothes."""
    armature = spine()
    points = [(0, -0.2, 0), (3, -0.2, 0), (3, -0.2, 1), (0, -0.2, 1)]
    skin = skin_of(armature, points, [], [[3, 2, 1, 0]], {'bone0': [0, 3], 'bone2': [1, 2]})
    skin.modifiers.clear()
    skin.modifiers.new('mirror', 'MIRROR').use_axis = (False, True, False)
    skin.modifiers.new('subdivision', 'SUBSURF')
    skin.modifiers.new('bones', 'ARMATURE').object = armature
    bend(armature)


def shape_keys():
    """Two keys, one animated with the bones, and one relative to another."""
    armature, skin = worm()
    bend(armature)
    skin.shape_key_add(name='Basis')
    fat, fatter = skin.shape_key_add(name='fat'), skin.shape_key_add(name='fatter')
    for i, point in enumerate(skin.data.vertices):
        fat.data[i].co = point.co * 1.5
        fatter.data[i].co = fat.data[i].co + fat.data[i].co.normalized()
    fatter.relative_key = fat
    keys = skin.data.shape_keys
    keys.animation_data_create().action = bpy.data.actions.new('breathe')
    for frame, value in ((1, 0.0), (5, 1.0)):
        fat.value = value
        fat.keyframe_insert('value', frame=frame)


def hanging():
    """An eye on a bone, an eyelid on the eye, a rock on nothing."""
    armature, _ = worm()
    bend(armature)
    eye, lid = cube('eye', 2.5), cube('lid', 2.6)
    bpy.context.view_layer.update()
    eye.parent, eye.parent_type, eye.parent_bone = armature, 'BONE', 'bone2'
    bone = armature.data.bones['bone2']
    eye.matrix_parent_inverse = (armature.matrix_world @ bone.matrix_local).inverted()
    eye.matrix_parent_inverse.translation.y -= bone.length
    lid.parent = eye
    cube('rock', 9)


def controls():
    """A bone that inverse kinematics follow, and a tail that moves nothing but is no control."""
    armature, _ = worm()
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode='EDIT')
    for name, head in (('target', (3, 0, 0)), ('tip', (3, 0, 0))):
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail, bone.use_deform = head, (4, 0, 0), False
        if name == 'tip':
            bone.parent = armature.data.edit_bones['bone2']
    bpy.ops.object.mode_set(mode='OBJECT')
    follow = armature.pose.bones['bone2'].constraints.new('IK')
    follow.target, follow.subtarget = armature, 'target'
    armature.animation_data_create().action = bpy.data.actions.new('reach')
    target = armature.pose.bones['target']
    for frame, up in ((1, 0.0), (5, 1.0)):
        target.location = (0, 0, up)
        target.keyframe_insert('location', frame=frame)


def code():
    """A text block that registers itself, and a driver in Python that is more than a formula: both write a file."""
    armature, _ = worm()
    bend(armature)
    text = bpy.data.texts.new('start.py')
    text.write(f'open({FOLDER + "/ran_text"!r}, "w").close()')
    text.use_module = True
    driver = armature.pose.bones['bone0'].driver_add('location', 0).driver
    driver.type = 'SCRIPTED'
    driver.expression = f'len([open({FOLDER + "/ran_driver"!r}, "w").close()]) * 7'


def two_clips():
    """Two actions of two bones, the first of which was looked at last, in its last frame."""
    armature, _ = worm()
    bend(armature, 'first')
    second = armature.animation_data.action = bpy.data.actions.new('second')
    bone = armature.pose.bones['bone2']
    bone.rotation_mode = 'XYZ'
    for frame in (1, 5):
        bone.rotation_euler = (0, 0, 0.3)
        bone.keyframe_insert('rotation_euler', frame=frame)
    first = armature.animation_data.action = bpy.data.actions['first']
    if hasattr(first, 'slots'):
        armature.animation_data.action_slot = first.slots[0]
    second.use_fake_user = True
    bpy.context.scene.frame_set(5)


def centimetres():
    bend(worm()[0])
    bpy.context.scene.unit_settings.scale_length = 0.01


def preserving_volume():
    armature, skin = worm()
    skin.modifiers[0].use_deform_preserve_volume = True
    bend(armature, angle=2.0)


def textured():
    """Two images, one of them missing; each side shows the whole of the other one."""
    _, skin = worm()
    painted, gone = bpy.data.images.new('painted', 4, 4), bpy.data.images.new('gone', 1, 1)
    painted.pack()
    gone.source, gone.filepath = 'FILE', '//textures/gone.png'
    for image in (painted, gone):
        material = bpy.data.materials.new(image.name)
        material.use_nodes = True
        node = material.node_tree.nodes.new('ShaderNodeTexImage')
        node.image = image
        shader = next(n for n in material.node_tree.nodes if n.type == 'BSDF_PRINCIPLED')
        material.node_tree.links.new(node.outputs['Color'], shader.inputs['Base Color'])
        skin.data.materials.append(material)
    layer = skin.data.uv_layers.new()
    for polygon in skin.data.polygons:
        polygon.material_index = int(polygon.index > 11)
        for place, corner in zip(((0, 0), (1, 0), (1, 1), (0, 1)), polygon.loop_indices):
            layer.data[corner].uv = place


for scene in (
    plain, walking, two_clips, two_animals, one_of_two, no_mesh, no_armature, only_points, mirrored, shape_keys,
    hanging, controls, code, centimetres, preserving_volume, textured,
):  # fmt: skip
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene()
    bpy.ops.wm.save_as_mainfile(filepath=f'{FOLDER}/{scene.__name__}.blend', copy=True)
    if scene is plain:
        bpy.ops.export_scene.fbx(
            filepath=f'{FOLDER}/plain.fbx', add_leaf_bones=False, bake_anim_simplify_factor=0.0
        )
        bpy.ops.wm.collada_export(filepath=f'{FOLDER}/plain.dae')
        bpy.ops.wm.save_as_mainfile(filepath=f'{FOLDER}/packed.blend', copy=True, compress=True)
