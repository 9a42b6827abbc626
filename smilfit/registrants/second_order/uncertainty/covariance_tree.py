"""Covariances along the tree of joints: what `covariance_dense` computes, at a cost that grows with the joints."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.posing import KinematicTree
from smilfit.geometry.rotation import skew
from smilfit.registrants.second_order.body_problem import FrameBatch, FrameEvaluation
from smilfit.registrants.second_order.equations import block_diagonal, pose_maps
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.quadratic_models import Model, ParameterModel, PointModel
from smilfit.registrants.second_order.rigid_points import carrying_bones
from smilfit.registrants.second_order.uncertainty.covariance_dense import Between, Reduced, ridge_of
from smilfit.registrants.second_order.uncertainty.covariance_passes import (
    Spread,
    Spreads,
    TreePass,
    TreeSums,
)
from smilfit.registrants.second_order.unknowns import VariableLayout
from smilfit.solvers import ChainCovariance, TreeMatrices


@dataclass(frozen=True)
class KernelPass:
    """Turns and places eliminated by the kernel, and the spreads; as `TreePass`."""

    factor: ChainCovariance
    spreads: Spreads

    @classmethod
    def of(
        cls,
        tree: KinematicTree,
        places: Float[Tensor, 'B J 3'],
        free: Bool[Tensor, ' J'],
        sums: TreeSums,
        placed: bool,
    ) -> 'KernelPass':
        """Eliminate.

        Args:
            tree: of the joints.
            places: of the joints, in the order of their depth.
            free: joints that turn, in that order.
            sums: hessians.
            placed: whether the place is an unknown.
        """
        parents = tree.restore[tree.parents[tree.order]]
        parents = parents.index_fill(0, parents.new_zeros(1), -1)
        factor = ChainCovariance(parents, places, free, placed, _matrices(sums))
        return cls(factor, _spreads(factor.spread))

    def border(self, sums: TreeSums) -> Float[Tensor, 'B 0 0']:
        """Return the border, which is empty."""
        return sums.border

    def follow(self, sums: TreeSums, moved: Float[Tensor, 'B J 3 q']) -> tuple[Tensor, Tensor, Tensor]:
        """Return by how much twists, turns and the place follow a border that moves the joints and what hangs
        on them.

        Args:
            sums: what twists and the border have in common.
            moved: the joints' places by the border, turns held, in the order of depth.
        """
        twist, rotation, place = self.factor.follow(sums.cross + sums.twist[..., 3:] @ moved)
        twist[..., 3:, :] += moved
        return twist, rotation, place

    def slopes(self, sums: TreeSums) -> Spreads:
        """Differentiate the spreads along a change of the matrices; covariances with the sign turned."""
        return _spreads(self.factor.between(_matrices(sums)))


def _matrices(sums: TreeSums) -> TreeMatrices:
    return TreeMatrices(sums.twist, sums.rotation, sums.place)


def _spreads(matrices: TreeMatrices) -> Spreads:
    rows = (matrices.twist, matrices.rotation, matrices.place.unsqueeze(1))
    return Spreads(*(Spread(x, x.new_zeros(*x.shape[:-1], 0)) for x in rows))


def hangs_on_bones(block: FrameBatch, models: Sequence[Model], names: tuple[str, ...]) -> bool:
    """Check whether each model is of points that hang on one bone each or of the border, and no camera moves."""
    groups = [m.names for m in models if isinstance(m, PointModel)] + [names]
    if 'cameras' in block.layout.extra_columns():
        return False
    if any(g is None or carrying_bones(block.task.body, g) is None for g in groups):
        return False
    return all(isinstance(m, PointModel) or _by_joint(m) for m in models)


def _by_joint(model: Model) -> bool:
    return isinstance(model, ParameterModel) and (model.name != 'body_pose' or model.hessian.ndim == 4)


@dataclass(frozen=True)
class Carried:
    """Points that hang on one bone each.

    Args:
        bones: of each.
        maps: what a twist of the bone, about the root's place, does at the point.
        relative: how the border moves the point against its bone, whose joint it moves too.
        columns: how the border moves it, turns held.
    """

    bones: Int[Tensor, ' K']
    maps: Float[Tensor, 'B K 3 6']
    relative: Float[Tensor, 'B K 3 q']
    columns: Float[Tensor, 'B K 3 q']


@dataclass(frozen=True)
class TreeGeometry:
    """How twists about the root's place hang together: joints in the order of their depth.

    Args:
        part: the posed bodies.
        layout: the unknowns.
        rotation: S, zero for joints that do not turn.
        steps: s.
        moved: derivative of the joints' places by the border, turns held; in the body's order.
    """

    part: FrameEvaluation
    layout: VariableLayout
    rotation: Float[Tensor, 'B J 6 3']
    steps: Float[Tensor, 'B J 6 q']
    moved: Float[Tensor, 'B J 3 q']

    @classmethod
    def of(cls, part: FrameEvaluation, layout: VariableLayout) -> 'TreeGeometry':
        """Look at posed bodies."""
        kin, tree = part.kinematics, part.kinematics.body.tree
        places = kin.joints - kin.joints[:, :1]
        eye = torch.eye(3, dtype=places.dtype, device=places.device).expand(*places.shape, 3)
        cross = skew(places)
        turning = places.new_zeros(places.shape[1], 1, 1).index_fill(0, layout.free, 1.0)
        columns = [kin.joint_columns(name) for name, _ in layout.extras]
        moved = torch.cat(columns, -1) if columns else places.new_zeros(*places.shape, 0)
        steps = moved - moved.index_select(1, tree.parents)
        steps = torch.cat((moved[:, :1], steps[:, 1:]), 1)
        steps = torch.cat((torch.zeros_like(steps), steps), -2)
        # v(x) = v + w x (x - root): a joint that turns by w moves the root's place by -w x p = p x w.
        rotation = turning * torch.cat((eye, cross), -2)
        rotation, steps = (x.index_select(1, tree.order) for x in (rotation, steps))
        return cls(part, layout, rotation, steps, moved)

    @property
    def tree(self) -> KinematicTree:
        """Return the body's tree."""
        return self.part.kinematics.body.tree

    def carried(self, names: tuple[str, ...]) -> 'Carried':
        """Return how points hang on bones."""
        if names not in self._carried:
            self._carried[names] = self._compute_carried(names)
        return self._carried[names]

    @cached_property
    def _pose_maps(self) -> Float[Tensor, 'B j 3 3']:
        return pose_maps(self.part.kinematics)[:, 1:]

    @cached_property
    def _carried(self) -> dict[tuple[str, ...], 'Carried']:
        return {}

    def _compute_carried(self, names: tuple[str, ...]) -> 'Carried':
        kin = self.part.kinematics
        points, bones = point_set(kin.body, names), carrying_bones(kin.body, names)
        assert bones is not None
        arms = kin.places(points) - kin.joints[:, :1]
        eye = torch.eye(3, dtype=arms.dtype, device=arms.device).expand(*arms.shape, 3)
        parts = [kin.extra_columns(points, name) for name, _ in self.layout.extras]
        columns = torch.cat(parts, -1) if parts else arms.new_zeros(*arms.shape, 0)
        maps = torch.cat((-skew(arms), eye), -1)
        return Carried(bones, maps, columns - self.moved.index_select(1, bones), columns)

    def sums(self, models: Sequence[Model]) -> tuple[TreeSums, Float[Tensor, 'B q']]:
        """Sum models at the joints that carry them; and give the border's part of the dense matrix's diagonal."""
        kin, layout = self.part.kinematics, self.layout
        turns = torch.zeros_like(kin.linear)
        twist, cross = turns.new_zeros(*turns.shape[:2], 6, 6), torch.zeros_like(self.steps)
        border = turns.new_zeros(len(turns), *(self.steps.shape[-1],) * 2)
        moved = border.new_zeros(border.shape[:2])
        columns = layout.extra_columns()
        for model in models:
            if isinstance(model, PointModel):
                assert model.names is not None
                carried = self.carried(model.names)
                pushed = carried.maps.mT @ model.hessian
                twist.index_add_(1, carried.bones, pushed @ carried.maps)
                if columns:
                    cross.index_add_(1, carried.bones, pushed @ carried.relative)
                    border += _squares(carried.relative, model.hessian)
                    moved += (carried.columns * (model.hessian @ carried.columns)).sum((1, 2))
                continue
            assert isinstance(model, ParameterModel)
            if model.name == 'body_pose':
                turns[:, 1:] += self._pose_maps.mT @ model.hessian @ self._pose_maps
            elif model.name in columns:
                place = columns[model.name]
                at = slice(place.start - layout.n_pose, place.stop - layout.n_pose)
                hessian = model.hessian if model.hessian.ndim == 3 else block_diagonal(model.hessian)
                border[:, at, at] += hessian
                moved[:, at] += hessian.diagonal(dim1=1, dim2=2)
        turns = turns * turns.new_zeros(turns.shape[1], 1, 1).index_fill(0, layout.free, 1.0)
        twist, cross, turns = (x.index_select(1, self.tree.order) for x in (twist, cross, turns))
        sums = TreeSums(twist, cross, turns, twist.new_zeros(len(twist), 3, 3), border)
        return sums, moved

    def diagonal(self, sums: TreeSums, border: Float[Tensor, 'B q']) -> Float[Tensor, 'B m']:
        """Return the diagonal of the dense matrix: each joint's turn moves all that hangs below it."""
        order = self.tree.order
        below = self.tree.paths[order][:, order].mT
        twist = (below @ sums.twist.flatten(2)).view_as(sums.twist)
        turns = (self.rotation * (twist @ self.rotation)).sum(-2) + sums.rotation.diagonal(dim1=2, dim2=3)
        place = twist[:, 0].diagonal(dim1=1, dim2=2)[:, 3:]
        return self.unknowns(turns, place, border)

    def unknowns(self, turns: Tensor, place: Tensor, border: Tensor) -> Float[Tensor, 'B m']:
        """Put numbers of turns (B, J, 3), place and border into the order of the layout."""
        turns = turns.index_select(1, self.tree.restore).index_select(1, self.layout.free).flatten(1)
        return torch.cat((turns, place, border) if self.layout.transl else (turns, border), 1)

    def on_diagonal(self, values: Float[Tensor, 'B m'], still: float) -> TreeSums:
        """Put numbers of the unknowns on the diagonal; `still` is for joints that do not turn."""
        layout, n = self.layout, 3 * len(self.layout.free)
        turns = values.new_full((len(values), self.rotation.shape[1], 3), still)
        turns[:, layout.free] = values[:, :n].unflatten(1, (-1, 3))
        turns = torch.diag_embed(turns.index_select(1, self.tree.order))
        place = values[:, n : n + 3] if layout.transl else values.new_zeros(len(values), 3)
        twist = values.new_zeros(*turns.shape[:2], 6, 6)
        return TreeSums(
            twist,
            torch.zeros_like(self.steps),
            turns,
            torch.diag_embed(place),
            torch.diag_embed(values[:, layout.n_pose :]),
        )


