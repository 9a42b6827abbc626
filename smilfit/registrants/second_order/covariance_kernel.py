"""Covariances along the tree by the fused kernel's factor: what `TreePass` computes where there is no border."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.kinematic_chain import KinematicTree
from smilfit.registrants.second_order.covariance_passes import Spread, Spreads, TreeSums
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
        """Give the border, which is empty."""
        return sums.border

    def follow(self, sums: TreeSums, moved: Float[Tensor, 'B J 3 q']) -> tuple[Tensor, Tensor, Tensor]:
        """Give by how much twists, turns and the place follow a border that moves the joints and what hangs on them.

        Args:
            sums: what twists and the border have in common.
            moved: the joints' places by the border, turns held, in the order of depth.
        """
        twist, turn, place = self.factor.follow(sums.cross + sums.twist[..., 3:] @ moved)
        twist[..., 3:, :] += moved
        return twist, turn, place

    def slopes(self, sums: TreeSums) -> Spreads:
        """Differentiate the spreads along a change of the matrices; covariances with the sign turned."""
        return _spreads(self.factor.between(_matrices(sums)))


def _matrices(sums: TreeSums) -> TreeMatrices:
    return TreeMatrices(sums.twist, sums.turn, sums.place)


def _spreads(found: TreeMatrices) -> Spreads:
    rows = (found.twist, found.turn, found.place.unsqueeze(1))
    return Spreads(*(Spread(x, x.new_zeros(*x.shape[:-1], 0)) for x in rows))
