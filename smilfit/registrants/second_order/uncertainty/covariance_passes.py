"""Elimination along a tree of joints, covariances from the root on, and their derivatives by the matrix.

A joint's twist is v_j = v_parent + s_j b + S_j w_j: its own turn w_j, and the border b of all but turns and place.
From the leaves on, turns are eliminated, w_j = -K_j' (v_parent + s_j b) - k_j b (the articulated body of
Featherstone 1983). From the root on follow covariances at b = 0, and by how much twists follow b. What is called a
slope is the derivative by the matrix H along G; `H^-1 G H^-1` is minus that of H^-1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.posing import KinematicTree

# Eliminates a level: its number, hessians by twists, by these and the border, and by turns; returns what it leaves to
# its parents.
Visit = Callable[[int, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TreeSums:
    """Hessians by joints' twists, these and the border, turns, place, border; joints in the order of their depth."""

    twist: Float[Tensor, 'B J 6 6']
    cross: Float[Tensor, 'B J 6 q']
    rotation: Float[Tensor, 'B J 3 3']
    place: Float[Tensor, 'B 3 3']
    border: Float[Tensor, 'B q q']


@dataclass(frozen=True)
class Spread:
    """Unknowns or twists x = by b + e: covariance of e, and `by`; or minus the former's slope and the latter's."""

    own: Float[Tensor, 'B *j c c']
    by: Float[Tensor, 'B *j c q']

    @staticmethod
    def cat(parts: list['Spread']) -> 'Spread':
        """Join joints."""
        return Spread(torch.cat([p.own for p in parts], 1), torch.cat([p.by for p in parts], 1))

    def take(self, rows: Tensor) -> 'Spread':
        """Pick joints."""
        return Spread(self.own.index_select(1, rows), self.by.index_select(1, rows))

    def carried(self, maps: Float[Tensor, 'B *j d c'], offset: Tensor | float = 0.0) -> 'Spread':
        """Map to what depends linearly on x, and in part on the border itself."""
        return Spread(maps @ self.own @ maps.mT, maps @ self.by + offset)


@dataclass(frozen=True)
class Spreads:
    """Of twists, in the order of depth, of turns, and of the place."""

    twist: Spread
    rotation: Spread
    place: Spread


@dataclass(frozen=True)
class Loads:
    """A level's matrices, or a change of them: by its twists (B, n, 6, 6), by twists and border, and by turns.

    From them follow `along = twist S`, and by turns that move all below them `change = rotation + S' twist S`.
    """

    twist: Tensor
    cross: Tensor
    rotation: Tensor
    along: Tensor
    change: Tensor
    rest: Tensor

    @classmethod
    def of(cls, S: Tensor, twist: Tensor, cross: Tensor, rotation: Tensor) -> 'Loads':
        """Bring twists' matrices to turns."""
        along = twist @ S
        return cls(twist, cross, rotation, along, rotation + S.mT @ along, S.mT @ cross)


@dataclass(frozen=True)
class Level:
    """Joints of one depth, eliminated: K, k, and the inverse of what is left of the turns' matrix; `A = 1 - S K'`."""

    S: Tensor
    s: Tensor
    K: Tensor
    k: Tensor
    inverse: Tensor
    A: Tensor

    @classmethod
    def of(cls, S: Tensor, s: Tensor, loads: Loads) -> 'Level':
        """Eliminate the turns."""
        inverse = small_inverse(loads.change)
        K = loads.along @ inverse
        A = torch.eye(6, dtype=S.dtype, device=S.device) - S @ K.mT
        return cls(S, s, K, inverse @ loads.rest, inverse, A)

    def left(self, loads: Loads) -> tuple[Tensor, Tensor]:
        """Return what the turns' best leaves of matrices: by the parent's twist, and by it and the border.

        They are those that were eliminated, or a change of them: the best's own change does not count.
        """
        # Squares, not differences: directions in which nothing is known must stay so through rounding.
        parent = self.A.mT @ (loads.twist @ self.A) + self.K @ (loads.rotation @ self.K.mT)
        rest = loads.rest - loads.change @ self.k
        return parent, parent @ self.s + loads.cross - loads.along @ self.k - self.K @ rest


