"""What a model's tree says of its poses: chains of joints, left and right, and the mirror between them."""

import numpy as np
from jaxtyping import Float, Int

from smilfit.body_models.data import BodyModelData


def joint_chains(data: BodyModelData) -> tuple[tuple[int, ...], ...]:
    """Part the joints below the root into unbranched chains: a limb, a tail, a piece of a spine.

    Returns:
        Indices of joints, the root not among them; every other joint is in one chain.
    """
    parents = data.parents.tolist()
    children = [[j for j, p in enumerate(parents) if p == parent] for parent in range(len(parents))]
    chains = []
    for first in (j for p, below in enumerate(children) for j in below if p == 0 or len(below) > 1):
        chain = [first]
        while len(children[chain[-1]]) == 1:
            chain.append(children[chain[-1]][0])
        chains.append(tuple(chain))
    return tuple(chains)


def mirrored_joints(data: BodyModelData) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the mirror of poses: which joint takes whose rotation, and the signs of its axis-angle.

    At rest all joints have the model's axes. A mirror across the plane with the normal along axis a turns a rotation
    vector w into its reflection with the sign changed: the component along a stays, the two others change.

    Returns:
        Joints (J,) and signs (3,); None where the model has no pairs, or where these do not lie across an axis.
    """
    if not data.joint_symmetry:
        return None
    place = {name: j for j, name in enumerate(data.joint_names)}
    pairs = np.array([[place[a], place[b]] for a, b in data.joint_symmetry])
    across = np.abs(data.joints[pairs[:, 0]] - data.joints[pairs[:, 1]]).sum(0)
    axis = int(across.argmax())
    if across[axis] < 0.9 * np.linalg.norm(across):
        return None
    order = np.arange(data.n_joints)
    order[pairs[:, 0]], order[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    signs = -np.ones(3)
    signs[axis] = 1.0
    return order, signs


def mirror_partners(points: Float[np.ndarray, 'K 3'], axis: int, tolerance: float) -> Int[np.ndarray, ' K']:
    """Find which point stands where another's mirror image is; itself where none does or it is its own.

    Args:
        points: at rest, in the model's axes; the plane of the mirror goes through their middle.
        axis: across which the sides lie.
        tolerance: how far from the mirror image the other may be, in the points' unit.
    """
    image = points.copy()
    image[:, axis] = points[:, axis].min() + points[:, axis].max() - points[:, axis]
    distance = np.linalg.norm(points[:, None] - image[None], axis=-1)
    partner = distance.argmin(1)
    mutual = (partner[partner] == np.arange(len(points))) & (distance.min(1) <= tolerance)
    return np.where(mutual, partner, np.arange(len(points)))
