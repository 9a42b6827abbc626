"""The armatures that move the meshes of a scene, as one list of bones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np


class RefusedError(Exception):
    """A file that cannot be a rig: the message says the rule, what was read and what to do."""


class Skeleton:
    """Bones of armatures that move the same meshes; parents come first.

    `owners` is the armature of every bone and `parents` its parent's number, or -1; `indices` gives the numbers by
    armature and bone's name.
    """

    def __init__(
        self, armatures: list[bpy.types.Object], meshes: list[bpy.types.Object], notes: list[str]
    ) -> None:
        self.armatures, self.meshes = armatures, meshes
        self.bones: list[bpy.types.Bone] = []
        self.owners: list[bpy.types.Object] = []
        self.parents: list[int] = []
        self.indices: dict[tuple[str, str], int] = {}
        left = 0
        hung = [above for above in map(bone_above, [*meshes, *armatures]) if above is not None]
        for armature in armatures:
            kept = _kept_bones(armature, {bone for a, bone in hung if a == armature})
            left += len(armature.data.bones) - len(kept)
            for bone in _parents_first(armature):
                if bone.name not in kept:
                    continue
                self.indices[armature.name, bone.name] = len(self.bones)
                self.bones.append(bone)
                self.owners.append(armature)
                self.parents.append(self._parent(armature, bone))
        if left:
            notes.append(f'{left} control bones that move neither skin nor a bone that does are left out.')

    @classmethod
    def of_scene(cls, wanted: str, notes: list[str]) -> 'Skeleton':
        """Find the armatures that move meshes; of several that share none, the wanted one."""
        scene = bpy.context.scene
        shown = [o for o in bpy.context.view_layer.objects if o.type == 'MESH']
        rendered = [o for o in shown if not o.hide_render]
        links = {o: _armatures_of(o) for o in rendered}
        if not any(links.values()):
            # All hidden: saved so while its author worked on something else.
            rendered, links = shown, {o: _armatures_of(o) for o in shown}
        every = [o for o in scene.objects if o.type == 'ARMATURE']
        if not any(links.values()):
            raise RefusedError(
                f'a rig must have a mesh that hangs on an armature; got {len(shown)} meshes and {len(every)} '
                'armatures, and no mesh that hangs on one. Bind the mesh to its armature and export both.'
            )
        groups = _groups([linked for linked in links.values() if linked])
        skinning = [
            g
            for g in groups
            if any(_is_skinned(o, g) for o, linked in links.items() if set(linked) <= set(g))
        ]
        groups = skinning or groups
        if wanted:
            chosen = [g for g in groups if wanted in {a.name for a in g}]
            if not chosen:
                raise RefusedError(
                    f'--armature must name an armature that moves a mesh; got {wanted!r}. There are: '
                    f'{_names(groups)}.'
                )
            groups = chosen
        if len(groups) > 1:
            raise RefusedError(
                f'a rig must be one animal; got {len(groups)} armatures with meshes of their own: {_names(groups)}. '
                'Choose one: smilfit model import --armature NAME.'
            )
        armatures = groups[0]
        others = [a.name for a in every if a not in armatures]
        if others:
            notes.append(f'{len(others)} other armatures are left out: {", ".join(others[:5])}.')
        if len(rendered) < len(shown):
            notes.append(f'{len(shown) - len(rendered)} meshes that are not rendered are left out.')
        meshes = [o for o in rendered if set(links[o]) & set(armatures)]
        loose = [o.name for o in rendered if not links[o]]
        if loose:
            notes.append(f'{len(loose)} meshes hang on no joint and are left out: {", ".join(loose[:5])}.')
        return cls(armatures, meshes, notes)

    def rest(self) -> np.ndarray:
        """Return the bones' transforms in the world at rest (J, 4, 4)."""
        graph = bpy.context.evaluated_depsgraph_get()
        worlds = {a: np.array(a.evaluated_get(graph).matrix_world) for a in self.armatures}
        return np.stack([worlds[o] @ np.array(b.matrix_local) for o, b in zip(self.owners, self.bones)])

    def now(self) -> np.ndarray:
        """Return the bones' transforms in the world at the scene's frame (J, 4, 4)."""
        graph = bpy.context.evaluated_depsgraph_get()
        shown = {a: a.evaluated_get(graph) for a in self.armatures}
        worlds = {a: np.array(shown[a].matrix_world) for a in self.armatures}
        return np.stack(
            [
                worlds[o] @ np.array(shown[o].pose.bones[b.name].matrix)
                for o, b in zip(self.owners, self.bones)
            ]
        )

    def _parent(self, armature: bpy.types.Object, bone: bpy.types.Bone) -> int:
        above = bone.parent
        while above is not None:
            if (armature.name, above.name) in self.indices:
                return self.indices[armature.name, above.name]
            above = above.parent
        # An armature that hangs on a bone of another.
        if armature.parent_type == 'BONE' and armature.parent is not None:
            return self.indices.get((armature.parent.name, armature.parent_bone), -1)
        return -1


