"""A body's surface as a function of all its parameters at once, with the slopes of any of its points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.posing import bone_maps, forward_kinematics
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.rigs.defaults import mean_betas
from smilfit.structures import BodyParams

UNKNOWNS = ('turns', 'transl', 'log_scale', 'betas', 'log_joint_scales')


@dataclass(frozen=True)
class SurfaceState:
    """Where a surface is: rotations as matrices, sizes as logarithms, all float64.

    Attributes:
        rotations: of every joint in its parent's frame, the root's first.
        transl: world unit.
        log_scale: of the body.
        betas: shape.
        log_joint_scales: of every joint along its axes.
        joint_offsets: of every joint from its place, in its parent's frame, model unit.
        rest_offsets: added to rest vertices, model unit.
    """

    rotations: Float[Tensor, 'J 3 3']
    transl: Float[Tensor, '3']
    log_scale: Float[Tensor, '']
    betas: Float[Tensor, ' S']
    log_joint_scales: Float[Tensor, 'J 3']
    joint_offsets: Float[Tensor, 'J 3']
    rest_offsets: Float[Tensor, 'V 3']

    def where(self, accept: Tensor, other: 'SurfaceState') -> 'SurfaceState':
        """Return the other state if it is accepted."""
        return other if bool(accept.all()) else self

    def take(self, rows: Tensor) -> 'SurfaceState':
        """Return this state; there is but one row."""
        return self

    def put(self, rows: Tensor, state: 'SurfaceState') -> 'SurfaceState':
        """Return the state that takes this one's place; there is but one row."""
        return state

    def params(self) -> BodyParams:
        """Return the body's parameters, a batch of one."""
        turns = rotmat_to_axis_angle(self.rotations).unsqueeze(0)
        return BodyParams(
            global_orient=turns[:, 0],
            body_pose=turns[:, 1:],
            betas=self.betas.unsqueeze(0),
            transl=self.transl.unsqueeze(0),
            scale=self.log_scale.exp().reshape(1),
            log_joint_scales=self.log_joint_scales.unsqueeze(0),
            joint_offsets=self.joint_offsets.unsqueeze(0),
        )


