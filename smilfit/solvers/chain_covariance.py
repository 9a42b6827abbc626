"""Covariances of a tree's twists, turns and place by the fused kernel's factor, in plain tensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.solvers.chain_problem import ChainProblem, ChainState

if TYPE_CHECKING:
    import warp as wp


@dataclass(frozen=True)
class TreeMatrices:
    """Hessians of a tree, or covariances, or changes of either.

    Args:
        twist: by the joints' twists (angular, linear), all about the root's place.
        rotation: by the joints' own turns.
        place: by the root's place.
    """

    twist: Float[Tensor, 'B J 6 6']
    rotation: Float[Tensor, 'B J 3 3']
    place: Float[Tensor, 'B 3 3']


class ChainCovariance:
    """A factorised hessian of trees whose turns and places are unknown; the factor stays in the workspaces.

    Args:
        parents: every joint's parent, before it; the root's is negative.
        places: of the joints.
        free: joints that turn.
        transl: whether the root's place is unknown.
        hessian: positive definite by the free unknowns.

    Raises:
        ImportError: warp is not installed.
    """

    def __init__(
        self,
        parents: Int[Tensor, ' J'],
        places: Float[Tensor, 'B J 3'],
        free: Bool[Tensor, ' J'],
        transl: bool,
        hessian: TreeMatrices,
    ) -> None:
        from smilfit.solvers.kernel.warp_covariance import spread_kernels
        from smilfit.solvers.kernel.warp_launch import Launch, free_roles

        problem = _tree(parents, places, free, transl)
        self.launch = Launch(problem, problem.n_frames, free_roles(problem))
        self.kernels = spread_kernels(self.launch.types.scalar)
        chain, rotation = self.launch.chain, hessian.rotation.contiguous()
        chain.has_rotations = 1
        chain.rotation_gradient = self.launch.elements(torch.zeros_like(places), self.launch.types.vec3)
        chain.rotation_hessian = self.launch.elements(rotation, self.launch.types.mat33)
        self._run(self.kernels.factorise, self._view(hessian, places)[0])
        self.spread = self._spread(places)

    def _spread(self, places: Tensor) -> TreeMatrices:
        """Return the inverse's parts."""
        b, j = places.shape[:2]
        shapes = (b, j, 6, 6), (b, j, 3, 3), (b, 3, 3)
        result = TreeMatrices(*(places.new_empty(shape) for shape in shapes))
        self._values, result = self._view(result, places)
        self._run(self.kernels.spread, self._values)
        return result

    def between(self, matrices: TreeMatrices) -> TreeMatrices:
        """Return the parts of `H^-1 G H^-1`, G the matrices."""
        copies = TreeMatrices(
            *(x.clone(memory_format=torch.contiguous_format) for x in vars(matrices).values())
        )
        view, result = self._view(copies)
        self._run(self.kernels.change, self._values, view)
        return result

    def follow(self, loads: Float[Tensor, 'B J 6 q']) -> tuple[Tensor, Tensor, Tensor]:
        """Return the motion that gives way to loads on twists about the root's place, column by column.

        Returns:
            Twists (B, J, 6, q), turns (B, J, 3, q) and the place's (B, 3, q).
        """
        b, j, _, q = loads.shape
        rows = loads.clone(memory_format=torch.contiguous_format)
        turns, places = rows.new_empty(b, j, 3, q), rows.new_empty(b, 3, q)
        if q:
            self._run(self.kernels.answer, *(self.launch.numbers(x) for x in (rows, turns, places)))
        return rows, turns, places

    def _view(self, matrices: TreeMatrices, places: Tensor | None = None) -> tuple[object, TreeMatrices]:
        """View matrices as the kernels' struct, and give those that it writes."""
        launch, like = self.launch, matrices.rotation
        kept = TreeMatrices(*(x.contiguous() for x in vars(matrices).values()))
        s = self.kernels.Spread()
        s.twist, s.rotation = launch.numbers(kept.twist), launch.elements(kept.rotation, launch.types.mat33)
        s.place = launch.elements(kept.place, launch.types.mat33)
        if places is not None:
            s.places = launch.elements(places, launch.types.vec3)
        for name in ('a', 'b', 'd'):
            setattr(s, name, launch.elements(torch.empty_like(like), launch.types.mat33))
        return s, kept

    def _run(self, kernel: 'wp.Kernel', *given: object) -> None:
        if self.launch.n_slots:
            self.launch.launch(kernel, list(given))


def _tree(parents: Tensor, places: Tensor, free: Tensor, transl: bool) -> ChainProblem:
    """Put joints at places, unturned: an elimination asks for nothing else. Nothing is seen."""
    above = places.index_select(1, parents.clamp_min(0))
    bones = torch.cat((places[:, :1], places[:, 1:] - above[:, 1:]), 1)
    b, j = places.shape[:2]
    eye = torch.eye(3, dtype=places.dtype, device=places.device).expand(b, j, 3, 3).contiguous()
    none = places.new_zeros(b)
    return ChainProblem(
        parents=parents,
        bones=bones,
        bone_dirs=None,
        start=ChainState(eye, torch.zeros_like(places[:, 0]), none, places.new_zeros(b, 0)),
        free_joints=free,
        fit_transl=transl,
        fit_scale=False,
        fit_coefficients=torch.zeros(0, dtype=torch.bool, device=places.device),
        point_joint=torch.zeros(1, 1, dtype=torch.long, device=places.device),
        point_share=places.new_ones(1, 1),
        point_offset=places.new_zeros(1, 1, 1, 3),
        targets3d=places[:, :1],
        weights3d=places.new_zeros(b, 1),
        sigma3d=places.new_ones(1),
    )
