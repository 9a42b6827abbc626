"""What runs inside Blender: installs the add-on from its archive, presses its buttons, writes down what became of it.

`in_blender.py -- JOB.json`; the job names files, and the tests look at `found.json` and the arrays beside it.
"""

import json
import os
import sys
from pathlib import Path

import addon_utils
import bmesh
import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view

JOB = json.loads(Path(sys.argv[1]).read_text())
OUT = Path(JOB['out'])
FOUND, MODULE = {}, 'bl_ext.user_default.smilfit_blender'


def main():
    """Press all buttons."""
    os.environ |= JOB['environment']
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    install()
    for step in (
        round_trip,
        edits,
        limits,
        mesh_edits,
        cleaning,
        mending,
        scans,
        joints_of_skin,
        fits,
        faults,
        saved_file,
        uninstall,
    ):
        clear()
        step()
    (OUT / 'found.json').write_text(json.dumps(FOUND))


def install():
    """As the user does: from disk."""
    repository = next(r for r in bpy.context.preferences.extensions.repos if r.module == 'user_default')
    repository.use_custom_directory = False
    FOUND['installed'] = list(
        bpy.ops.extensions.package_install_files(
            filepath=JOB['zip'], repo='user_default', enable_on_install=True
        )
    )
    FOUND['enabled'] = MODULE in bpy.context.preferences.addons
    FOUND['version'] = list(addon_utils.module_bl_info(sys.modules[MODULE])['version'])


def clear():
    """Begin anew, without the add-on being told."""
    bpy.ops.object.select_all(action='SELECT')
    bpy.ops.object.delete()
    bpy.ops.outliner.orphans_purge(do_recursive=True)


def imported(path):
    """Import a model; gives armature and mesh."""
    bpy.ops.smilfit.import_model(filepath=str(path))
    armature = bpy.context.active_object
    return armature, armature.children[0]


def exported(name, **options):
    """Export the chosen model."""
    bpy.ops.smilfit.export_model(filepath=str(OUT / name), **options)


def failed(call, **options):
    """Return what a button says that does not work."""
    try:
        call(**options)
    except RuntimeError as error:
        return str(error)
    return ''


def points(data):
    """Read places of vertices."""
    result = np.empty(3 * len(data), np.float32)
    data.foreach_get('co', result)
    return result.reshape(-1, 3)


def shown(one):
    """Return the vertices that Blender shows, in the scene."""
    evaluated = one.evaluated_get(bpy.context.evaluated_depsgraph_get())
    matrix = np.array(evaluated.matrix_world)
    return points(evaluated.to_mesh().vertices) @ matrix[:3, :3].T + matrix[:3, 3]


def in_edit_mode(one, change):
    """Change bones as a person does."""
    bpy.context.view_layer.objects.active = one
    bpy.ops.object.mode_set(mode='EDIT')
    change(one.data.edit_bones)
    bpy.ops.object.mode_set(mode='OBJECT')


def round_trip():
    """In and out; what one sees between."""
    armature, body = imported(JOB['model'])
    bones = armature.data.bones
    FOUND['bones'] = [b.name for b in bones]
    FOUND['scene_size'] = float(np.ptp(shown(body), axis=0).max())
    np.savez(
        OUT / 'imported.npz',
        heads=np.array([b.head_local for b in bones]),
        axes=np.array([np.array(b.matrix_local)[:3, :3] for b in bones]),
        names=np.array([b['smilfit_joint'] for b in bones]),
        basis=points(body.data.shape_keys.reference_key.data),
        matrix=np.array(armature.matrix_world),
    )
    FOUND['sliders'] = {k.name: [k.slider_min, k.slider_max] for k in body.data.shape_keys.key_blocks[1:]}
    FOUND['groups'] = [g.name for g in body.vertex_groups]
    exported('untouched.smil.json')
    # A pose of the joints' own axes is the model's: looked at with all joints turned.
    turns = np.array(JOB['turns'])
    for bone, rotation in zip(
        (armature.pose.bones[b.name] for b in bones),
        turns[np.array([JOB['names'].index(b['smilfit_joint']) for b in bones])],
    ):
        bone.rotation_mode = 'AXIS_ANGLE'
        angle = float(np.linalg.norm(rotation))
        bone.rotation_axis_angle = (angle, *(rotation / angle))
        for constraint in bone.constraints:
            constraint.mute = True
    armature.matrix_world.identity()
    body.data.shape_keys.key_blocks['beta_1'].value = 0.0
    bpy.context.view_layer.update()
    np.save(OUT / 'posed.npy', shown(body))