class PosedSurface:
    """The surface of a body model, for solvers of one specimen.

    Unknowns stand in this order: turns of all joints (3 J, about the axes of the joint's own frame), translation (3),
    log scale (1), betas (S), log joint scales (3 J), and joint offsets (3 J) where they are unknown.

    Args:
        body: the body model; a copy in float64 is kept.
        unknowns: which of these there are; what is none stays as it is.
    """

    def __init__(self, body: SMIL, unknowns: Sequence[str] = UNKNOWNS) -> None:
        self.body = body if body.v_template.dtype == torch.float64 else _double(body)
        data = self.body.data
        self.data = data
        self.faces = data.faces
        self.weights = csr_matrix(self.body.weights.numpy())
        self.part = self.body.weights.numpy().argmax(1)
        j, s = data.n_joints, data.n_betas
        sizes = (
            ('turns', 3 * j), ('transl', 3), ('log_scale', 1), ('betas', s), ('log_joint_scales', 3 * j),
            ('joint_offsets', 3 * j),
        )  # fmt: skip
        self.slices: dict[str, slice] = {}
        at = 0
        for name, n in sizes:
            if name in unknowns:
                self.slices[name] = slice(at, at + n)
                at += n
        self.n_unknowns = at
        self.extent = float(np.ptp(data.v_template, axis=0).max())

    def rest(self) -> SurfaceState:
        """Return the mean animal at rest at the origin."""
        j, like = self.data.n_joints, self.body.v_template
        return SurfaceState(
            torch.eye(3).to(like).repeat(j, 1, 1),
            like.new_zeros(3),
            like.new_zeros(()),
            torch.as_tensor(mean_betas(self.data)).to(like),
            like.new_zeros(j, 3),
            like.new_zeros(j, 3),
            torch.zeros_like(like),
        )

    def state_of(self, params: BodyParams, rest_offsets: Tensor | None = None) -> SurfaceState:
        """Take the state of a body of given parameters (the first of the batch)."""
        rest = self.rest()
        like = rest.transl
        scales, offsets = params.log_joint_scales, params.joint_offsets
        return SurfaceState(
            params.rotations()[0].detach().to(like),
            params.transl[0].detach().to(like),
            params.scale[0].detach().to(like).log(),
            params.betas[0].detach().to(like),
            rest.log_joint_scales if scales is None else scales[0].detach().to(like),
            rest.joint_offsets if offsets is None else offsets[0].detach().to(like),
            rest.rest_offsets if rest_offsets is None else rest_offsets.to(like),
        )

    def moved(self, state: SurfaceState, step: Float[Tensor, ' P']) -> SurfaceState:
        """Go along a step; turns are applied on the right."""
        part = {name: step[where] for name, where in self.slices.items()}
        turns = axis_angle_to_rotmat(part['turns'].reshape(-1, 3))
        return replace(
            state,
            rotations=state.rotations @ turns,
            transl=state.transl + part['transl'],
            log_scale=state.log_scale + part['log_scale'][0],
            betas=state.betas + part['betas'],
            log_joint_scales=state.log_joint_scales + part['log_joint_scales'].reshape(-1, 3),
            joint_offsets=state.joint_offsets + self._joint_offsets(step),
        )

    def _joint_offsets(self, step: Tensor) -> Tensor | float:
        """Return a step's part of joint offsets; none where they are no unknown."""
        where = self.slices.get('joint_offsets')
        return 0.0 if where is None else step[where].reshape(-1, 3)

    def rest_vertices(self, state: SurfaceState) -> Float[Tensor, 'V 3']:
        """Return the surface without pose."""
        return self.body.rest_vertices(state.betas.unsqueeze(0))[0] + state.rest_offsets

    def vertices(self, state: SurfaceState) -> Float[Tensor, 'V 3']:
        """Return the surface."""
        maps = self.maps(state, state.rotations.new_zeros(self.n_unknowns))
        linear, shift = self.blended(maps)
        return (linear @ self._rest_of(state).unsqueeze(-1)).squeeze(-1) + shift

    def _rest_of(self, state: SurfaceState) -> Tensor:
        rest = self.rest_vertices(state)
        if self.body.posedirs is None:
            return rest
        return rest + torch.as_tensor(self.body.frame_offsets(state.params(), None))[0]

    def blended(self, maps: Float[Tensor, 'J 3 4']) -> tuple[Float[Tensor, 'V 3 3'], Float[Tensor, 'V 3']]:
        """Blend the bones' maps for every vertex."""
        rows = torch.as_tensor(self.weights @ maps.reshape(len(maps), 12).numpy()).reshape(-1, 3, 4)
        return rows[..., :3], rows[..., 3]

    def maps(self, state: SurfaceState, step: Tensor) -> Float[Tensor, 'J 3 4']:
        """Return every bone's map after a small step, exact to first order (P,)."""
        rotation = step[self.slices['turns']].reshape(-1, 3)
        rotations = state.rotations + state.rotations @ _skew(rotation)
        betas = (state.betas + step[self.slices['betas']]).unsqueeze(0)
        logs = state.log_joint_scales + step[self.slices['log_joint_scales']].reshape(-1, 3)
        body = self.body
        rest = body.rest_joints(betas)
        params = BodyParams(
            rotations[:1], rotations[1:].unsqueeze(0), betas, state.transl[None], state.log_scale.exp()[None],
            log_joint_scales=logs.unsqueeze(0),
            joint_offsets=(state.joint_offsets + self._joint_offsets(step)).unsqueeze(0),
        )  # fmt: skip
        scales, offsets = body.joint_scales_and_offsets(params)
        linear, place = forward_kinematics(
            rotations.unsqueeze(0), rest, body.tree, scales, offsets, body.joint_scale_mode
        )
        scale = (state.log_scale + step[self.slices['log_scale']]).exp()
        transl = (state.transl + step[self.slices['transl']]).unsqueeze(0)
        return bone_maps(linear, place, rest, scale, transl)[0]

    def slopes(self, state: SurfaceState) -> 'SurfaceSlopes':
        """Linearise at a state."""
        zero = state.rotations.new_zeros(self.n_unknowns)
        maps = self.maps(state, zero)
        slopes = torch.func.jacfwd(lambda step: self.maps(state, step))(zero)
        return SurfaceSlopes(self, maps, slopes.numpy(), self._rest_of(state).numpy())


class SurfaceSlopes:
    """The surface around one state: slopes of points that are sums of vertices."""

    def __init__(self, of: PosedSurface, maps: Tensor, slopes: np.ndarray, rest: np.ndarray) -> None:
        self.of = of
        # By row of the map: (4 J, P).
        j, p = len(maps), of.n_unknowns
        self._by_row = [np.ascontiguousarray(slopes[:, r]).reshape(4 * j, p) for r in range(3)]
        extended = np.concatenate([rest, np.ones((len(rest), 1))], 1)
        self._columns = [of.weights.multiply(extended[:, c : c + 1]).tocsr() for c in range(4)]
        self._shape = None
        if of.body.shapedirs is not None:
            linear, _ = of.blended(maps)
            # (V, 3, S)
            self._shape = np.einsum('vrc,svc->vrs', linear.numpy(), of.body.shapedirs.numpy())

    def at(self, rows: csr_matrix) -> Float[np.ndarray, 'n 3 P']:
        """Return the slopes of points by all unknowns.

        Args:
            rows: (n, V) the shares of the vertices in each point.
        """
        j = self.of.data.n_joints
        blocks = [(rows @ column).tocoo() for column in self._columns]
        row = np.concatenate([b.row for b in blocks])
        col = np.concatenate([4 * b.col.astype(np.int64) + c for c, b in enumerate(blocks)])
        table = csr_matrix((np.concatenate([b.data for b in blocks]), (row, col)), (rows.shape[0], 4 * j))
        out = np.empty((rows.shape[0], 3, self.of.n_unknowns))
        for r in range(3):
            out[:, r] = table @ self._by_row[r]
        if self._shape is not None:
            where = self.of.slices['betas']
            n = self._shape.shape[2]
            out[:, :, where] += (rows @ self._shape.reshape(-1, 3 * n)).reshape(-1, 3, n)
        return out


def _double(body: SMIL) -> SMIL:
    return type(body)(body.data, joint_scale_mode=body.joint_scale_mode).double()


def _skew(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
