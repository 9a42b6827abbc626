"""Clips played: where the bones are in the world at every key, or every frame between sparse keys."""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from actions import Part, clip_parts
from meshes import SkinnedMeshes
from skeletons import Skeleton
from standing import Standing

# Frames between keys: up to this they are the motion as it was recorded, at whatever rate.
_SPARSE = 2.01
# Of one clip: what the reader takes at most (128 bytes a joint and frame, a gigabyte).
_MOST_MATRICES = (1 << 30) // 128


def read_clips(
    skeleton: Skeleton,
    meshes: SkinnedMeshes,
    standing: Standing,
    arrays: dict[str, np.ndarray],
    notes: list[str],
) -> list[dict[str, Any]]:
    """Play every action that moves bones or shape keys, and write what the bones do."""
    found: list[dict[str, Any]] = []
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
        key = f'c{len(found)}.'
        rate = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
        arrays[key + 'times'] = (frames - frames[0]) / rate
        arrays[key + 'joints'], arrays[key + 'morphs'], arrays[key + 'check'] = joints, morphs, check
        found.append({'name': name, 'check': len(frames) // 2})
    return found


def _frames(curves: list[bpy.types.FCurve]) -> np.ndarray:
    """Give the frames to sample: the keys where they are dense, else every frame from first to last."""
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
    """Give the bones (T, J, 4, 4), the shape keys' values (T, M), and the vertices at the middle frame (V, 3)."""
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