@dataclass(frozen=True)
class TreeElimination:
    """Frames with their own unknowns eliminated along the tree; as `DenseElimination`."""

    geometry: TreeGeometry
    ridge: Float[Tensor, 'B m']
    passes: TreePass | KernelPass
    border: Reduced

    @classmethod
    def of(
        cls, part: FrameEvaluation, layout: VariableLayout, models: Sequence[Model], kernel: bool = False
    ) -> 'TreeElimination':
        """Eliminate; by the kernel where it is asked for and there is no border."""
        geometry = TreeGeometry.of(part, layout)
        sums, moved = geometry.sums(models)
        ridge = ridge_of(geometry.diagonal(sums, moved), layout)
        held = geometry.on_diagonal(ridge, 1.0)
        rotation, place, border = (
            sums.rotation + held.rotation,
            sums.place + held.place,
            sums.border + held.border,
        )
        sums = TreeSums(sums.twist, sums.cross, rotation, place, border)
        passes: TreePass | KernelPass
        if kernel and not layout.extras:
            free = geometry.rotation[0].flatten(1).any(1)
            places = part.kinematics.joints.index_select(1, geometry.tree.order)
            passes = KernelPass.of(geometry.tree, places, free, sums, layout.transl)
        else:
            passes = TreePass.of(geometry.tree, geometry.rotation, geometry.steps, sums, layout.transl)
        return cls(geometry, ridge, passes, Reduced.of(passes.border(sums), layout.n_own - layout.n_pose))

    @property
    def schur(self) -> Tensor:
        """Return the sum over frames of what is left of the shared unknowns' matrix."""
        return self.border.schur

    def follow(self, layout: VariableLayout, models: Sequence[Model]) -> 'TreeFollow':
        """Let unknowns follow what is shared and held, under the same models."""
        geometry, held = (
            TreeGeometry.of(self.geometry.part, layout),
            self.geometry.on_diagonal(self.ridge, 1.0),
        )
        sums, _ = geometry.sums(models)
        if isinstance(self.passes, KernelPass):
            moved = geometry.moved.index_select(1, geometry.tree.order)
            return TreeFollow(geometry, *self.passes.follow(sums, moved))
        n = held.border.shape[-1]
        border = sums.border.clone()
        border[:, :n, :n] += held.border
        sums = TreeSums(
            sums.twist, sums.cross, sums.rotation + held.rotation, sums.place + held.place, border
        )
        passes = TreePass.of(geometry.tree, geometry.rotation, geometry.steps, sums, layout.transl)
        spreads, across = passes.spreads, Reduced.of(passes.border(sums), n).across if n else None
        return TreeFollow(geometry, spreads.twist.by, spreads.rotation.by, spreads.place.by[:, 0], across)

    def carried(self, names: tuple[str, ...]) -> tuple[Tensor, Carried]:
        """Return where the bones of points stand in the order of their depth, and how points hang on them."""
        carried = self.geometry.carried(names)
        return self.geometry.tree.restore[carried.bones], carried

    def diagonal(self, common: Tensor) -> Float[Tensor, 'B m']:
        """Return the inverse's diagonal."""
        border = self.border.whole_inverse(common)
        spreads = self.passes.spreads
        turns, place = (_variance(x, border) for x in (spreads.rotation, spreads.place))
        return self.geometry.unknowns(turns, place[:, 0], border.diagonal(dim1=1, dim2=2))

    def points(self, names: tuple[str, ...], common: Tensor) -> Float[Tensor, 'B K 3 3']:
        """Carry the inverse over to points."""
        rows, carried = self.carried(names)
        result = self.passes.spreads.twist.take(rows).carried(carried.maps, carried.relative)
        return result.own + result.by @ self.border.whole_inverse(common).unsqueeze(1) @ result.by.mT

    def trace(self, model: Model, common: Tensor) -> Tensor:
        """Return the sum over frames of `tr(H^-1 G)`, G the hessian of a model of a parameter."""
        sums, _ = self.geometry.sums([model])
        border, rotation = self.border.whole_inverse(common), self.passes.spreads.rotation
        whole = rotation.own + rotation.by @ border.unsqueeze(1) @ rotation.by.mT
        return (whole * sums.rotation).sum() + (border * sums.border).sum()

    def between(self, models: Sequence[Model]) -> 'TreeBetween':
        """Put the hessian of models between two inverses."""
        return self._between(self.geometry.sums(models)[0])

    def between_ridge(self) -> 'TreeBetween':
        """Put what was added to the diagonal between two inverses."""
        return self._between(self.geometry.on_diagonal(self.ridge, 0.0))

    def _between(self, sums: TreeSums) -> 'TreeBetween':
        return TreeBetween(self, self.border.between(self.passes.border(sums)), self.passes.slopes(sums))


