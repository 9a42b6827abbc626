"""Bind the meshes of a glTF file to joints: where skins place both, and what hangs on one joint whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import charge
from smilfit.rigs.gltf.file import AccessorReader, GltfFile
from smilfit.rigs.gltf.meshes import MeshPiece
from smilfit.rigs.gltf.node_tree import Animation, NodeTree
from smilfit.rigs.read_rig import apply, inverse_or, listed, nearest_rotations

# Of the mesh's size: joints this close to each other are where one map takes them.
_SAME = 1e-3
# Bind matrices of one joint in two skins that are one up to float32.
SAME_BIND = 5e-7
_MOST_CANDIDATES = 64
# Least scale of a map to its greatest, and the least of all: below, it flattens what it maps.
_FLAT, _NOTHING = 1e-9, 1e-20
_POSED = 'the skeleton stands in another pose than the skin was bound in; the rest pose is that of binding.'


@dataclass(frozen=True)
class Skin:
    """What moves a mesh: its joints' nodes and their inverse bind matrices (n, 4, 4)."""

    number: int
    nodes: tuple[int, ...]
    inverse_bind: np.ndarray
    influence: np.ndarray  # (n,) sum of the weights of every joint
    corners: np.ndarray  # (8, 3) of the box of the meshes, in their space


def place_skin(
    skin: Skin, worlds: Float[np.ndarray, 'n 4 4'], mesh_world: Float[np.ndarray, '4 4']
) -> tuple[Float[np.ndarray, '4 4'], bool]:
    """Find the map of a mesh's space to the world; and whether the nodes stand as the skin was bound.

    The map on which most of the skin agrees is taken. Where nodes stand in another pose than that of binding, it is
    the place of the mesh's own node if that has the right size, else the root joint's map without what it deforms.

    Args:
        worlds: its joints' nodes in the world.
        mesh_world: the node of the mesh in the world.
    """
    maps = worlds @ skin.inverse_bind
    best, share = agreed_map(maps, skin)
    if share > 0.5 and np.abs(np.linalg.det(best[:3, :3])) > 0:
        return best, share > 0.999
    root = maps[0]
    size_root, size_mesh = (np.abs(np.linalg.det(m[:3, :3])) ** (1 / 3) for m in (root, mesh_world))
    rotation = nearest_rotations(root[:3, :3]).T @ nearest_rotations(mesh_world[:3, :3])
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    if abs(size_mesh / max(size_root, 1e-30) - 1) < 0.05 and angle < np.pi / 3:
        return mesh_world, False
    similar = np.eye(4)
    similar[:3, :3] = max(size_root, 1e-30) * nearest_rotations(root[:3, :3])
    similar[:3, 3] = root[:3, 3]
    return similar, False


def agreed_map(maps: Float[np.ndarray, 'n 4 4'], skin: Skin) -> tuple[Float[np.ndarray, '4 4'], float]:
    """Return the map with which the joints of most influence agree, and their share."""
    weights = np.maximum(skin.influence, 0)
    weights = weights if weights.sum() > 0 else np.ones(len(maps))
    moved = np.einsum('nab,cb->nca', maps[:, :3, :3], skin.corners) + maps[:, None, :3, 3]
    best, most = maps[0], -1.0
    for k in np.argsort(-weights, kind='stable')[:_MOST_CANDIDATES]:
        size = np.linalg.norm(np.ptp(moved[k], axis=0))
        near = np.abs(moved - moved[k]).max((1, 2)) <= _SAME * max(float(size), 1e-30)
        if (share := float(weights[near].sum() / weights.sum())) > most:
            best, most = maps[k], share
        if most > 0.5:
            break
    return best, most


def bind_places(
    skin: Skin, to_world: Float[np.ndarray, '4 4'], worlds: Float[np.ndarray, 'n 4 4']
) -> Float[np.ndarray, 'n 4 4']:
    """Return the joints where they were bound, in the world.

    One whose bind matrix has no inverse is at its node, without the scale of a node that is scaled to nothing.
    """
    nothing = np.full((len(skin.nodes), 4, 4), np.nan)
    result = to_world @ inverse_or(skin.inverse_bind, nothing)
    for k in np.flatnonzero(~np.isfinite(result).all((1, 2))):
        result[k] = worlds[k]
        if flattens(worlds[k]):
            result[k, :3, :3] = np.eye(3)
    return result


