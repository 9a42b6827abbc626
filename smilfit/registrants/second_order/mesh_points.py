"""Normal equations of a term of all vertices: Jacobians as planes, one row an unknown, without a matrix a vertex.

A mesh has thousands of vertices and a frame about a hundred unknowns. With unknowns as rows and vertices behind each
other in memory, everything is a few long products; `Kinematics.jacobian` is the readable twin.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.quaternion import skew
from smilfit.geometry.skinning import bone_maps
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.models import PointModel
from smilfit.registrants.second_order.variable_layout import VariableLayout

# Vertices of one block: its Jacobian of a hundred unknowns fits a cache.
VERTICES = 1024
# e_a x d, as (axis a, coordinate, component of d, sign).
_CROSS = ((0, 1, 2, -1), (0, 2, 1, 1), (1, 0, 2, 1), (1, 2, 0, -1), (2, 0, 1, -1), (2, 1, 0, 1))

Block = slice | Tensor


def add_mesh(
    kin: Kinematics, layout: VariableLayout, term: PointModel, matrix: Tensor, vector: Tensor
) -> None:
    """Add a term of all vertices to the equations of its frames, in place.

    Args:
        kin: the posed bodies.
        layout: the unknowns.
        term: with names None.
        matrix: (B, m, m).
        vector: (B, m).
    """
    jacobian = MeshJacobian(kin, layout)
    counts = (term.hessian != 0).any(-1).any(-1) | (term.gradient != 0).any(-1)
    for frame in range(len(vector)):
        for block in _blocks(counts[frame]):
            rows = jacobian.rows(frame, block)
            weighted = _weighted(rows, term.hessian[frame, block].permute(1, 2, 0).contiguous())
            flat = rows.flatten(1)
            matrix[frame] += flat @ weighted.flatten(1).t()
            vector[frame] += flat @ term.gradient[frame, block].t().flatten()


def _blocks(counts: Tensor) -> Iterator[Block]:
    """Go through the vertices that count: by slices where all do, else by index."""
    if bool(counts.all()):
        yield from (slice(at, at + VERTICES) for at in range(0, len(counts), VERTICES))
    else:
        yield from (rows for rows in counts.nonzero().flatten().split(VERTICES) if len(rows))


def _weighted(rows: Float[Tensor, 'm 3 n'], hessian: Float[Tensor, '3 3 n']) -> Float[Tensor, 'm 3 n']:
    """Multiply each vertex's columns by its hessian; most hessians are diagonal."""
    weighted = rows * hessian.diagonal().t()
    for c, d in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        if bool(hessian[c, d].any()):
            weighted[:, c].addcmul_(rows[:, d], hessian[c, d])
    return weighted


def _add_turned(found: Tensor, blended: Float[Tensor, '3 3 n'], change: Float[Tensor, '*m 3 n']) -> None:
    """Add what moves at rest (..., coordinate, vertex), turned as each vertex is."""
    for c in range(3):
        for d in range(3):
            found[..., c, :].addcmul_(change[..., d, :], blended[c, d])