@dataclass(frozen=True)
class TreeFollow:
    """How frames' own unknowns follow what is shared and held; as `DenseFollow`.

    Args:
        geometry: with all of it in the border.
        twist: of the joints by the border, in the order of their depth, as turn and place follow it.
        rotation: likewise.
        place: likewise.
        across: how the border follows what is shared; None where it is nothing else.
    """

    geometry: TreeGeometry
    twist: Float[Tensor, 'B J 6 q']
    rotation: Float[Tensor, 'B J 3 q']
    place: Float[Tensor, 'B 3 q']
    across: Float[Tensor, 'B q s'] | None = None

    @property
    def unknowns(self) -> Float[Tensor, 'B n s']:
        """Return the change of a frame's own unknowns."""
        layout, order = self.geometry.layout, self.geometry.tree.restore
        turns = self.rotation.index_select(1, order).index_select(1, layout.free).flatten(1, 2)
        result = torch.cat((turns, self.place), 1) if layout.transl else turns
        if self.across is None:
            return result
        return torch.cat((result @ self.across, self.across[:, : layout.n_own - layout.n_pose]), 1)

    def points(self, names: tuple[str, ...]) -> Float[Tensor, 'B K 3 s']:
        """Return the motion of points, of which they have a part without any pose's change."""
        carried = self.geometry.carried(names)
        result = carried.maps @ self.twist.index_select(1, self.geometry.tree.restore[carried.bones])
        result = result + carried.relative
        return result if self.across is None else result @ self.across.unsqueeze(1)