def edits():
    """What a person changes arrives: a bone, a name, weights, the skin, a shape of one's own, properties."""
    armature, body = imported(JOB['model'])

    def move(bones):
        bones[JOB['moved']].head.z += 0.01
        bones[JOB['renamed']].name = 'another_name'

    in_edit_mode(armature, move)
    keys = body.data.shape_keys.key_blocks
    basis = points(keys[0].data)
    basis[7] += [0.0, 0.02, 0.0]
    keys[0].data.foreach_set('co', basis.ravel())
    keys['beta_0'].data.foreach_set('co', (basis + [0.0, 0.0, 0.5]).ravel())
    own = body.shape_key_add(name='fat', from_mix=False)
    own.data.foreach_set('co', (basis * 1.1).astype(np.float32).ravel())
    first = body.vertex_groups[JOB['moved']]
    for group in body.vertex_groups:
        group.remove([3])
    first.add([3], 0.5, 'REPLACE')
    body.vertex_groups['another_name'].add([3], 0.5, 'REPLACE')
    body.vertex_groups.new(name='keypoint:my_point').add([1, 2], 0.5, 'REPLACE')
    body.data.smilfit.licence = 'mine'
    bpy.context.view_layer.objects.active = armature
    exported('edited.smil.json')


def limits():
    """Limits of one's own, set, freed, taken from motion."""
    armature, _ = imported(JOB['model'])
    bones = armature.data.bones

    def choose(name):
        for bone in bones:
            bone.select = bone.name == name
        bones.active = bones[name]

    choose(JOB['moved'])
    bpy.ops.smilfit.set_limits(least=(-0.5, -0.25, 0.0), greatest=(0.75, 0.25, 0.0))
    FOUND['crossed'] = failed(bpy.ops.smilfit.set_limits, least=(1.0, 0, 0), greatest=(0.0, 0, 0))
    choose(JOB['renamed'])
    bpy.ops.smilfit.free_limits()
    choose(JOB['third'])
    FOUND['no_motion'] = failed(bpy.ops.smilfit.limits_from_motion)
    bone = armature.pose.bones[JOB['third']]
    for frame, angle in ((1, -0.3), (5, 0.6)):
        bone.rotation_euler = (angle, 0.0, 0.0)
        bone.keyframe_insert('rotation_euler', frame=frame)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 5
    bpy.ops.smilfit.limits_from_motion(margin=0.1)
    # By hand, in the constraint itself.
    constraint = armature.pose.bones[JOB['fourth']].constraints[0]
    constraint.use_limit_y, constraint.min_y, constraint.max_y = True, -0.125, 0.5
    exported('limited.smil.json')


def mesh_edits():
    """Vertices go: what names vertices follows."""
    _, body = imported(JOB['model'])
    bpy.context.view_layer.objects.active = body
    bpy.ops.object.mode_set(mode='EDIT')
    bpy.ops.mesh.select_mode(type='VERT')
    bpy.ops.mesh.select_all(action='DESELECT')
    bpy.ops.object.mode_set(mode='OBJECT')
    for number in JOB['cut']:
        body.data.vertices[number].select = True
    bpy.ops.object.mode_set(mode='EDIT')
    bpy.ops.mesh.delete(type='VERT')
    bpy.ops.object.mode_set(mode='OBJECT')
    exported('cut.smil.json')