class MeshJacobian:
    """Derivatives of vertices of posed bodies with respect to all unknowns of a layout."""

    def __init__(self, kin: Kinematics, layout: VariableLayout) -> None:
        self.kin, self.layout = kin, layout
        body, params = kin.body, kin.params
        self.maps = bone_maps(kin.linear, kin.positions, kin.rest_joints, params.scale, params.transl)
        self.rest = kin.rest.vertices + body.frame_offsets(params, None)
        self.skin = body.weights.t().contiguous()
        self.paths = body.tree.paths[:, layout.free]
        self.below = self.paths.t() @ self.skin
        self.n_root = int((layout.free == 0).sum())
        self.spins = self._spins() if body.posedirs is not None else None
        self.of_joints = {
            n: self._of_joints(n) for n, _ in layout.extras if n not in ('log_scale', 'cameras')
        }

    def rows(self, frame: int, block: Block) -> Float[Tensor, 'm 3 n']:
        """Differentiate some vertices of a frame: unknown, coordinate, vertex."""
        skin = self.skin[:, block]
        rest = self.rest[min(frame, len(self.rest) - 1), block].t()
        above = torch.cat((rest, torch.ones_like(rest[:1])))
        carried = (self.maps[frame].flatten(0, 1) @ above).unflatten(0, (-1, 3)) * skin.unsqueeze(1)
        blended = (self.maps[frame, :, :, :3].permute(1, 2, 0).flatten(0, 1) @ skin).unflatten(0, (3, 3))
        found = rest.new_zeros(self.layout.n_own + self.layout.n_shared, *rest.shape)
        n_turns = 3 * len(self.layout.free)
        self._add_turns(found[:n_turns].unflatten(0, (-1, 3)), frame, block, (carried, blended))
        if self.layout.transl:
            found[n_turns : n_turns + 3].diagonal(dim1=0, dim2=1).fill_(1)
        for name, columns in self.layout.extra_columns().items():
            self._add_extra(found[columns], name, frame, block, (skin, rest, carried, blended))
        return found

    def _add_turns(self, found: Tensor, frame: int, block: Block, shared: tuple[Tensor, Tensor]) -> None:
        """Turn joint after joint: `e_a x sum_j w_j (y_j - p_k)` over the bones j below joint k (k, axis, 3, n)."""
        carried, blended = shared
        pivots = self.kin.joints[frame, self.layout.free]
        arms = (self.paths.t() @ carried.flatten(1)).unflatten(1, (3, -1))
        arms = arms - self.below[:, block].unsqueeze(1) * pivots.unsqueeze(-1)
        for axis, coordinate, component, sign in _CROSS:
            found[:, axis, coordinate].add_(arms[:, component], alpha=sign)
        if self.spins is not None and len(found) > self.n_root:
            _add_turned(found[self.n_root :], blended, self._bulge(frame, block))

    def _bulge(self, frame: int, block: Block) -> Float[Tensor, 'j 3 3 n']:
        """Differentiate the rest vertices' pose correctives: joint, axis of its turn, coordinate, vertex."""
        directions = self.kin.body.posedirs.unflatten(1, (-1, 3)).unflatten(0, (-1, 9))
        turning = self.layout.free[self.n_root :] - 1
        every = len(turning) == len(directions)
        directions = (directions if every else directions[turning])[:, :, block]
        moved = self.spins[frame, turning] @ directions.flatten(2)
        return moved.unflatten(2, (-1, 3)).transpose(2, 3).contiguous()

    def _spins(self) -> Float[Tensor, 'B j 3 9']:
        """Differentiate local rotations by a turn about each axis of the world: `dR = [P^T e_a]x R`."""
        local = self.kin.point.rotations()[:, 1:]
        eye = torch.eye(3, dtype=local.dtype, device=local.device)
        about_own = (skew(eye) @ local.unsqueeze(2)).flatten(3)
        return self.kin.parent_rotations[:, 1:] @ about_own

    def _add_extra(
        self, found: Tensor, name: str, frame: int, block: Block, shared: tuple[Tensor, ...]
    ) -> None:
        """Add the rows of one extra (n, 3, v)."""
        skin, rest, carried, blended = shared
        body = self.kin.body
        if name == 'cameras':
            return
        if name == 'log_scale':
            found[0] = carried.sum(0) - self.kin.params.transl[frame].unsqueeze(-1)
            return
        columns = self.of_joints[name][frame].permute(2, 1, 0)
        found += (columns.flatten(0, 1) @ skin).unflatten(0, (-1, 3))
        change = body.vertex_directions(name)
        if change is not None:
            _add_turned(found, blended, change[:, block].transpose(1, 2).contiguous())
        if name == 'log_joint_scales':
            found += self._stretch(frame, rest, skin)
        elif name == 'betas' and body.scaledirs is not None:
            rate = body.log_scale_rates(self.kin.params.betas[frame : frame + 1])[0].flatten(1)
            found += (rate @ self._stretch(frame, rest, skin).flatten(1)).unflatten(1, (3, -1))

    def _of_joints(self, name: str) -> Float[Tensor, 'B J 3 n']:
        """Differentiate the bones' shifts: of their joints, less what the joints' rest places take along."""
        columns = self.kin.joint_columns(name)
        body = self.kin.body
        directions = body.joint_directions(name)
        if directions is None or body.vertex_directions(name) is None:
            return columns
        held = torch.einsum('bjac,njc->bjan', self.maps[..., :3], directions)
        return columns - held

    def _stretch(self, frame: int, rest: Tensor, skin: Tensor) -> Float[Tensor, 'n 3 v']:
        """Differentiate by the bones' own stretches of what they carry: (joint, axis), coordinate, vertex."""
        pivots = self.kin.rest_joints[min(frame, len(self.kin.rest_joints) - 1)]
        arms = skin.unsqueeze(1) * (rest - pivots.unsqueeze(-1))
        # (J, a, c) maps: column c of the bone's map carries the arm along its axis c.
        linear = self.maps[frame, :, :, :3].transpose(1, 2)
        return (linear.unsqueeze(-1) * arms.unsqueeze(2)).flatten(0, 1)
