"""How small turns of the joints of a tree move its frames, and how loads on the frames reach the joints.

Unknowns are a small world-frame rotation `w_j` of every joint and a translation `t` of the root. Frame j moves with
`(v_j, o_j)`, the velocity of its joint and its angular velocity:
`o_c = o_parent + w_c`, `v_c = v_parent + o_parent x (p_c - p_parent)`; the root has `v = t`, `o = w_root`.
Both sums run along paths, so each is one product with the tree's path matrix, and positions enter only as bones:
a body far from the origin loses nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.kinematic_chain import KinematicTree


def spatial_velocities(
    w: Float[Tensor, 'B J 3 R'],
    t: Float[Tensor, 'B 3 R'],
    joints: Float[Tensor, 'B J 3'],
    tree: KinematicTree,
) -> tuple[Float[Tensor, 'B J 3 R'], Float[Tensor, 'B J 3 R']]:
    """Apply T: velocities and angular velocities of all frames, for R columns of unknowns at once.

    Args:
        w: rotation of each joint, radian, world axes.
        t: translation of the root, unit of `joints`.
        joints: positions in the world.
        tree: the joints' tree.
    """
    # Joints before the batch, so that a sum along all paths is one matrix product.
    angular = _along_paths(tree.paths.to(w.dtype), w.transpose(0, 1))
    carried = torch.linalg.cross(angular.index_select(0, tree.parents), _bones(joints, tree), dim=2)
    linear = _along_paths(tree.paths.to(w.dtype), carried) + t
    return linear.transpose(0, 1), angular.transpose(0, 1)


def spatial_forces(
    f: Float[Tensor, 'B J 3 R'],
    m: Float[Tensor, 'B J 3 R'],
    joints: Float[Tensor, 'B J 3'],
    tree: KinematicTree,
) -> tuple[Float[Tensor, 'B J 3 R'], Float[Tensor, 'B 3 R']]:
    """Apply T transposed: what forces `f` and moments `m` on the frames do to the rotations and the translation."""
    from_tips = tree.paths.to(f.dtype).t()
    pull = _along_paths(from_tips, f.transpose(0, 1))
    levered = torch.linalg.cross(_bones(joints, tree), pull, dim=2)
    moments = m.transpose(0, 1).index_add(0, tree.parents, levered)
    return _along_paths(from_tips, moments).transpose(0, 1), pull[0]


def dense_map(joints: Float[Tensor, 'B J 3'], tree: KinematicTree) -> Float[Tensor, 'B N M']:
    """Write T out as matrices of N = 6J rows `v_0..v_(J-1), o_0..` and M = 3J + 3 columns `w_0..w_(J-1), t`."""
    n_frames, n_joints, _ = joints.shape
    paths = tree.paths.to(joints.dtype)
    matrix = joints.new_zeros(n_frames, 2, n_joints, 3, n_joints + 1, 3)
    linear, angular = matrix.unbind(1)
    levers = (joints[:, :, None] - joints[:, None]) * paths[..., None]
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        # w x q, one axis of w at a time.
        linear[:, :, a, :n_joints, b] = levers[..., c]
        linear[:, :, b, :n_joints, a] = -levers[..., c]
        linear[:, :, a, n_joints, a] = 1
        angular[:, :, a, :n_joints, a] = paths
    return matrix.reshape(n_frames, 6 * n_joints, 3 * n_joints + 3)


def _bones(joints: Tensor, tree: KinematicTree) -> Tensor:
    """(J, B, 3, 1) from each joint's parent to the joint; the root, its own parent, has none."""
    by_joint = joints.transpose(0, 1)
    return (by_joint - by_joint.index_select(0, tree.parents)).unsqueeze(-1)


def _along_paths(paths: Tensor, by_joint: Tensor) -> Tensor:
    return (paths @ by_joint.reshape(len(paths), -1)).view(by_joint.shape)
