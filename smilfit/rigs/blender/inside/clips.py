"""Clips: which actions are clips of a skeleton, played from where all stands, and where the bones then are."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import bpy
import numpy as np
from mathutils import Matrix
from meshes import SkinnedMeshes
from skeletons import Skeleton

# Frames between keys: up to this they are the motion as it was recorded, at whatever rate.
_SPARSE = 2.01
# Of one clip: what the reader takes at most (128 bytes a joint and frame, a gigabyte).
_MOST_MATRICES = (1 << 30) // 128
_BONE = re.compile(r'pose\.bones\["((?:[^"\\]|\\.)*)"\]')
_KEY = re.compile(r'key_blocks\["((?:[^"\\]|\\.)*)"\]\.value')


class Part(NamedTuple):
    """What an action says of one thing: an object, or a mesh's shape keys."""

    owner: Any
    action: bpy.types.Action
    slot: Any
    curves: list[bpy.types.FCurve]


def clip_parts(skeleton: Skeleton, meshes: SkinnedMeshes) -> dict[str, list[Part]]:
    """Group what actions say into clips: one action's parts, or those of one take of an FBX file."""
    # Controls, too: what they are animated to do moves the others.
    bones = {(a, b.name) for a in skeleton.armatures for b in a.data.bones}
    above = [o for a in skeleton.armatures for o in [a, *_parents(a)]]
    keys = list(dict.fromkeys(thing.data.shape_keys for thing in meshes.objects if thing.data.shape_keys))
    owners = {a.name for a in above} | {k.name for k in keys}
    plays: dict[str, list[Part]] = {}
    for action in bpy.data.actions:
        for slot, curves in _slots(action):
            for owner in [*dict.fromkeys(above), *keys]:
                if _moves(owner, slot, curves, bones, action):
                    plays.setdefault(_take(action.name, owners), []).append(Part(owner, action, slot, curves))
    _join_playing(plays)
    # A clip must move a bone or a shape; what only moves the whole goes along with one that does.
    return {name: parts for name, parts in plays.items() if any(_poses(part, bones) for part in parts)}


def _join_playing(plays: dict[str, list[Part]]) -> None:
    """Make one clip of what was playing at once when the file was saved: bones by one action, shapes by another."""
    playing = [name for name, parts in plays.items() if all(_plays_now(part) for part in parts)]
    with_bones = [n for n in playing if any(isinstance(part.owner, bpy.types.Object) for part in plays[n])]
    if len(with_bones) == 1:
        for name in playing:
            if name != with_bones[0]:
                plays[with_bones[0]] += plays.pop(name)


def _plays_now(part: Part) -> bool:
    data = part.owner.animation_data
    same = data is not None and data.action == part.action
    return same and (part.slot is None or data.action_slot == part.slot)


def _parents(thing: bpy.types.Object) -> list[bpy.types.Object]:
    return [] if thing.parent is None else [thing.parent, *_parents(thing.parent)]


def _slots(action: bpy.types.Action) -> Iterator[tuple[Any, list[bpy.types.FCurve]]]:
    """Return an action's curves by whom they are for; Blender 4.3 and older have one list."""
    if not hasattr(action, 'slots'):
        yield None, list(action.fcurves)
        return
    for slot in action.slots:
        bags = [s.channelbag(slot) for layer in action.layers for s in layer.strips if s.type == 'KEYFRAME']
        yield slot, [curve for bag in bags if bag is not None for curve in bag.fcurves]


def _moves(
    owner: Any,
    slot: Any,
    curves: list[bpy.types.FCurve],
    bones: set[tuple[bpy.types.Object, str]],
    action: bpy.types.Action,
) -> bool:
    """Check whether curves are for a thing: by the bones they name, or because it plays them now."""
    if isinstance(owner, bpy.types.Key):
        names = {k.name for k in owner.key_blocks}
        mine = any((m := _KEY.match(c.data_path)) and m[1] in names for c in curves)
    else:
        mine = any((m := _BONE.match(c.data_path)) and (owner, m[1]) in bones for c in curves)
    playing = _plays_now(Part(owner, action, slot, curves))
    users = [] if slot is None else list(slot.users())
    return (mine and (not users or owner in users)) or playing or owner in users


def _poses(part: Part, bones: set[tuple[bpy.types.Object, str]]) -> bool:
    if isinstance(part.owner, bpy.types.Key):
        return True
    return any((m := _BONE.match(c.data_path)) and (part.owner, m[1]) in bones for c in part.curves)


def _take(name: str, owners: set[str]) -> str:
    """Return the take of an action that FBX import names `object|take|layer`, and exporters `object|object|take`."""
    parts = name.split('|')
    while len(parts) > 1 and parts[0] in owners:
        parts = parts[1:]
    return '|'.join(parts)


