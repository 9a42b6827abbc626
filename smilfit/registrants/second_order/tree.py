"""Damped steps where every term is of single joints: poses are eliminated along the tree."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.articulated import factorise, subtree_inertia
from smilfit.geometry.articulated_motion import spatial_forces
from smilfit.geometry.plane_algebra import product
from smilfit.registrants.second_order.dense import FLOOR, Eliminated, eliminate
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.landmarks import point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.terms import pose_maps
from smilfit.structures import ParameterTerm, PointTerm, QuadraticTerm


def misfit(terms: Sequence[QuadraticTerm], kin: Kinematics) -> QuadraticTerm | None:
    """Find a term that couples joints otherwise than along the tree; None if the tree takes all."""
    for term in terms:
        if isinstance(term, PointTerm):
            fits = term.names is not None and term.cameras is None
            fits = fits and point_set(kin.body, term.names).landmarks is None
        elif isinstance(term, ParameterTerm):
            pose = term.curvature.get('body_pose')
            fits = pose is None or (pose.ndim == 4 and pose.shape[-1] == 3)
        else:
            fits = False
        if not fits:
            return term
    return None


class TreeEquations:
    """Sums terms by joint, and solves."""

    def __init__(self, kin: Kinematics, layout: Layout, terms: Sequence[QuadraticTerm]) -> None:
        self.kin, self.layout = kin, layout
        count = sum(size for _, size in layout.extras)
        batch, joints = kin.joints.shape[:2]
        zeros = kin.joints.new_zeros
        self.force, self.weight = zeros(batch, joints, 3), zeros(batch, joints, 3, 3)
        self.turn, self.stiffness = zeros(batch, joints, 3), zeros(batch, joints, 3, 3)
        self.pull, self.extra = zeros(batch, count), zeros(batch, count, count)
        for term in terms:
            if isinstance(term, PointTerm):
                index = point_set(kin.body, term.names).joints
                self.force.index_add_(1, index, term.gradient)
                self.weight.index_add_(1, index, term.curvature)
            else:
                self._add_parameters(term)

    def _add_parameters(self, term: ParameterTerm) -> None:
        columns, first = self.layout.extra_columns(), self.layout.n_pose
        for name, gradient in term.gradient.items():
            if name == 'body_pose':
                maps = pose_maps(self.kin)[:, 1:]
                back = maps.transpose(-1, -2)
                self.turn[:, 1:] += (back @ gradient.unflatten(1, (-1, 3)).unsqueeze(-1)).squeeze(-1)
                self.stiffness[:, 1:] += _product(back, _product(term.curvature[name], maps))
            elif name in columns:
                own = slice(columns[name].start - first, columns[name].stop - first)
                self.pull[:, own] += gradient
                self.extra[:, own, own] += term.curvature[name]

    def eliminate(self, damping: Tensor) -> Eliminated:
        """Express the frames' own unknowns by the shared ones, as the dense equations would."""
        kin, layout, tree = self.kin, self.layout, self.kin.body.tree
        batch, n_extra = self.pull.shape
        columns = [kin.joint_columns(name) for name, _ in layout.extras]
        border = torch.cat(columns, -1) if columns else kin.joints.new_zeros(*kin.joints.shape, 0)
        drawn = _product(self.weight, border)
        # Loads: the gradient, then each further parameter's pull on the joints.
        force = torch.cat((self.force.unsqueeze(-1), drawn), -1)
        turn = torch.cat((self.turn.unsqueeze(-1), torch.zeros_like(drawn)), -1)
        scales = self._scales()
        factor = factorise(
            kin.joints,
            tree,
            self.weight,
            None,
            None,
            self.stiffness + torch.diag_embed(damping[:, None, None] * scales[0]),
            torch.diag_embed(damping.unsqueeze(1) * scales[1]),
            self._turning(),
            layout.transl,
        )
        w, t, motion = factor.solve(force, None, turn, turn.new_zeros(batch, 3, 1 + n_extra))
        back = border.flatten(1, 2).transpose(1, 2)
        curvature = self.extra + back @ drawn.flatten(1, 2)
        pull = self.pull + (back @ self.force.flatten(1).unsqueeze(-1)).squeeze(-1)
        moved = drawn.flatten(1, 2).transpose(1, 2) @ motion.flatten(1, 2)
        n_own = n_extra - layout.n_shared
        own_scale = curvature.diagonal(dim1=1, dim2=2)[:, :n_own] + scales[2]
        left = eliminate(curvature + moved[..., 1:], pull + moved[..., 0], damping, own_scale)
        # pose = first + rest [own; shared], and own = start - influence shared.
        pose = self._stacked(w, t)
        first, of_own, of_shared = pose.split((1, n_own, layout.n_shared), -1)
        start = first[..., 0] + (of_own @ left.start.unsqueeze(-1)).squeeze(-1)
        influence = of_own @ left.influence - of_shared
        turns = scales[0].index_select(1, layout.free).flatten(1)
        return Eliminated(
            torch.cat((start, left.start), 1),
            torch.cat((influence, left.influence), 1),
            left.schur,
            left.pull,
            torch.cat((turns, scales[1][:, : 3 * layout.transl], own_scale), 1),
            torch.cat((self._slope(), pull), 1),
        )

    def _scales(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give Marquardt's scaling, the diagonal as in the dense equations: of turns, translation, and its floor."""
        inertia, mass = subtree_inertia(self.kin.joints, self.kin.body.tree, self.weight)
        turns = (inertia + self.stiffness).diagonal(dim1=-2, dim2=-1)
        shift = mass.diagonal(dim1=-2, dim2=-1)
        known = torch.cat((turns[:, self.layout.free].flatten(1), shift[:, : 3 * self.layout.transl]), 1)
        least = FLOOR * known.amax(1, keepdim=True).clamp_min(1e-30)
        return turns + least.unsqueeze(-1), shift + least, least

    def _turning(self) -> Tensor:
        turning = torch.zeros(self.kin.joints.shape[1], dtype=torch.bool, device=self.force.device)
        turning[self.layout.free] = True
        return turning

    def _slope(self) -> Tensor:
        """Give the gradient by turns and translation."""
        force = self.force.unsqueeze(-1)
        w, t = spatial_forces(force, torch.zeros_like(force), self.kin.joints, self.kin.body.tree)
        return self._stacked(w + self.turn.unsqueeze(-1), t)[..., 0]

    def _stacked(self, w: Tensor, t: Tensor) -> Tensor:
        """Bring turns and translation into the layout's order (B, n, R)."""
        turns = w.index_select(1, self.layout.free).flatten(1, 2)
        return torch.cat((turns, t), 1) if self.layout.transl else turns


def _product(a: Float[Tensor, '#B J 3 3'], b: Float[Tensor, 'B J 3 n']) -> Float[Tensor, 'B J 3 n']:
    """Multiply very many very small matrices; the result lies in planes, as the tree wants it."""
    return product(a.permute(2, 3, 1, 0).contiguous(), b.permute(2, 3, 1, 0).contiguous()).permute(3, 2, 0, 1)