def cleaning():
    """Few weights, none loose; the same objects show the model that comes back."""
    armature, body = imported(JOB['model'])
    names = {g.index for g in body.vertex_groups}
    for index in sorted(names):
        body.vertex_groups[index].remove([11])
    FOUND['loose'] = failed(bpy.ops.smilfit.export_model, filepath=str(OUT / 'never.smil.json'))
    bpy.ops.smilfit.clean_weights(most=2, least=0.05)
    FOUND['same_object'] = bpy.context.active_object == armature and armature.children[0] == body
    exported('cleaned.smil.json')
    bpy.ops.smilfit.symmetrise()
    bpy.ops.smilfit.recompute_joints(method='ring')
    exported('symmetric.smil.json')


def mending():
    """A vertex without triangles and limits of one side alone: told, mended, and told no more."""
    armature, body = imported(JOB['model'])
    mesh = bmesh.new()
    mesh.from_mesh(body.data)
    mesh.verts.ensure_lookup_table()
    bmesh.ops.delete(mesh, geom=list(mesh.verts[JOB['loose']].link_faces), context='FACES_ONLY')
    mesh.to_mesh(body.data)
    mesh.free()
    for bone in armature.data.bones:
        bone.select = bone.name == JOB['third']
    armature.data.bones.active = armature.data.bones[JOB['third']]
    bpy.ops.smilfit.set_limits(least=(-1.25, -0.5, -0.5), greatest=(1.5, 0.5, 0.5))
    exported('wrong.smil.json')
    FOUND['checked'] = [_checked()]
    bpy.ops.smilfit.mend(symmetric_limits=True)
    FOUND['checked'].append(_checked())
    FOUND['mended_vertices'] = len(body.data.vertices)
    exported('mended.smil.json')


def _checked():
    """Return what the button writes down."""
    before = set(bpy.data.texts)
    bpy.ops.smilfit.check_model()
    (text,) = set(bpy.data.texts) - before
    return text.as_string()


def scans():
    """Registered specimens as shapes, and their components as a model."""
    _, body = imported(JOB['scanned'])
    bpy.ops.smilfit.import_registrations(directory=JOB['registrations'])
    keys = [k for k in body.data.shape_keys.key_blocks if k.name.startswith('scan: ')]
    FOUND['scans'] = [k.name for k in keys]
    np.save(OUT / 'scan.npy', points(keys[1].data))
    # They are no shapes of the model.
    exported('scanned.smil.json')
    bpy.ops.smilfit.make_shape_space(components=2, form='entangled')
    made = bpy.context.active_object.children[0]
    FOUND['space'] = [k.name for k in made.data.shape_keys.key_blocks]
    exported('space.smil.json')


def joints_of_skin():
    """Sculpted skin takes bones along."""
    armature, body = imported(JOB['model'])
    basis = body.data.shape_keys.reference_key.data
    basis.foreach_set('co', (points(basis) + [0.0, 0.0, 0.25]).astype(np.float32).ravel())
    bpy.ops.smilfit.recompute_joints(method='regressor')
    np.save(OUT / 'lifted.npy', np.array([b.head_local for b in armature.data.bones]))
    exported('lifted.smil.json')


def fits():
    """A fit, through smilfit and as a file; bodies, cameras, frames."""
    for name, path, first, options in JOB['fits']:
        clear()
        bpy.ops.smilfit.import_fit(filepath=path, **options)
        scene = bpy.context.scene
        body = next(one for one in scene.objects if one.type == 'MESH')
        cameras = [one for one in scene.objects if one.type == 'CAMERA']
        FOUND[name] = {
            'frames': [scene.frame_start, scene.frame_end],
            'fps': scene.render.fps / scene.render.fps_base,
            'cameras': [one.name for one in cameras],
            'scale': [list(one.matrix_world.to_scale()) for one in cameras],
        }
        bodies = []
        for frame in JOB['frames']:
            scene.frame_set(first + frame)
            bodies.append(shown(body))
        pixels = []
        scene.frame_set(first)
        for camera in cameras:
            bpy.context.view_layer.objects.active = camera
            bpy.ops.smilfit.look_through()
            render = scene.render
            size = np.array([render.resolution_x, render.resolution_y])
            seen = np.array([world_to_camera_view(scene, camera, v.co) for v in _mesh_in_scene(body)])[:, :2]
            pixels.append(np.column_stack((seen[:, 0], 1 - seen[:, 1])) * size - 0.5)
        np.savez(OUT / f'{name}.npz', bodies=np.stack(bodies), pixels=np.stack(pixels))
    bpy.context.view_layer.objects.active = body
    bpy.ops.smilfit.export_gltf(filepath=str(OUT / 'again.glb'))


