"""Skins of a glTF file brought into one world: where joints and vertices are in the pose in which they were bound.

A skin says by inverse bind matrices B where its joints were. Vertices are moved by `W(t) B`, with W a joint's place
in the world, so `W B` in the pose of binding is one map S for all joints: it takes the mesh's space to the world. Any
S gives the same motion, `W B S^-1`, of vertices `S x` about joints at rest at `S B^-1`; the right one makes the
animal stand at rest in the file's own unit and axes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from smilfit.rigs.transforms import apply, inverse_or, nearest_rotations

# Of the mesh's size: joints this close to each other are where one map takes them.
_SAME = 1e-3
# Bind matrices of one joint in two skins that are one up to float32.
SAME_BIND = 5e-7
_MOST_CANDIDATES = 64
# Least scale of a map to its greatest, and the least of all: below, it flattens what it maps.
_FLAT, _NOTHING = 1e-9, 1e-20


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
        skin: the skin.
        worlds: its joints' nodes in the world.
        mesh_world: the node of the mesh in the world.
    """
    maps = worlds @ skin.inverse_bind
    best, share = agreed_map(maps, skin)
    if share > 0.5 and np.abs(np.linalg.det(best[:3, :3])) > 0:
        return best, share > 0.999
    root = maps[0]
    size_root, size_mesh = (np.abs(np.linalg.det(m[:3, :3])) ** (1 / 3) for m in (root, mesh_world))
    turn = nearest_rotations(root[:3, :3]).T @ nearest_rotations(mesh_world[:3, :3])
    angle = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    if abs(size_mesh / max(size_root, 1e-30) - 1) < 0.05 and angle < np.pi / 3:
        return mesh_world, False
    similar = np.eye(4)
    similar[:3, :3] = max(size_root, 1e-30) * nearest_rotations(root[:3, :3])
    similar[:3, 3] = root[:3, 3]
    return similar, False


def agreed_map(maps: Float[np.ndarray, 'n 4 4'], skin: Skin) -> tuple[Float[np.ndarray, '4 4'], float]:
    """Give the map with which the joints of most influence agree, and their share."""
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
    """Give the joints where they were bound, in the world.

    One whose bind matrix has no inverse is at its node, without the scale of a node that is scaled to nothing.
    """
    nothing = np.full((len(skin.nodes), 4, 4), np.nan)
    found = to_world @ inverse_or(skin.inverse_bind, nothing)
    for k in np.flatnonzero(~np.isfinite(found).all((1, 2))):
        found[k] = worlds[k]
        if flattens(worlds[k]):
            found[k, :3, :3] = np.eye(3)
    return found


def flattens(matrix: Float[np.ndarray, '4 4']) -> bool:
    """Say whether a map has no inverse that numbers hold: it makes a plane, a line or a point of space."""
    values = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(values[-1] <= max(_FLAT * values[0], _NOTHING))


def differ(
    a: Float[np.ndarray, '4 4'], b: Float[np.ndarray, '4 4'], corners: Float[np.ndarray, 'n 3'], size: float
) -> bool:
    """Say whether two places of a joint move the skin differently, by more than float32 has room for."""
    apart = apply(a @ np.linalg.inv(b), corners) - corners
    return bool(np.abs(apart).max() > SAME_BIND * size)