@dataclass(frozen=True)
class Slope:
    """Slopes of a level's K and k, and minus that of its inverse."""

    K: Tensor
    k: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, level: Level, loads: Loads) -> 'Slope':
        """Differentiate along a change of the matrices."""
        inverse = level.inverse
        K = (loads.along - level.K @ loads.change) @ inverse
        return cls(K, inverse @ (loads.rest - loads.change @ level.k), inverse @ loads.change @ inverse)


@dataclass(frozen=True)
class TreePass:
    """Turns and places eliminated: levels, the root's place as one more, and the spreads."""

    tree: KinematicTree
    levels: list[Level]
    place: Level | None
    spreads: Spreads

    @classmethod
    def of(cls, tree: KinematicTree, S: Tensor, s: Tensor, sums: TreeSums, placed: bool) -> 'TreePass':
        """Eliminate, from the leaves on; `placed` is whether the place is an unknown."""
        levels: list[Level] = []

        def visit(i: int, *matrices: Tensor) -> tuple[Tensor, Tensor]:
            here = slice(*_ends(tree)[i])
            loads = Loads.of(S[:, here], *matrices)
            levels.insert(0, Level.of(S[:, here], s[:, here], loads))
            return levels[0].left(loads)

        twist, cross = _collect(tree, sums, visit)
        place = None
        if placed:
            # The place is a joint that glides: a "turn" whose twist is S_t = (0, 1).
            glide = torch.cat((twist.new_zeros(3, 3), torch.eye(3).to(twist))).expand(len(twist), 1, 6, 3)
            loads = Loads.of(glide, twist, cross, sums.place.unsqueeze(1))
            place = Level.of(glide, torch.zeros_like(cross), loads)
        return cls(tree, levels, place, _spreads(tree, levels, place, s))

    def border(self, sums: TreeSums) -> Float[Tensor, 'B q q']:
        """Return what matrices come to by the border where turns and place follow it: `Z' G Z`.

        Of those that were eliminated it is what is left of the border; of a change, what that changes by.
        """
        by = self.spreads.twist.by
        if not by.shape[-1]:
            return sums.border
        pairs = [
            (by, sums.twist @ by + 2 * sums.cross),
            (self.spreads.rotation.by, sums.rotation @ self.spreads.rotation.by),
            (self.spreads.place.by, sums.place.unsqueeze(1) @ self.spreads.place.by),
        ]
        left, right = (torch.cat([pair[i].flatten(1, 2) for pair in pairs], 1) for i in (0, 1))
        whole = left.mT @ right
        return sums.border + 0.5 * (whole + whole.mT)

    def slopes(self, sums: TreeSums) -> Spreads:
        """Differentiate the spreads along a change of the matrices; covariances with the sign turned."""
        result: list[Slope] = []

        def visit(i: int, *matrices: Tensor) -> tuple[Tensor, Tensor]:
            loads = Loads.of(self.levels[i].S, *matrices)
            result.insert(0, Slope.of(self.levels[i], loads))
            return self.levels[i].left(loads)

        twist, cross = _collect(self.tree, sums, visit)
        place = None
        if self.place is not None:
            loads = Loads.of(self.place.S, twist, cross, sums.place.unsqueeze(1))
            place = Slope.of(self.place, loads)
        return self._spread_slopes(result, place)

    def _spread_slopes(self, slopes: list[Slope], place: Slope | None) -> Spreads:
        """Go from the root on."""
        twists: list[Spread] = []
        turns: list[Spread] = []
        values, rest = self.spreads.twist, self.spreads.place
        ends = _ends(self.tree)
        above = Spread(torch.zeros_like(values.own[:, :1]), torch.zeros_like(values.by[:, :1]))
        change, placed = above, Spread(torch.zeros_like(rest.own), torch.zeros_like(rest.by))
        if self.place is not None and place is not None:
            placed, change = _level_slopes(self.place, place, above, above)
            above = _from_place(self.place)
        for i, (level, slope) in enumerate(zip(self.levels, slopes)):
            if i:
                parent = self.tree.levels[i - 1][1]
                first, last = ends[i - 1]
                above = Spread(values.own[:, first:last], values.by[:, first:last]).take(parent)
                change = twists[-1].take(parent)
            before = Spread(above.own, above.by + level.s)
            rotation, change = _level_slopes(level, slope, before, change)
            turns.append(rotation)
            twists.append(change)
        return Spreads(Spread.cat(twists), Spread.cat(turns), placed)


