"""Which actions are clips of a skeleton, and what each says of whom."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import bpy
from meshes import SkinnedMeshes
from skeletons import Skeleton

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
    """Give an action's curves by whom they are for; Blender 4.3 and older have one list."""
    if not hasattr(action, 'slots'):
        yield None, list(action.fcurves)
        return
    for slot in action.slots:
        bags = [s.channelbag(slot) for layer in action.layers for s in layer.strips if s.type == 'KEYFRAME']
        yield slot, [curve for bag in bags if bag is not None for curve in bag.fcurves]


def _moves(
    owner: Any, slot: Any, curves: list[bpy.types.FCurve], bones: set[Any], action: bpy.types.Action
) -> bool:
    """Say whether curves are for a thing: by the bones they name, or because it plays them now."""
    if isinstance(owner, bpy.types.Key):
        names = {k.name for k in owner.key_blocks}
        mine = any((m := _KEY.match(c.data_path)) and m[1] in names for c in curves)
    else:
        mine = any((m := _BONE.match(c.data_path)) and (owner, m[1]) in bones for c in curves)
    playing = _plays_now(Part(owner, action, slot, curves))
    users = [] if slot is None else list(slot.users())
    return (mine and (not users or owner in users)) or playing or owner in users


def _poses(part: Part, bones: set[Any]) -> bool:
    if isinstance(part.owner, bpy.types.Key):
        return True
    return any((m := _BONE.match(c.data_path)) and (part.owner, m[1]) in bones for c in part.curves)


def _take(name: str, owners: set[str]) -> str:
    """Give the take of an action that FBX import names `object|take|layer`, and exporters `object|object|take`."""
    parts = name.split('|')
    while len(parts) > 1 and parts[0] in owners:
        parts = parts[1:]
    return '|'.join(parts)
