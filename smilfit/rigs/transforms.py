"""Affine maps as 4x4 matrices, in numpy and float64: what rigs are made of."""

import numpy as np
from jaxtyping import Float

_POLAR_STEPS = 7


def matrices_from_trs(
    translation: Float[np.ndarray, '... 3'],
    quaternion_xyzw: Float[np.ndarray, '... 4'],
    scale: Float[np.ndarray, '... 3'],
) -> Float[np.ndarray, '... 4 4']:
    """Give `translation * rotation * scale`; quaternions are normalised, one of no length turns nothing."""
    rotation = rotations_from_quaternions(quaternion_xyzw)
    lead = np.broadcast_shapes(translation.shape[:-1], rotation.shape[:-2], scale.shape[:-1])
    found = np.zeros((*lead, 4, 4))
    found[..., :3, :3] = rotation * scale[..., None, :]
    found[..., :3, 3] = translation
    found[..., 3, 3] = 1
    return found


def rotations_from_quaternions(quaternion_xyzw: Float[np.ndarray, '... 4']) -> Float[np.ndarray, '... 3 3']:
    """Give rotation matrices of quaternions (x, y, z, w) of any length but 0."""
    length = np.linalg.norm(quaternion_xyzw, axis=-1, keepdims=True)
    unit = np.where(length > 0, quaternion_xyzw / np.where(length > 0, length, 1), [0.0, 0.0, 0.0, 1.0])
    x, y, z, w = np.moveaxis(unit, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def apply(
    matrices: Float[np.ndarray, '... 4 4'], points: Float[np.ndarray, '... 3']
) -> Float[np.ndarray, '... 3']:
    """Map points."""
    return np.einsum('...ab,...b->...a', matrices[..., :3, :3], points) + matrices[..., :3, 3]


def inverse_or(
    matrices: Float[np.ndarray, 'n 4 4'], otherwise: Float[np.ndarray, 'n 4 4']
) -> Float[np.ndarray, 'n 4 4']:
    """Give inverses of affine maps; of one that flattens space, what stands in its place."""
    found = otherwise.copy()
    values = np.linalg.svd(matrices[:, :3, :3], compute_uv=False)
    good = values[:, -1] > 1e-9 * np.maximum(values[:, 0], 1e-30)
    found[good] = np.linalg.inv(matrices[good])
    return found


def nearest_rotations(linear: Float[np.ndarray, '... 3 3']) -> Float[np.ndarray, '... 3 3']:
    """Give the rotations nearest to linear maps (orthogonal Procrustes, no mirrors).

    Newton's iteration for the polar factor (Higham 1986), which takes a tenth of the time of decompositions; these do
    what is far from a rotation, or mirrored.
    """
    flat = linear.reshape(-1, 3, 3)
    found, hard = flat.copy(), np.ones(len(flat), bool)
    size = np.linalg.norm(flat, axis=(1, 2)) / 3**0.5
    near = np.linalg.det(flat) > 0.1 * size**3
    near &= size > 1e-12
    turn = flat[near] / size[near, None, None]
    for _ in range(_POLAR_STEPS):
        turn = (turn + np.linalg.inv(turn).transpose(0, 2, 1)) / 2
    good = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max((1, 2), initial=0) < 1e-14
    found[np.flatnonzero(near)[good]] = turn[good]
    hard[np.flatnonzero(near)[good]] = False
    u, _, vt = np.linalg.svd(flat[hard])
    u[..., -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[..., None]
    found[hard] = u @ vt
    return found.reshape(linear.shape)