@dataclass(frozen=True)
class TreeBetween:
    """`H^-1 G H^-1`; as `DenseBetween`."""

    frames: TreeElimination
    border: Between
    spreads: Spreads

    @property
    def schur(self) -> Tensor:
        """Return the sum over frames of what there is between the shared unknowns' inverses."""
        return self.border.schur

    def diagonal(self, common: Tensor, shared: Tensor) -> Float[Tensor, 'B m']:
        """Return what it has on the diagonal: by frame, a variance of each unknown."""
        inverse, border = self.frames.border.whole_inverse(common), self.border.whole(common, shared)
        values, slopes = self.frames.passes.spreads, self.spreads
        turns = _slope_variance(values.rotation, slopes.rotation, inverse, border)
        place = _slope_variance(values.place, slopes.place, inverse, border)
        return self.frames.geometry.unknowns(turns, place[:, 0], border.diagonal(dim1=1, dim2=2))

    def points(self, names: tuple[str, ...], common: Tensor, shared: Tensor) -> Float[Tensor, 'B K 3 3']:
        """Carry it over to points."""
        rows, carried = self.frames.carried(names)
        value = self.frames.passes.spreads.twist.take(rows).carried(carried.maps, carried.relative)
        slope = self.spreads.twist.take(rows).carried(carried.maps)
        inverse, border = self.frames.border.whole_inverse(common), self.border.whole(common, shared)
        mixed = slope.by @ inverse.unsqueeze(1) @ value.by.mT
        return slope.own + value.by @ border.unsqueeze(1) @ value.by.mT - mixed - mixed.mT


def _squares(rows: Float[Tensor, 'B K 3 q'], hessian: Float[Tensor, 'B K 3 3']) -> Float[Tensor, 'B q q']:
    return rows.flatten(1, 2).mT @ (hessian @ rows).flatten(1, 2)


def _variance(x: Spread, border: Tensor) -> Tensor:
    return x.own.diagonal(dim1=-2, dim2=-1) + ((x.by @ border.unsqueeze(1)) * x.by).sum(-1)


def _slope_variance(value: Spread, slope: Spread, inverse: Tensor, border: Tensor) -> Tensor:
    mixed = ((slope.by @ inverse.unsqueeze(1)) * value.by).sum(-1)
    return _variance(Spread(slope.own, value.by), border) - 2 * mixed