def _mesh_in_scene(one):
    evaluated = one.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    mesh.transform(evaluated.matrix_world)
    return mesh.vertices


def faults():
    """Words for what cannot be."""
    folder = OUT / 'faults'
    folder.mkdir()
    (folder / 'text.smil.json').write_text('{')
    (folder / 'other.smil.json').write_text('{"format": "other"}')
    (folder / 'short.smil.json').write_text('{"format": "smil", "joints": []}')
    model = json.loads(Path(JOB['model']).read_text())
    model['faces'][0] = [0, 1, 99999999]
    (folder / 'index.smil.json').write_text(json.dumps(model))
    (folder / 'noise.glb').write_bytes(b'glTF nothing')
    ops = bpy.ops.smilfit
    FOUND['faults'] = {
        'text': failed(ops.import_model, filepath=str(folder / 'text.smil.json')),
        'other': failed(ops.import_model, filepath=str(folder / 'other.smil.json')),
        'short': failed(ops.import_model, filepath=str(folder / 'short.smil.json')),
        'index': failed(ops.import_model, filepath=str(folder / 'index.smil.json')),
        'missing': failed(ops.import_model, filepath=str(folder / 'missing.pkl')),
        'noise': failed(ops.import_model, filepath=str(folder / 'noise.glb')),
        'no fit': failed(ops.import_fit, filepath=str(folder / 'noise.glb')),
        'no animation': failed(ops.import_fit, filepath=str(OUT / 'again.glb')),
    }
    bpy.ops.object.empty_add()
    FOUND['faults'] |= {
        'no model': failed(ops.export_model, filepath=str(folder / 'x.smil.json')),
        'no camera': failed(ops.look_through),
    }
    _, body = imported(JOB['model'])
    FOUND['faults']['no registrations'] = failed(ops.import_registrations, directory=str(folder))
    FOUND['faults']['no scans'] = failed(ops.make_shape_space)
    body.data['smilfit_document'] = b'damaged'
    FOUND['faults']['damaged'] = failed(ops.export_model, filepath=str(folder / 'x.smil.json'))
    before = os.environ.pop('SMILFIT_PYTHON')
    path, os.environ['PATH'] = os.environ['PATH'], ''
    FOUND['faults']['no smilfit'] = failed(ops.test_command)
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python = '/no/such/python'
    FOUND['faults']['no python'] = failed(ops.test_command)
    preferences.python = before
    os.environ['PATH'] = path
    FOUND['faults']['python'] = failed(ops.test_command)
    preferences.python = ''
    os.environ['SMILFIT_PYTHON'] = before


def saved_file():
    """What does not show in Blender is in the .blend too."""
    imported(JOB['model'])
    bpy.ops.wm.save_as_mainfile(filepath=str(OUT / 'scene.blend'))
    bpy.ops.wm.open_mainfile(filepath=str(OUT / 'scene.blend'))
    bpy.context.view_layer.objects.active = next(o for o in bpy.context.scene.objects if o.type == 'ARMATURE')
    exported('from_blend.smil.json')
    exported('model.pkl', format='.pkl')


def uninstall():
    """Nothing stays behind."""
    bpy.ops.preferences.addon_disable(module=MODULE)
    FOUND['left'] = [name for name in dir(bpy.types) if 'smilfit' in name.lower()]


main()
