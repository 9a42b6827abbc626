"""Read a rigged animal from glTF 2.0 (.glb, .gltf)."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.data import SparseMatrix
from smilfit.files import BadFileError, charge, read_in_child, reading, shorten
from smilfit.rigs.gltf.file import AccessorReader, GltfFile, open_gltf
from smilfit.rigs.gltf.meshes import MeshPiece, MorphTargets, read_mesh
from smilfit.rigs.gltf.node_tree import Animation, check_size, read_animations, read_nodes
from smilfit.rigs.gltf.skins import JointBinding, file_skins
from smilfit.rigs.read_rig import Clip, Rig, apply, unique_joint_names, unique_names

_WHAT = 'a glTF file'
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
    with reading(path, _WHAT):
        return read_in_child(path, _WHAT, _read, path)


def _read(path: Path) -> Rig:
    with reading(path, _WHAT):
        return _GltfRig(open_gltf(path)).rig()


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
        self.binding = JointBinding(
            file, self.reader, self.nodes, self.worlds, self.pieces, self.animations, self.notes
        )

    def rig(self) -> Rig:
        """Put the rig together."""
        vertices, morphs = [], []
        columns: list[np.ndarray] = []
        start = 0
        entries = []
        placed = self.binding.place()
        for piece, (to_world, joint_of_slot) in zip(self.pieces, placed):
            vertices.append(apply(to_world, piece.vertices))
            morphs.append([d @ to_world[:3, :3].T for d in piece.morphs])
            columns.append(np.array(joint_of_slot, np.int64)[piece.slots])
            entries.append((start + piece.rows, piece.values))
            start += len(piece.vertices)
        order = self.binding.order()
        rank = np.argsort(order)
        cols = rank[np.concatenate(columns)] if columns else np.zeros(0, np.int64)
        weights = SparseMatrix(
            np.concatenate([rows for rows, _ in entries]), cols, np.concatenate([v for _, v in entries]),
            (start, len(order)),
        )  # fmt: skip
        bound = [self.binding.joints[i] for i in order]
        nodes = [joint.node for joint in bound]
        names = unique_joint_names([self.nodes.names[node] for node in nodes], self.notes)
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
            parents=self.binding.parents(nodes),
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
        hanging = self.nodes.with_descendants({node for nodes in skins for node in nodes})
        pieces: list[MeshPiece] = []
        known: dict[tuple[object, int], list[MeshPiece]] = {}
        left: list[str] = []
        shown = [n for n in range(len(self.entries)) if 'mesh' in self.entries[n] and self.nodes.shown[n]]
        skinned = {n for n in shown if 'skin' in self.entries[n]}
        for node in shown:
            if node not in skinned and node not in hanging:
                left.append(self.nodes.names[node])
                continue
            count = 0
            if node in skinned:
                count = len(skins[file.index('skins', self.entries[node]['skin'], f'skin of nodes[{node}]')])
            mesh = file.index('meshes', self.entries[node]['mesh'], f'mesh of nodes[{node}]')
            if (mesh, count) not in known:
                known[mesh, count] = list(read_mesh(file, self.reader, node, count, self.notes))
            for piece in known[mesh, count]:
                n = len(piece.vertices)
                charge('a node that shows a mesh', n_bytes=200 * n, n_objects=4 + n)
                pieces.append(replace(piece, node=node, faces=list(piece.faces)))
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

    def _morph_counts(self) -> dict[int, int]:
        result: dict[int, int] = {}
        for piece in self.pieces:
            result[piece.node] = max(result.get(piece.node, 0), len(piece.morph_names))
        return result

    def _clips(self, nodes: list[int], targets: MorphTargets) -> list[Clip]:
        moving = self.nodes.with_ancestors(nodes)
        meshes = {piece.node for piece in self.pieces}
        result = []
        names = unique_names([animation.name for animation in self.animations])
        for name, animation in zip(names, self.animations):
            times = animation.key_times(moving, meshes)
            if not len(times):
                self.notes.append(f'the clip {name} moves no joint: left out.')
                continue
            check_size(self.file, name, times, len(nodes))
            tracks = animation.at(times, moving)
            morphs = self._morph_weights(animation, times, targets)
            result.append(Clip(name, times, self.nodes.worlds(nodes, tracks, len(times)), morphs))
        return result

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
        mesh = self.file.entry('meshes', self.entries[node]['mesh'], f'mesh of nodes[{node}]')
        stated = self.entries[node].get('weights', mesh.get('weights', []))
        result = np.zeros(count)
        if isinstance(stated, list) and all(type(x) in (int, float) and abs(x) < 1e9 for x in stated):
            result[: len(stated)] = stated[:count]
        return result

    def _texture(self, offsets: np.ndarray) -> tuple[np.ndarray | None, bytes | None]:
        """Return the image that most faces show, as it is stored, and where vertices lie on it."""
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
        asset = self.file.document['asset']
        result = asset.get('copyright') if isinstance(asset, dict) else None
        return shorten(result, 200) if isinstance(result, str) and result.strip() else None