class Standing:
    """What bones and shape keys are set to before a clip is played, so that none goes on with another's pose.

    An importer poses bones as the file's nodes stand. In a .blend the pose is whatever its author looked at last, and
    bones that no clip moves are at rest.
    """

    def __init__(self, as_imported: bool) -> None:
        self.armatures = [o for o in bpy.context.scene.objects if o.type == 'ARMATURE']
        meshes = [o for o in bpy.context.scene.objects if o.type == 'MESH' and o.data.shape_keys is not None]
        self.keys: list[bpy.types.Key] = list(dict.fromkeys(o.data.shape_keys for o in meshes))
        self.poses = {
            (armature, bone.name): bone.matrix_basis.copy() if as_imported else Matrix()
            for armature in self.armatures
            for bone in armature.pose.bones
        }
        self.values = {(keys, key.name): key.value for keys in self.keys for key in keys.key_blocks}

    def restore(self) -> None:
        """Let nothing play, and set bones and shape keys."""
        for owner in [*self.armatures, *self.keys]:
            if owner.animation_data is not None:
                owner.animation_data.use_nla = False
                owner.animation_data.action = None
        for (armature, name), matrix in self.poses.items():
            armature.pose.bones[name].matrix_basis = matrix
        for (keys, name), value in self.values.items():
            keys.key_blocks[name].value = value


def read_clips(
    skeleton: Skeleton,
    meshes: SkinnedMeshes,
    standing: Standing,
    arrays: dict[str, np.ndarray],
    notes: list[str],
) -> list[dict[str, object]]:
    """Play every action that moves bones or shape keys, and write what the bones do."""
    result: list[dict[str, object]] = []
    for name, parts in clip_parts(skeleton, meshes).items():
        frames = _frames([curve for part in parts for curve in part.curves])
        if not len(frames):
            notes.append(f'the clip {name} has no keys: left out.')
            continue
        if len(frames) * len(skeleton.bones) > _MOST_MATRICES:
            notes.append(f'the clip {name} is left out: {len(frames)} frames are more than fit into memory.')
            continue
        standing.restore()
        _assign(parts)
        joints, morphs, check = _play(frames, skeleton, meshes)
        key = f'c{len(result)}.'
        rate = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
        arrays[key + 'times'] = (frames - frames[0]) / rate
        arrays[key + 'joints'], arrays[key + 'morphs'], arrays[key + 'check'] = joints, morphs, check
        result.append({'name': name, 'check': len(frames) // 2})
    return result


def _frames(curves: list[bpy.types.FCurve]) -> np.ndarray:
    """Return the frames to sample: the keys where they are dense, else every frame from first to last."""
    keys = [np.zeros(0)]
    for curve in curves:
        places = np.zeros(2 * len(curve.keyframe_points), np.float32)
        curve.keyframe_points.foreach_get('co', places)
        keys.append(places[::2].astype(np.float64))
    every = np.unique(np.round(np.concatenate(keys), 4))
    if len(every) < 2:
        return every
    if np.diff(every).max() <= _SPARSE:
        return every
    return np.unique(np.append(np.arange(every[0], every[-1]), every[-1]))


def _assign(parts: list[Part]) -> None:
    """Let the parts' owners play them."""
    for part in parts:
        data = part.owner.animation_data or part.owner.animation_data_create()
        data.action = part.action
        if part.slot is not None:
            data.action_slot = part.slot


def _play(
    frames: np.ndarray, skeleton: Skeleton, meshes: SkinnedMeshes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bones (T, J, 4, 4), the shape keys' values (T, M), and the vertices at the middle frame (V, 3)."""
    scene = bpy.context.scene
    blocks = [key for keys in meshes.keys for key in keys]
    joints = np.zeros((len(frames), len(skeleton.bones), 4, 4))
    morphs = np.zeros((len(frames), len(blocks)))
    check = np.zeros((0, 3))
    for i, frame in enumerate(frames):
        scene.frame_set(int(np.floor(frame)), subframe=float(frame - np.floor(frame)))
        joints[i] = skeleton.now()
        graph = bpy.context.evaluated_depsgraph_get()
        values = [0.0 if key.mute else key.value for keys in _evaluated(meshes, graph) for key in keys]
        morphs[i] = values
        if i == len(frames) // 2:
            check = meshes.shown()
    return joints, morphs, check


def _evaluated(meshes: SkinnedMeshes, graph: bpy.types.Depsgraph) -> Iterator[list[bpy.types.ShapeKey]]:
    for keys in meshes.keys:
        if keys:
            blocks = keys[0].id_data.evaluated_get(graph).key_blocks
            yield [blocks[key.name] for key in keys]