def _level_slopes(level: Level, slope: Slope, before: Spread, change: Spread) -> tuple[Spread, Spread]:
    """Return a level's turns' and twists' slopes, from those of what its joints hang on."""
    held = before.own @ slope.K
    mixed = level.K.mT @ held
    rotation = level.K.mT @ change.own @ level.K - mixed - mixed.mT + slope.inverse
    by = -(slope.K.mT @ before.by + slope.k + level.K.mT @ change.by)
    folded = (level.A @ held + 0.5 * level.S @ slope.inverse) @ level.S.mT
    # A is applied from both sides: it turns what is unknown above, and large, into nothing.
    own = level.A @ change.own @ level.A.mT + folded + folded.mT
    return Spread(rotation, by), Spread(own, change.by + level.S @ by)


def _from_place(place: Level) -> Spread:
    return Spread(place.S @ place.inverse @ place.S.mT, -place.S @ place.k)


def _spreads(tree: KinematicTree, levels: list[Level], place: Level | None, s: Tensor) -> Spreads:
    zero = s.new_zeros(len(s), 1, 6, 6)
    above = Spread(zero, torch.zeros_like(s[:, :1])) if place is None else _from_place(place)
    twists: list[Spread] = []
    turns: list[Spread] = []
    for i, level in enumerate(levels):
        above = twists[-1].take(tree.levels[i - 1][1]) if i else above
        before = above.by + level.s
        by = -(level.K.mT @ before + level.k)
        turns.append(Spread(level.K.mT @ above.own @ level.K + level.inverse, by))
        own = level.A @ above.own @ level.A.mT + level.S @ level.inverse @ level.S.mT
        twists.append(Spread(own, before + level.S @ by))
    rest = Spread(zero[..., :3, :3], torch.zeros_like(s[:, :1, :3]))
    placed = rest if place is None else Spread(place.inverse, -place.k)
    return Spreads(Spread.cat(twists), Spread.cat(turns), placed)


def _ends(tree: KinematicTree) -> list[tuple[int, int]]:
    """Return the first and last joint of every depth."""
    sizes = torch.tensor([0, 1, *(n for n, _ in tree.levels)]).cumsum(0).tolist()
    return list(zip(sizes, sizes[1:]))


def _collect(tree: KinematicTree, sums: TreeSums, visit: Visit) -> tuple[Tensor, Tensor]:
    """Go from the leaves to the root, adding up what levels leave to their parents."""
    ends = _ends(tree)
    left: tuple[Tensor, Tensor] | None = None
    for i in reversed(range(len(ends))):
        here = slice(*ends[i])
        twist, cross = sums.twist[:, here], sums.cross[:, here]
        if left is not None:
            parent = tree.levels[i][1]
            twist, cross = twist.index_add(1, parent, left[0]), cross.index_add(1, parent, left[1])
        left = visit(i, twist, cross, sums.rotation[:, here])
    assert left is not None
    return left


def small_inverse(matrix: Float[Tensor, '*b 3 3']) -> Float[Tensor, '*b 3 3']:
    """Invert symmetric positive definite 3x3 matrices by `L D L'`, all at once."""
    a, b, c = (matrix[..., i, 0] for i in range(3))
    l10, l20 = b / a, c / a
    d1 = matrix[..., 1, 1] - l10 * b
    m = matrix[..., 2, 1] - l20 * b
    l21 = m / d1
    d2 = matrix[..., 2, 2] - l20 * c - l21 * m
    # Rows of L^-1: (1), (-l10, 1), (x, -l21, 1).
    x = l10 * l21 - l20
    i1, i2 = 1 / d1, 1 / d2
    z01, z02, z12 = -l10 * i1 - l21 * x * i2, x * i2, -l21 * i2
    z00 = 1 / a + l10 * l10 * i1 + x * x * i2
    z11 = i1 + l21 * l21 * i2
    return torch.stack((z00, z01, z02, z01, z11, z12, z02, z12, i2), -1).unflatten(-1, (3, 3))
