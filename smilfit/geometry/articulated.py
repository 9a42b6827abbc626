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

Reduce = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ArticulatedFactor:
    """The eliminated tree; it solves for any loads. Joints by depth, frames last.

    With `G = A_vo K^-1`, `H = A_oo K^-1` and `P = D K^-1`, and S that carries o along the bone: the parent's
    velocities give `(v, w)` by `outward = [1, S; -G^T, -H^T - G^T S]`, less what the joint's own load turns it; loads
    `(f, m)` reach the parent by the transpose of `inward = [1, S; -G^T, P^T - G^T S]`, both (6, 6, J, B).
    `curvature` holds every K. A joint that is not free has G = H = 0 and P = 1. `root` factorises the translation;
    None holds it.
    """

    tree: KinematicTree
    inward: Tensor
    outward: Tensor
    curvature: SymmetricFactor
    root: SymmetricFactor | None

    @torch.no_grad()
    def solve(
        self,
        f: Float[Tensor, 'B J 3 R'],
        m: Float[Tensor, 'B J 3 R'] | None,
        d: Float[Tensor, 'B J 3 R'],
        d_t: Float[Tensor, 'B 3 R'],
    ) -> tuple[Float[Tensor, 'B J 3 R'], Float[Tensor, 'B 3 R'], Float[Tensor, 'B J 3 R']]:
        """Minimise for R sets of loads.

        Args:
            f: force on each joint, the derivative of the energy by its position.
            m: moment on each frame, the derivative by its angular velocity; None is none.
            d: derivative by each joint's own rotation.
            d_t: derivative by the root's translation.

        Returns:
            Rotation of every joint, radian, world axes; translation of the root; and the motion of every joint that
            the two make, as `spatial_velocities` has it.
        """
        sizes = _sizes(self.tree)
        own = _planes(d, self.tree)
        loads = torch.cat(
            (_planes(f, self.tree), torch.zeros_like(own) if m is None else _planes(m, self.tree))
        )
        levels = loads.split(sizes, 2)
        passed = product(self.outward[3:].transpose(0, 1), own).split(sizes, 2)
        inward = self.inward.transpose(0, 1).split(sizes, 2)
        for level, (_, parents) in reversed(list(enumerate(self.tree.levels, 1))):
            load = product(inward[level], levels[level]).add_(passed[level])
            levels[level - 1].index_add_(2, parents, load)
        base = product(inward[0][:3], levels[0]).add_(passed[0][:3])
        turns = self.curvature.solve_(own.add_(loads[3:])).split(sizes, 2)
        translation = torch.zeros_like(base)
        if self.root is not None:
            translation = self.root.solve_(base.add_(d_t.permute(1, 2, 0).unsqueeze(2))).neg_()
        motion = torch.cat((translation, torch.zeros_like(translation)))
        rotations, velocities = [], []
        for level, outward in enumerate(self.outward.split(sizes, 2)):
            if level:
                motion = motion.index_select(2, self.tree.levels[level - 1][1])
            linear, w = product(outward, motion).split(3)
            rotations.append(w.sub_(turns[level]))
            velocities.append(linear)
            motion = torch.cat((linear, motion[3:] + w))
        w, v = (torch.cat(x, 2).index_select(2, self.tree.restore) for x in (rotations, velocities))
        return w.permute(3, 2, 0, 1), translation[:, :, 0].permute(2, 0, 1), v.permute(3, 2, 0, 1)


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
    """Eliminate all rotations, leaves first, in the precision of the given tensors; without gradients.

    D and D_t are raised by the rounding of the curvature each carries, one part in 10^7 of its rigid subtree's in
    float32, so that directions without a digit left are damped, not blown up. Nothing carried raises nothing.

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
    sizes = _sizes(tree)
    of_joints, of_root = _rounding(joints, tree, vv, oo)
    floor = of_joints.split(sizes)
    own = _planes(rotation_curvature, tree)
    own.diagonal().add_(of_joints.unsqueeze(-1))
    own = own.split(sizes, 2)
    held = None
    if free is not None:
        held = (~free).index_select(0, tree.order).to(vv.dtype).unsqueeze(-1).split(sizes)
    factors, reductions = [], []

    def eliminate(level: int, linear: Tensor, angular: Tensor) -> tuple[Tensor, Tensor]:
        factor = SymmetricFactor.of(angular[:, 3:] + own[level], floor[level])
        if held is not None:
            factor.inverse.mul_(1 - held[level])
        passed = factor.solve_(torch.cat((-angular[:, :3], own[level]), 1))
        if held is not None:
            passed[:, 3:].diagonal().add_(held[level].unsqueeze(-1))
        factors.append(factor)
        reductions.append(passed)
        given_up, kept = passed.transpose(0, 1).split(3)
        return linear + product(given_up, angular[:, :3]), product(kept, angular)

    carry = _carry(joints, tree)
    quadratics = _quadratics(tree, vv, vo, oo)
    base = _inward(tree, carry, quadratics, eliminate)
    curvature = SymmetricFactor.joined(factors[::-1], -2)
    root = None
    if free_root_translation:
        base = base + translation_curvature.permute(1, 2, 0).unsqueeze(2)
        base.diagonal().add_(of_root.unsqueeze(-1))
        root = SymmetricFactor.of(base, of_root)
    by_linear, by_parent = torch.cat(reductions[::-1], 2).split(3, 1)
    along_bone = product(by_linear, carry)
    carried = torch.cat((_identity(carry), carry), 1)
    inward = torch.cat((carried, torch.cat((by_linear, by_parent + along_bone), 1)))
    by_angular = curvature.solve_(-quadratics[:, 6:])
    outward = torch.cat((carried, torch.cat((by_linear, by_angular.add_(along_bone)), 1)))
    return ArticulatedFactor(tree, inward, outward, curvature, root)


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
    base = _inward(tree, _carry(joints, tree), quadratics, lambda level, *blocks: blocks)
    rotations = quadratics[:, 6:].index_select(2, tree.restore)
    return rotations.permute(3, 2, 0, 1), base[:, :, 0].permute(2, 0, 1)


def _inward(tree: KinematicTree, carry: Tensor, quadratics: Tensor, reduce: Reduce) -> Tensor:
    """Add each joint's quadratic, reduced, to its parent's in place; return vv left at the root."""
    sizes = _sizes(tree)
    levels, carry = quadratics.split(sizes, 2), carry.split(sizes, 2)
    for level, (_, parents) in reversed(list(enumerate(tree.levels, 1))):
        linear, angular = reduce(level, levels[level][:, :3], levels[level][:, 3:])
        mixed, turning = angular.split(3, 1)
        shifted = mixed + product(carry[level].transpose(0, 1), linear)
        # The exact sum is symmetric; halving it with its transpose lets both shifts share one product.
        turning = turning + product(mixed + shifted, carry[level])
        turning = (turning + turning.transpose(0, 1)).mul_(0.5)
        levels[level - 1].index_add_(2, parents, torch.cat((linear, shifted, turning), 1))
    return reduce(0, levels[0][:, :3], levels[0][:, 3:])[0]


def _quadratics(tree: KinematicTree, vv: Tensor, vo: Tensor | None, oo: Tensor | None) -> Tensor:
    """Lay A out as (3, 9, J, B): the columns of vv, ov and oo."""
    blocks = (vv, None if vo is None else vo.mT, oo)
    quadratics = vv.new_zeros(3, 9, vv.shape[1], vv.shape[0])
    for first, block in zip((0, 3, 6), blocks):
        if block is not None:
            quadratics[:, first : first + 3] = _planes(block, tree)
    return quadratics


def _rounding(joints: Tensor, tree: KinematicTree, vv: Tensor, oo: Tensor | None) -> tuple[Tensor, Tensor]:
    """Give the curvature that rounding makes up, of rotations (J, B), by depth, and of the translation (1, B).

    Eliminating stiff joints leaves soft directions as differences of stiff ones, wrong by the rounding of the largest
    curvature met below a joint; that of the rigid subtree bounds it. Sums about the root tell it well enough.
    """
    kind = torch.finfo(vv.dtype)
    stiffness = vv.diagonal(dim1=-2, dim2=-1).sum(-1).t().unsqueeze(-1)
    levers = (joints - joints[:, :1]).transpose(0, 1)
    squared = levers.square().sum(-1, keepdim=True)
    turning = stiffness * squared
    if oo is not None:
        turning = turning + oo.diagonal(dim1=-2, dim2=-1).sum(-1).t().unsqueeze(-1)
    sums = torch.cat((stiffness, stiffness * levers, turning), -1)
    sums = (tree.paths.to(vv.dtype).t() @ sums.flatten(1)).view_as(sums)
    weight, moment, turning = sums.split((1, 3, 1), -1)
    about_joints = turning - 2 * (moment * levers).sum(-1, keepdim=True) + weight * squared
    rounding = torch.cat((weight[:1], about_joints.index_select(0, tree.order))).squeeze(-1)
    rounding = rounding.clamp_min_(0).mul_(kind.eps).add_(kind.tiny**0.5)
    return rounding[1:], rounding[:1]


def _carry(joints: Tensor, tree: KinematicTree) -> Tensor:
    bones = joints - joints.index_select(1, tree.parents)
    return minus_cross_matrix(_planes(bones.unsqueeze(-1), tree).squeeze(1))


def _identity(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device)[..., None, None].expand_as(like)


def _planes(by_joint: Tensor, tree: KinematicTree) -> Tensor:
    """Turn (B, J, I, K) into (I, K, J, B), joints by depth."""
    # Picking from the permuted view copies once, and plane by plane.
    return by_joint.permute(2, 3, 1, 0).index_select(2, tree.order)


def _sizes(tree: KinematicTree) -> list[int]:
    return [1, *(n for n, _ in tree.levels)]
