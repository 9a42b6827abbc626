"""Normal equations of a tree of joints, solved from the leaves to the root in time proportional to the joints.

With the velocities `V_j = (v_j, o_j)` of `articulated_motion`, minimise over all rotations w and the translation t

    sum_j [ 1/2 V_j^T A_j V_j + F_j . V_j + 1/2 w_j^T D_j w_j + d_j . w_j ] + 1/2 t^T D_t t + d_t . t.

At joint c, `o = o_parent + w_c`. Eliminating w_c with K = A_oo + D leaves a quadratic in (v, o_parent) whose blocks

    vv - A_vo K^-1 A_ov,   D K^-1 A_ov,   D K^-1 A_oo

are products, not differences, where they can be; it is then carried along the bone to the parent (the articulated
inertia of Featherstone 1983, with a stiffness D in the joints). Every quadratic is referenced at its own joint: about
a common origin float32 loses a long tail. A level of the tree is one step; entries are planes of joints x frames.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.kinematic_chain import KinematicTree
from smilfit.geometry.plane_algebra import SymmetricFactor, minus_cross_matrix, product

Reduce = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class ArticulatedFactor:
    """The eliminated tree; it solves for any loads. Joints by depth, frames last.

    With `G = A_vo K^-1`, `H = A_oo K^-1` and `P = D K^-1`: `carry` (3, 3, n, B) is `o x bone` and `to_parent`
    (6, 3, n, B) is `(-G, P)`, by level, root first; `gain` (3, 6, J, B) is `-(G^T, H^T)`; `curvature` holds every K.
    A joint that is not free has `P = 1` and all others 0. `root` factorises the translation; None holds it.
    """

    tree: KinematicTree
    carry: tuple[Tensor, ...]
    to_parent: tuple[Tensor, ...]
    gain: Tensor
    curvature: SymmetricFactor
    root: SymmetricFactor | None

    @torch.no_grad()
    def solve(
        self,
        f: Float[Tensor, 'B J 3 R'],
        m: Float[Tensor, 'B J 3 R'] | None,
        d: Float[Tensor, 'B J 3 R'],
        d_t: Float[Tensor, 'B 3 R'],
    ) -> tuple[Float[Tensor, 'B J 3 R'], Float[Tensor, 'B 3 R']]:
        """Minimise for R sets of loads.

        Args:
            f: force on each joint, the derivative of the energy by its position.
            m: moment on each frame, the derivative by its angular velocity; None is none.
            d: derivative by each joint's own rotation.
            d_t: derivative by the root's translation.

        Returns:
            Rotation of every joint, radian, world axes, and translation of the root.
        """
        sizes, parents = _levels(self.tree)
        own = _planes(d, self.tree)
        loads = torch.cat(
            (_planes(f, self.tree), torch.zeros_like(own) if m is None else _planes(m, self.tree))
        )
        base = loads.new_zeros(6, loads.shape[1], 1, loads.shape[3])
        passed = product(self.gain.transpose(0, 1), own).split(sizes, 2)
        levels = loads.split(sizes, 2)
        for level in reversed(range(len(sizes))):
            force, moment = levels[level].split(3)
            load = product(self.to_parent[level], moment).add_(passed[level])
            force = load[:3].add_(force)
            load[3:] += product(self.carry[level].transpose(0, 1), force)
            (levels[level - 1] if level else base).index_add_(2, parents[level], load)
        motion = torch.zeros_like(base)
        if self.root is not None:
            motion[:3] = self.root.solve(base[:3] + d_t.permute(1, 2, 0).unsqueeze(2)).neg_()
        translation = motion[:3, :, 0].permute(2, 0, 1)
        alone = self.curvature.solve(loads[3:] + own).split(sizes, 2)
        rotations = []
        for carry, gain, turn, parent in zip(self.carry, self.gain.split(sizes, 2), alone, parents):
            motion = motion.index_select(2, parent)
            motion[:3] += product(carry, motion[3:])
            rotations.append(product(gain, motion).sub_(turn))
            motion[3:] += rotations[-1]
        w = torch.cat(rotations, 2).index_select(2, self.tree.restore)
        return w.permute(3, 2, 0, 1), translation


@torch.no_grad()
def factorise(
    joints: Float[Tensor, 'B J 3'],
    tree: KinematicTree,
    vv: Float[Tensor, 'B J 3 3'],
    vo: Float[Tensor, 'B J 3 3'] | None,
    oo: Float[Tensor, 'B J 3 3'] | None,
    rotation_curvature: Float[Tensor, 'B J 3 3'],
    translation_curvature: Float[Tensor, 'B 3 3'],
    free: Bool[Tensor, ' J'] | None = None,
    free_root_translation: bool = True,
) -> ArticulatedFactor:
    """Eliminate all rotations, leaves first.

    Args:
        joints: positions in the world.
        tree: the joints' tree.
        vv: curvature by each joint's position, positive semi-definite.
        vo: mixed curvature, rows position and columns angular velocity; None is none.
        oo: curvature by each frame's angular velocity; None is none.
        rotation_curvature: D, curvature by each joint's own rotation, damping included; positive definite where
            nothing else holds a free joint.
        translation_curvature: D_t, damping included.
        free: False holds a joint: its rotation comes out 0. None frees all.
        free_root_translation: False holds the root's position.
    """
    sizes, _ = _levels(tree)
    own = _planes(rotation_curvature, tree).split(sizes, 2)
    moves = [None] * len(sizes)
    if free is not None:
        moves = free.index_select(0, tree.order).to(vv.dtype).unsqueeze(-1).split(sizes)
    factors, to_parent = [], []

    def eliminate(level: int, quadratic: Tensor) -> Tensor:
        angular = quadratic[:, 3:]
        factors.append(SymmetricFactor.of(angular[:, 3:] + own[level], moves[level]))
        passed = factors[-1].solve(torch.cat((-angular[:, :3], own[level]), 1)).transpose(0, 1)
        if moves[level] is not None:
            passed[3:].diagonal().add_((1 - moves[level]).unsqueeze(-1))
        to_parent.append(passed)
        linear = quadratic[:, :3] + product(passed[:3], angular[:, :3])
        return torch.cat((linear, product(passed[3:], angular)), 1)

    carry = _carry(joints, tree)
    quadratics = _quadratics(tree, vv, vo, oo)
    base = _inward(tree, carry, quadratics, eliminate)
    curvature = SymmetricFactor(*(torch.cat(planes) for planes in zip(*reversed(factors))))
    root = None
    if free_root_translation:
        root = SymmetricFactor.of(base[:, :3] + translation_curvature.permute(1, 2, 0).unsqueeze(2))
    gain = curvature.solve(-quadratics[:, 3:])
    return ArticulatedFactor(tree, carry, tuple(reversed(to_parent)), gain, curvature, root)


@torch.no_grad()
def subtree_inertia(
    joints: Float[Tensor, 'B J 3'],
    tree: KinematicTree,
    vv: Float[Tensor, 'B J 3 3'],
    vo: Float[Tensor, 'B J 3 3'] | None = None,
    oo: Float[Tensor, 'B J 3 3'] | None = None,
) -> tuple[Float[Tensor, 'B J 3 3'], Float[Tensor, 'B 3 3']]:
    """Give the second derivative by each joint's rotation, and by the translation, of all that hangs on it.

    They are the diagonal blocks of `T^T A T`, without D: what Marquardt damping is in proportion to.
    """
    quadratics = _quadratics(tree, vv, vo, oo)
    base = _inward(tree, _carry(joints, tree), quadratics, lambda level, quadratic: quadratic)
    rotations = quadratics[:, 6:].index_select(2, tree.restore)
    return rotations.permute(3, 2, 0, 1), base[:, :3, 0].permute(2, 0, 1)


def _inward(tree: KinematicTree, carry: tuple[Tensor, ...], quadratics: Tensor, reduce: Reduce) -> Tensor:
    """Add each joint's quadratic, reduced, to its parent's in place; return (3, 9, 1, B) that reaches the base."""
    sizes, parents = _levels(tree)
    levels = quadratics.split(sizes, 2)
    base = quadratics.new_zeros(3, 9, 1, quadratics.shape[3])
    for level in reversed(range(len(sizes))):
        linear, mixed, turning = reduce(level, levels[level]).split(3, 1)
        shifted = mixed + product(carry[level].transpose(0, 1), linear)
        # The exact sum is symmetric; halving it with its transpose lets both shifts share one product.
        turning = turning + product(mixed + shifted, carry[level])
        turning = (turning + turning.transpose(0, 1)).mul_(0.5)
        above = levels[level - 1] if level else base
        above.index_add_(2, parents[level], torch.cat((linear, shifted, turning), 1))
    return base


def _quadratics(tree: KinematicTree, vv: Tensor, vo: Tensor | None, oo: Tensor | None) -> Tensor:
    """Lay A out as (3, 9, J, B): the columns of vv, ov and oo."""
    blocks = (vv, None if vo is None else vo.mT, oo)
    quadratics = vv.new_zeros(3, 9, vv.shape[1], vv.shape[0])
    for first, block in zip((0, 3, 6), blocks):
        if block is not None:
            quadratics[:, first : first + 3] = _planes(block, tree)
    return quadratics


def _carry(joints: Tensor, tree: KinematicTree) -> tuple[Tensor, ...]:
    bones = joints - joints.index_select(1, tree.parents)
    matrices = minus_cross_matrix(_planes(bones.unsqueeze(-1), tree).squeeze(1))
    return matrices.split(_levels(tree)[0], 2)


def _planes(by_joint: Tensor, tree: KinematicTree) -> Tensor:
    """Turn (B, J, I, K) into (I, K, J, B), joints by depth."""
    return by_joint.index_select(1, tree.order).permute(2, 3, 1, 0).contiguous()


def _levels(tree: KinematicTree) -> tuple[list[int], list[Tensor]]:
    """How many joints each level has, and where their parents stand in the level above; the root's in a base of one."""
    return [1, *(n for n, _ in tree.levels)], [
        tree.order.new_zeros(1),
        *(parent for _, parent in tree.levels),
    ]
