"""Forward kinematics of a tree of joints, walked by depth: one batched product a level.

Joint j hangs at `offset_j` in its parent's frame. Two published meanings of per-joint scales exist:
`'local'` (a child does not inherit its parent's scale) and `'inherited'`. In both, an offset lies in the scaled
frame of the parent, and the root's scale counts: a uniform scale of all joints in local mode scales the body.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

JOINT_SCALE_MODES = ('local', 'inherited')


@dataclass(frozen=True)
class KinematicTree:
    """Index tables of a tree, made once.

    `order` sorts joints by depth and `restore` undoes it. `levels` holds, for every depth below the root, how
    many joints it has and where their parents stand in the level above. `paths[i, j]` is 1 where j is i or one of
    its ancestors: a sum along every path to the root is one product with it.
    """

    parents: Tensor
    order: Tensor
    restore: Tensor
    levels: tuple[tuple[int, Tensor], ...]
    paths: Tensor

    @classmethod
    def from_parents(cls, parents: Sequence[int] | np.ndarray) -> 'KinematicTree':
        """Make the tables from each joint's parent; the root's is negative and stands first.

        Raises:
            ValueError: a parent that does not come before its child, or several roots.
        """
        parents = [int(p) for p in parents]
        for j, parent in enumerate(parents):
            if (j == 0) != (parent < 0) or parent >= j:
                raise ValueError(
                    f'KinematicTree: joint {j} must have a parent before it, and only joint 0 none; got parent '
                    f'{parent}. Sort the joints from the root outwards.'
                )
        depth = [0] * len(parents)
        paths = torch.eye(len(parents))
        for j, parent in enumerate(parents[1:], 1):
            depth[j] = depth[parent] + 1
            paths[j] += paths[parent]
        by_level = [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]
        levels = tuple(
            (len(below), torch.tensor([above.index(parents[j]) for j in below]))
            for above, below in zip(by_level, by_level[1:])
        )
        order = torch.tensor([j for level in by_level for j in level])
        return cls(torch.tensor(parents).clamp_min(0), order, order.argsort(), levels, paths)

    def to(self, *args: Any, **kwargs: Any) -> 'KinematicTree':
        """Move the tables to a device; `paths` also to a float type."""
        paths = self.paths.to(*args, **kwargs)
        device = paths.device
        return KinematicTree(
            self.parents.to(device),
            self.order.to(device),
            self.restore.to(device),
            tuple((n, index.to(device)) for n, index in self.levels),
            paths,
        )


def chain_products(matrices: Float[Tensor, 'B J 3 3'], tree: KinematicTree) -> Float[Tensor, 'B J 3 3']:
    """Multiply the matrices along every path from the root: `G_j = G_parent(j) M_j`."""
    by_depth = matrices.index_select(1, tree.order)
    sizes = [1, *(n for n, _ in tree.levels)]
    local = by_depth.split(sizes, 1)
    products = [local[0]]
    for (_, parent), matrix in zip(tree.levels, local[1:]):
        products.append(products[-1].index_select(1, parent) @ matrix)
    return torch.cat(products, 1).index_select(1, tree.restore)


def forward_kinematics(
    rotations: Float[Tensor, 'B J 3 3'],
    rest_joints: Float[Tensor, '#B J 3'],
    tree: KinematicTree,
    joint_scales: Float[Tensor, 'B J 3'] | None = None,
    joint_offsets: Float[Tensor, 'B J 3'] | None = None,
    joint_scale_mode: str = 'local',
) -> tuple[Float[Tensor, 'B J 3 3'], Float[Tensor, 'B J 3']]:
    """Pose a skeleton.

    Args:
        rotations: each joint's rotation in its parent's frame; the root's in the model's.
        rest_joints: joints at rest, model unit.
        tree: the joints' tree.
        joint_scales: factor along each axis of a joint's frame.
        joint_offsets: added to a joint's offset from its parent (the root's: to its position).
        joint_scale_mode: `'local'` or `'inherited'`.

    Returns:
        Each joint's linear map from the rest frame to the model's (rotation times scale), and its position.
    """
    local = rotations
    if joint_scales is not None and joint_scale_mode == 'inherited':
        local = rotations * joint_scales.unsqueeze(-2)
    linear = chain_products(local, tree)
    if joint_scales is not None and joint_scale_mode == 'local':
        linear = linear * joint_scales.unsqueeze(-2)
    above = tree.parents[1:]
    offsets = rest_joints[:, 1:] - rest_joints.index_select(1, above)
    root = rest_joints[:, :1]
    if joint_offsets is not None:
        offsets = offsets + joint_offsets[:, 1:]
        root = root + joint_offsets[:, :1]
    bones = (linear.index_select(1, above) @ offsets.unsqueeze(-1)).squeeze(-1)
    steps = torch.cat((root.expand(bones.shape[0], -1, -1), bones), 1)
    return linear, tree.paths @ steps
