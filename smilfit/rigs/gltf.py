"""Read a rigged animal from glTF 2.0 (.glb, .gltf)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.body_models.data import SparseMatrix
from smilfit.files import BadFileError, reading, shorten
from smilfit.rigs.gltf_accessors import AccessorReader
from smilfit.rigs.gltf_clips import Animation, check_size, read_animations
from smilfit.rigs.gltf_file import GltfFile, open_gltf
from smilfit.rigs.gltf_meshes import MeshPiece, read_mesh
from smilfit.rigs.gltf_morphs import MorphTargets
from smilfit.rigs.gltf_nodes import read_nodes
from smilfit.rigs.gltf_skins import Skin, agreed_map, bind_places, differ, flattens, place_skin
from smilfit.rigs.rig import Clip, Rig
from smilfit.rigs.transforms import apply
from smilfit.rigs.unique_names import unique_names

_POSED = 'the skeleton stands in another pose than the skin was bound in; the rest pose is that of binding.'
_EXPORT = 'Export the mesh together with its armature (Blender: select both, glTF 2.0, Data > Skinning).'


def read_gltf(path: str | Path) -> Rig:
    """Read a rig.

    Vertices are those of all skinned meshes, one behind the other in the order of the file, and of meshes that
    hang on a joint. They stand in the pose of binding, in the world: metres, +y up, facing +z, as glTF has it. A
    skeleton all of whose meshes hang on joints (an animal of stiff parts) stands as its nodes do.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no whole glTF 2.0, a mesh without a skin, a skin without a mesh, compressed meshes.
    """
    path = Path(path)
    with reading(path, 'a glTF file'):
        return _GltfRig(open_gltf(path)).rig()


@dataclass
class _Bound:
    """A joint of the rig: a node, and where it was bound."""

    node: int
    rest: np.ndarray


class _GltfRig:
    """What is collected of a file on the way to a rig."""

    def __init__(self, file: GltfFile) -> None:
        self.file, self.notes = file, []
        for name in file.check_extensions():
            self.notes.append(f'the extension {shorten(name, 60)} is not read.')
        self.reader, self.nodes = AccessorReader(file), read_nodes(file)
        self.entries = file.entries('nodes')
        self.worlds = self.nodes.worlds(list(range(len(self.entries))))[0]
        self.pieces = self._pieces()
        self.animations = read_animations(file, self.reader, self._morph_counts(), self.notes)
        self.joints: list[_Bound] = []
        self.whole: list[str] = []

    def rig(self) -> Rig:
        """Put the rig together."""
        vertices, morphs = [], []
        columns: list[np.ndarray] = []
        start = 0
        entries = []
        placed = self._place()
        for piece, (to_world, joint_of_slot) in zip(self.pieces, placed):
            vertices.append(apply(to_world, piece.vertices))
            morphs.append([d @ to_world[:3, :3].T for d in piece.morphs])
            columns.append(np.array(joint_of_slot, np.int64)[piece.slots])
            entries.append((start + piece.rows, piece.values))
            start += len(piece.vertices)
        order = self._order()
        rank = np.argsort(order)
        cols = rank[np.concatenate(columns)] if columns else np.zeros(0, np.int64)
        weights = SparseMatrix(
            np.concatenate([rows for rows, _ in entries]), cols, np.concatenate([v for _, v in entries]),
            (start, len(order)),
        )  # fmt: skip
        bound = [self.joints[i] for i in order]
        nodes = [joint.node for joint in bound]
        names, renamed = unique_names([self.nodes.names[node] for node in nodes])
        if renamed:
            self.notes.append(
                f'{len(renamed)} joints had names of others and were renamed: {", ".join(renamed[:5])}.'
            )
        offsets = np.cumsum([0, *(len(piece.vertices) for piece in self.pieces)])
        faces = [
            # A mirror turns triangles inside out.
            (f[:, ::-1] if np.linalg.det(to_world[:3, :3]) < 0 else f) + at
            for piece, at, (to_world, _) in zip(self.pieces, offsets, placed)
            for f in piece.faces
        ]
        targets = MorphTargets(self.pieces, morphs, offsets)
        directions, clips = targets.merged(self._clips(nodes, targets))
        uv, image = self._texture(offsets)
        return Rig(
            name=self.file.path.name.split('.')[0] or 'rig',
            vertices=np.concatenate(vertices),
            faces=np.concatenate(faces) if faces else np.zeros((0, 3), np.int64),
            joint_names=names,
            parents=self._parents(nodes),
            rest=np.stack([joint.rest for joint in bound]),
            weights=weights,
            morphs=directions,
            clips=tuple(clips),
            texture=image,
            uv=uv,
            unit='m',
            up_axis='+y',
            forward_axis='+z',
            licence=self._licence(),
            notes=tuple(self.notes),
        )

    def _pieces(self) -> list[MeshPiece]:
        """Read the meshes that move with joints."""
        skins, file = file_skins(self.file), self.file
        joint_nodes = {node for nodes in skins for node in nodes}
        pieces: list[MeshPiece] = []
        left: list[str] = []
        shown = [n for n in range(len(self.entries)) if 'mesh' in self.entries[n] and self.nodes.shown[n]]
        skinned = [n for n in shown if 'skin' in self.entries[n]]
        for node in shown:
            if node in skinned:
                number = file.index('skins', self.entries[node]['skin'], f'skin of nodes[{node}]')
                pieces += read_mesh(file, self.reader, node, len(skins[number]), self.notes)
            elif joint_nodes & {node, *self.nodes.ancestors(node)}:
                pieces += read_mesh(file, self.reader, node, 0, self.notes)
            else:
                left.append(self.nodes.names[node])
        if not pieces and not skinned:
            n_meshes, n_skins = len(file.entries('meshes')), len(skins)
            got = f'{n_meshes} meshes and {n_skins} skins, and no node with both'
            raise file.fail('a rig must have a mesh that hangs on a skin', got, _EXPORT)
        # Those with weights first: what has none is added by the hierarchy alone.
        pieces = sorted((p for p in pieces if len(p.vertices)), key=lambda p: p.node not in skinned)
        if not pieces or not any(len(f) for piece in pieces for f in piece.faces):
            raise file.fail(
                'the mesh of a rig must have triangles', 'none', 'Export faces, not points or lines.'
            )
        if left:
            self.notes.append(f'{len(left)} meshes hang on no joint and are left out: {", ".join(left[:5])}.')
        return pieces

    def _place(self) -> list[tuple[np.ndarray, list[int]]]:
        """Bring every piece into the world: its map, and which joint each slot of its skin is."""
        skins = self._skins()
        placed: dict[int, np.ndarray] = {}
        slots: dict[int, list[int]] = {}
        first: dict[int, int] = {}
        size = 0.0
        for number in sorted(skins, key=lambda n: -skins[n].influence.sum()):
            skin = skins[number]
            worlds = self.worlds[list(skin.nodes)]
            node = next(p.node for p in self.pieces if self._skin_of(p) == number)
            known = [k for k, n in enumerate(skin.nodes) if n in first]
            to_world = None
            if known:
                # Joints that another skin has bound already: the map that puts them to the same places.
                part = Skin(
                    number,
                    tuple(skin.nodes[k] for k in known),
                    skin.inverse_bind[known],
                    skin.influence[known],
                    skin.corners,
                )
                maps = np.stack([self.joints[first[n]].rest for n in part.nodes]) @ part.inverse_bind
                to_world, share = agreed_map(maps, part)
                to_world = to_world if share > 0.5 else None
            if to_world is None:
                to_world, agrees = place_skin(skin, worlds, self.worlds[node])
                if not agrees and _POSED not in self.notes:
                    self.notes.append(_POSED)
            self._check_thick(to_world, node)
            placed[number] = to_world
            corners = apply(to_world, skin.corners)
            size = max(size, float(np.linalg.norm(np.ptp(corners, axis=0))))
            slots[number] = self._bind(skin, bind_places(skin, to_world, worlds), corners, size, first)
        self._bind_unused(first)
        found = []
        for piece in self.pieces:
            of_piece = self._skin_of(piece)
            if of_piece is not None:
                found.append((placed[of_piece], slots[of_piece]))
                if not piece.weighted:
                    self.notes.append(f'the mesh {self.nodes.names[piece.node]} has a skin but no weights.')
            else:
                found.append(self._rigid(piece, first))
        if self.whole:
            many = f' and {len(self.whole) - 5} more' if len(self.whole) > 5 else ''
            words = f'{", ".join(self.whole[:5])}{many}'
            self.notes.append(f'{len(self.whole)} meshes without weights move with one joint each: {words}.')
        return found

    def _bind(
        self, skin: Skin, places: np.ndarray, corners: np.ndarray, size: float, first: dict[int, int]
    ) -> list[int]:
        """Give the joint of every slot; a node that two skins bind at two places is a joint for each."""
        found = []
        for k, node in enumerate(skin.nodes):
            known = [i for i, joint in enumerate(self.joints) if joint.node == node] if node in first else []
            same = [i for i in known if not differ(places[k], self.joints[i].rest, corners, size)]
            if same:
                found.append(same[0])
            elif known and skin.influence[k] == 0:
                found.append(known[0])
            else:
                if known:
                    self.notes.append(
                        f'the joint {self.nodes.names[node]} is bound at two places: it is there twice.'
                    )
                first.setdefault(node, len(self.joints))
                found.append(len(self.joints))
                self.joints.append(_Bound(node, places[k]))
        return found

    def _bind_unused(self, first: dict[int, int]) -> None:
        """Bind joints of skins that no mesh uses, where meshes hang on them whole: at their nodes."""
        hanging = [p.node for p in self.pieces if self._skin_of(p) is None]
        chains = [{node, *self.nodes.ancestors(node)} for node in hanging]
        for nodes in file_skins(self.file):
            if any(chain & set(nodes) and not chain & first.keys() for chain in chains):
                for node in nodes:
                    if node not in first:
                        first[node] = len(self.joints)
                        self.joints.append(_Bound(node, self.worlds[node]))

    def _rigid(self, piece: MeshPiece, first: dict[int, int]) -> tuple[np.ndarray, list[int]]:
        """Hang a mesh without weights on the nearest joint above it; on its own node, where that moves by itself."""
        moving = {
            track.node
            for animation in self.animations
            for track in animation.tracks
            if track.path != 'weights'
        }
        chain = [piece.node, *self.nodes.ancestors(piece.node)]
        joint = next(n for n in chain if n in first)
        self._check_thick(self.worlds[joint], joint)
        between = chain[: chain.index(joint)]
        if moving & set(between):
            # Its own place at rest is the one that it has on the joint's.
            rest = (
                self.joints[first[joint]].rest @ np.linalg.inv(self.worlds[joint]) @ self.worlds[piece.node]
            )
            first[piece.node] = len(self.joints)
            self.joints.append(_Bound(piece.node, rest))
            joint = piece.node
        count = len(piece.vertices)
        piece.rows, piece.slots, piece.values = np.arange(count), np.zeros(count, np.int64), np.ones(count)
        rest, world = self.joints[first[joint]].rest, self.worlds[joint]
        self.whole.append(f'{self.nodes.names[piece.node]} on {self.nodes.names[joint]}')
        return rest @ np.linalg.inv(world) @ self.worlds[piece.node], [first[joint]]

    def _check_thick(self, world: np.ndarray, node: int) -> None:
        """Refuse what nodes scale to nothing: no pose could be told of it."""
        if flattens(world):
            rule = f'the skeleton and the mesh {self.nodes.names[node]} must have a size in all directions'
            advice = 'Set the scale of the objects above them to 1, apply it, and export anew.'
            raise self.file.fail(rule, 'a scale of 0', advice)

    def _skin_of(self, piece: MeshPiece) -> int | None:
        return self.entries[piece.node].get('skin')

    def _skins(self) -> dict[int, Skin]:
        """Read the skins that pieces hang on."""
        nodes = file_skins(self.file)
        found = {}
        for number in sorted({s for s in map(self._skin_of, self.pieces) if s is not None}):
            mine = [p for p in self.pieces if self._skin_of(p) == number]
            entry = self.file.entries('skins')[number]
            count, where = len(nodes[number]), f'skins[{number}].inverseBindMatrices'
            bind = np.tile(np.eye(4), (count, 1, 1))
            if 'inverseBindMatrices' in entry:
                bind = self.reader.floats(entry['inverseBindMatrices'], 'MAT4', where)
                if len(bind) < count:
                    raise self.file.fail(
                        f'{where} must have {count} matrices', len(bind), 'Export the file anew.'
                    )
                # Matrices lie column by column.
                bind = bind[:count].reshape(-1, 4, 4).transpose(0, 2, 1)
            influence = sum(np.bincount(p.slots, np.abs(p.values), count) for p in mine)
            low = np.min([p.vertices.min(0) for p in mine], 0)
            high = np.max([p.vertices.max(0) for p in mine], 0)
            grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)
            found[number] = Skin(
                number, nodes[number], bind, np.asarray(influence), low + grid * (high - low)
            )
        return found

    def _order(self) -> list[int]:
        """Sort the joints: as the file lists them, but parents first."""
        by_node: dict[int, list[int]] = {}
        for i, joint in enumerate(self.joints):
            by_node.setdefault(joint.node, []).append(i)
        order: dict[int, None] = {}
        for joint in self.joints:
            for node in [*self.nodes.ancestors(joint.node)[::-1], joint.node]:
                order.update(dict.fromkeys(by_node.get(node, ())))
        return list(order)

    def _parents(self, nodes: Sequence[int]) -> np.ndarray:
        first = {node: j for j, node in reversed(list(enumerate(nodes)))}
        return np.array([next((first[a] for a in self.nodes.ancestors(n) if a in first), -1) for n in nodes])

    def _morph_counts(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for piece in self.pieces:
            found[piece.node] = max(found.get(piece.node, 0), len(piece.morph_names))
        return found

    def _clips(self, nodes: list[int], targets: MorphTargets) -> list[Clip]:
        moving = {n for node in nodes for n in (node, *self.nodes.ancestors(node))}
        meshes = {piece.node for piece in self.pieces}
        found = []
        names, _ = unique_names([animation.name for animation in self.animations])
        for name, animation in zip(names, self.animations):
            times = animation.key_times(moving, meshes)
            if not len(times):
                self.notes.append(f'the clip {name} moves no joint: left out.')
                continue
            check_size(self.file, name, len(times), len(nodes))
            tracks = animation.at(times, moving)
            morphs = self._morph_weights(animation, times, targets)
            found.append(Clip(name, times, self.nodes.worlds(nodes, tracks, len(times)), morphs))
        return found

    def _morph_weights(
        self, animation: Animation, times: np.ndarray, targets: MorphTargets
    ) -> np.ndarray | None:
        if not targets.nodes:
            return None
        values = animation.at(times, set(targets.nodes))
        columns = []
        for node in targets.nodes:
            rest = self._default_weights(node, targets.counts[node])
            moved = values.get(node, {}).get('weights')
            columns.append(np.broadcast_to(rest, (len(times), len(rest))) if moved is None else moved)
        return np.concatenate(columns, 1)

    def _default_weights(self, node: int, count: int) -> np.ndarray:
        mesh = self.file.entries('meshes')[self.entries[node]['mesh']]
        found = self.entries[node].get('weights', mesh.get('weights', []))
        good = isinstance(found, list) and all(type(x) in (int, float) and abs(x) < 1e9 for x in found)
        found = list(map(float, found)) if good else []
        return np.array((found + [0.0] * count)[:count])

    def _texture(self, offsets: np.ndarray) -> tuple[np.ndarray | None, bytes | None]:
        """Give the image that most faces show, as it is stored, and where vertices lie on it."""
        counts: dict[int, int] = {}
        for piece in self.pieces:
            if piece.image is not None:
                counts[piece.image] = counts.get(piece.image, 0) + sum(map(len, piece.faces))
        if not counts:
            return None, None
        chosen = max(counts, key=lambda image: counts[image])
        if len(counts) > 1:
            self.notes.append(f'{len(counts)} textures: the one that most faces show is kept.')
        entry = self.file.entries('images')[chosen]
        try:
            if 'bufferView' in entry:
                data = bytes(self.file.view(entry['bufferView'], f'images[{chosen}]')[0])
            else:
                data = self.file.resource(entry.get('uri'), f'images[{chosen}]')
        except BadFileError as error:
            # A rig without its image is a rig all the same.
            self.notes.append(f'the texture is left out: {shorten(error, 200)}')
            return None, None
        uv = np.full((offsets[-1], 2), np.nan)
        for piece, at in zip(self.pieces, offsets):
            if piece.image == chosen and piece.uv is not None:
                uv[at : at + len(piece.uv)] = piece.uv
        return uv, data

    def _licence(self) -> str | None:
        found = self.file.document['asset'].get('copyright')
        return shorten(found, 200) if isinstance(found, str) and found.strip() else None


def file_skins(file: GltfFile) -> list[tuple[int, ...]]:
    """Give the joints' nodes of every skin."""
    found = []
    for number, entry in enumerate(file.entries('skins')):
        joints, where = entry.get('joints'), f'joints of skins[{number}]'
        if not isinstance(joints, list) or not joints:
            raise file.fail(f'{where} must be a list of nodes', joints, 'Export the file anew.')
        found.append(tuple(file.index('nodes', node, where) for node in joints))
    return found