def flattens(matrix: Float[np.ndarray, '4 4']) -> bool:
    """Check whether a map has no inverse that numbers hold: it makes a plane, a line or a point of space."""
    values = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(values[-1] <= max(_FLAT * values[0], _NOTHING))


def differ(
    a: Float[np.ndarray, '4 4'], b: Float[np.ndarray, '4 4'], corners: Float[np.ndarray, 'n 3'], size: float
) -> bool:
    """Check whether two places of a joint move the skin differently, by more than float32 has room for."""
    moved = apply(a @ np.linalg.inv(b), corners) - corners
    return bool(np.abs(moved).max() > SAME_BIND * size)


@dataclass
class BoundJoint:
    """A joint of the rig: a node, and where it was bound, in the world."""

    node: int
    rest: Float[np.ndarray, '4 4']


class JointBinding:
    """Joints as they come up, and meshes on them.

    Args:
        worlds: of all of them, as the file has them at rest.
        pieces: the meshes; those that hang on a joint whole get their weights here.
        animations: a node that one moves by itself is a joint.
        notes: what is told is added to these.
    """

    def __init__(
        self,
        file: GltfFile,
        reader: AccessorReader,
        nodes: NodeTree,
        worlds: Float[np.ndarray, 'n 4 4'],
        pieces: Sequence[MeshPiece],
        animations: Sequence[Animation],
        notes: list[str],
    ) -> None:
        self.file, self.reader, self.nodes, self.worlds = file, reader, nodes, worlds
        self.pieces, self.animations, self.notes = pieces, animations, notes
        self.entries = file.entries('nodes')
        self.joints: list[BoundJoint] = []
        self.whole: list[str] = []
        self._at: dict[int, list[int]] = {}
        self._of_skin: dict[int | None, list[MeshPiece]] = {}
        for piece in pieces:
            self._of_skin.setdefault(self._skin_of(piece), []).append(piece)
        # Nodes that an animation turns or shifts by themselves.
        self._moving = {t.node for a in animations for t in a.tracks if t.path != 'weights'}

    def place(self) -> list[tuple[np.ndarray, list[int]]]:
        """Bring every piece into the world: its map, and which joint each slot of its skin is."""
        skins = self._skins()
        placed: dict[int, np.ndarray] = {}
        slots: dict[int, list[int]] = {}
        first: dict[int, int] = {}
        size = 0.0
        for number in sorted(skins, key=lambda n: -skins[n].influence.sum()):
            skin = skins[number]
            worlds = self.worlds[list(skin.nodes)]
            node = self._of_skin[number][0].node
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
        result = []
        for piece in self.pieces:
            of_piece = self._skin_of(piece)
            if of_piece is not None:
                result.append((placed[of_piece], slots[of_piece]))
                if not piece.weighted:
                    self.notes.append(f'the mesh {self.nodes.names[piece.node]} has a skin but no weights.')
            else:
                result.append(self._rigid(piece, first))
        if self.whole:
            words = f'meshes without weights move with one joint each: {listed(self.whole)}'
            self.notes.append(f'{len(self.whole)} {words}.')
        return result

    def _bind(
        self, skin: Skin, places: np.ndarray, corners: np.ndarray, size: float, first: dict[int, int]
    ) -> list[int]:
        """Return the joint of every slot; a node that two skins bind at two places is a joint for each."""
        result = []
        for k, node in enumerate(skin.nodes):
            known = self._at.get(node, []) if node in first else []
            same = [i for i in known if not differ(places[k], self.joints[i].rest, corners, size)]
            if same:
                result.append(same[0])
            elif known and skin.influence[k] == 0:
                result.append(known[0])
            else:
                if known:
                    self.notes.append(
                        f'the joint {self.nodes.names[node]} is bound at two places: it is there twice.'
                    )
                first.setdefault(node, len(self.joints))
                result.append(len(self.joints))
                self._add(node, places[k])
        return result

    def _bind_unused(self, first: dict[int, int]) -> None:
        """Bind joints of skins that no mesh uses, where meshes hang on them whole: at their nodes."""
        hanging = [piece.node for piece in self._of_skin.get(None, [])]
        above: set[int] | None = None
        for nodes in file_skins(self.file):
            if above is None:
                # Of the meshes that hang on no joint yet.
                charge('joints of skins that no mesh uses', n_objects=len(self.entries))
                bound = self.nodes.with_descendants(first)
                above = self.nodes.with_ancestors(node for node in hanging if node not in bound)
            if above.isdisjoint(nodes):
                continue
            for node in nodes:
                if node not in first:
                    first[node] = len(self.joints)
                    self._add(node, self.worlds[node])
            above = None

    def _add(self, node: int, rest: np.ndarray) -> None:
        self._at.setdefault(node, []).append(len(self.joints))
        self.joints.append(BoundJoint(node, rest))

    def _rigid(self, piece: MeshPiece, first: dict[int, int]) -> tuple[np.ndarray, list[int]]:
        """Hang a mesh without weights on the nearest joint above it; on its own node, where that moves by itself."""
        joint, between = piece.node, []
        while joint not in first:
            between.append(joint)
            joint = int(self.nodes.parents[joint])
        charge('the way from a mesh to its joint', n_objects=len(between) // 16)
        self._check_thick(self.worlds[joint], joint)
        if not self._moving.isdisjoint(between):
            # Its own place at rest is the one that it has on the joint's.
            rest = (
                self.joints[first[joint]].rest @ np.linalg.inv(self.worlds[joint]) @ self.worlds[piece.node]
            )
            first[piece.node] = len(self.joints)
            self._add(piece.node, rest)
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
        skin = self.entries[piece.node].get('skin')
        return skin if isinstance(skin, int) else None

    def _skins(self) -> dict[int, Skin]:
        """Read the skins that pieces hang on."""
        nodes = file_skins(self.file)
        result = {}
        for number in sorted(number for number in self._of_skin if number is not None):
            mine = self._of_skin[number]
            entry = self.file.entries('skins')[number]
            count, where = len(nodes[number]), f'skins[{number}].inverseBindMatrices'
            bind = np.tile(np.eye(4), (count, 1, 1))
            if 'inverseBindMatrices' in entry:
                bind = self.reader.floats(entry['inverseBindMatrices'], 'MAT4', where)
                if len(bind) < count:
                    raise self.file.fail(f'{where} must have {count} matrices', len(bind))
                # Matrices lie column by column.
                bind = bind[:count].reshape(-1, 4, 4).transpose(0, 2, 1)
            influence = sum(np.bincount(p.slots, np.abs(p.values), count) for p in mine)
            low = np.min([p.vertices.min(0) for p in mine], 0)
            high = np.max([p.vertices.max(0) for p in mine], 0)
            grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)
            result[number] = Skin(
                number, nodes[number], bind, np.asarray(influence), low + grid * (high - low)
            )
        return result

    def order(self) -> list[int]:
        """Sort the joints: as the file lists them, but parents first; to be asked for when all is placed."""
        order: list[int] = []
        visited: set[int] = set()
        for joint in self.joints:
            way, node = [], joint.node
            while node >= 0 and node not in visited:
                visited.add(node)
                way.append(node)
                node = int(self.nodes.parents[node])
            order += [i for above in way[::-1] for i in self._at.get(above, ())]
        return order

    def parents(self, nodes: Sequence[int]) -> Int[np.ndarray, ' J']:
        """Return for each of the joints' nodes the place of the nearest one above it among them; -1 for a root."""
        first = {node: j for j, node in reversed(list(enumerate(nodes)))}
        nearest: dict[int, int] = {}
        for node in self.nodes.order:
            above = int(self.nodes.parents[node])
            nearest[node] = first.get(above, nearest.get(above, -1))
        return np.array([nearest[node] for node in nodes])


def file_skins(file: GltfFile) -> list[tuple[int, ...]]:
    """Return the joints' nodes of every skin."""
    result = []
    for number, entry in enumerate(file.entries('skins')):
        joints, where = entry.get('joints'), f'joints of skins[{number}]'
        if not isinstance(joints, list) or not joints:
            raise file.fail(f'{where} must be a list of nodes', joints)
        result.append(tuple(file.index('nodes', node, where) for node in joints))
    return result