@contextmanager
def rest_pose(armatures: Sequence[bpy.types.Object]) -> Iterator[None]:
    """Let armatures stand at rest inside this context."""
    before = [a.data.pose_position for a in armatures]
    for armature in armatures:
        armature.data.pose_position = 'REST'
    bpy.context.view_layer.update()
    yield
    for armature, position in zip(armatures, before):
        armature.data.pose_position = position
    bpy.context.view_layer.update()


def armature_modifiers(mesh: bpy.types.Object) -> list[bpy.types.Modifier]:
    """Return the modifiers by which armatures move a mesh."""
    result = [m for m in mesh.modifiers if m.type == 'ARMATURE' and m.object is not None]
    return [m for m in result if m.object.type == 'ARMATURE']


def movers(mesh: bpy.types.Object) -> list[bpy.types.Object]:
    """Return the armatures that skin a mesh, by modifiers or, as of old, as its parent."""
    result = [m.object for m in armature_modifiers(mesh)]
    if (
        not result
        and mesh.parent_type == 'ARMATURE'
        and mesh.parent is not None
        and mesh.parent.type == 'ARMATURE'
    ):
        result = [mesh.parent]
    return list(dict.fromkeys(result))


def bone_above(mesh: bpy.types.Object) -> tuple[bpy.types.Object, str] | None:
    """Return the armature and the bone that an object, or one above it, hangs on."""
    above = mesh
    while above.parent is not None:
        if above.parent_type == 'BONE' and above.parent.type == 'ARMATURE':
            return above.parent, above.parent_bone
        above = above.parent
    return None


def _armatures_of(mesh: bpy.types.Object) -> list[bpy.types.Object]:
    result, hung = movers(mesh), bone_above(mesh)
    return [hung[0]] if hung is not None and not result else result


def _is_skinned(mesh: bpy.types.Object, armatures: list[bpy.types.Object]) -> bool:
    names = {bone.name for a in armatures for bone in a.data.bones}
    return bool(names & {group.name for group in mesh.vertex_groups})


def _groups(linked: list[list[bpy.types.Object]]) -> list[list[bpy.types.Object]]:
    """Join armatures that move the same mesh, or that hang on one another's bones."""
    sets = [set(group) for group in linked]
    for armature in {a for group in linked for a in group}:
        above = bone_above(armature)
        if above is not None:
            sets.append({armature, above[0]})
    joined: list[set[bpy.types.Object]] = []
    for group in sets:
        touching = [other for other in joined if other & group]
        joined = [other for other in joined if not other & group]
        joined.append(group.union(*touching))
    # Those that others hang on first.
    return [sorted(group, key=lambda a: (_depth(a), a.name)) for group in joined]


def _depth(thing: bpy.types.Object) -> int:
    return 0 if thing.parent is None else 1 + _depth(thing.parent)


def _names(groups: list[list[bpy.types.Object]]) -> str:
    return ', '.join(' + '.join(a.name for a in group) for group in groups)


def _parents_first(armature: bpy.types.Object) -> list[bpy.types.Bone]:
    """List the bones as the file does, but parents first."""
    order: dict[str, bpy.types.Bone] = {}
    for bone in armature.data.bones:
        for other in [*list(bone.parent_recursive)[::-1], bone]:
            order[other.name] = other
    return list(order.values())


def _kept_bones(armature: bpy.types.Object, hung: set[str]) -> set[str]:
    """Choose bones: those that deform or that things hang on, what is above them, and ends; no controls."""
    kept: set[str] = set()
    controls = _controls(armature)
    for bone in armature.data.bones:
        if bone.use_deform or bone.name in hung or bone.name not in controls:
            kept |= {bone.name, *(above.name for above in bone.parent_recursive)}
    return kept


def _controls(armature: bpy.types.Object) -> set[str]:
    """Name bones that serve to move others: with a shape of their own, constraints, or as their targets."""
    result = set()
    for bone in armature.pose.bones:
        if bone.custom_shape is not None or len(bone.constraints):
            result.add(bone.name)
        result |= {getattr(c, 'subtarget', '') for c in bone.constraints}
        result |= {getattr(c, 'pole_subtarget', '') for c in bone.constraints}
    return result - {''}
