"""The rigged body as an nn.Module: shape, pose, place; only what is asked for is computed."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, Landmark
from smilfit.body_models.files import load_body_model_data
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json_parts import landmarks as take_landmarks
from smilfit.body_models.keypoint_rows import KeypointRows, keypoint_definitions
from smilfit.body_models.part_sizes import default_part_sizes, part_directions
from smilfit.body_models.rest_shape import (
    RestShape,
    blend_directions,
    driven_log_rates,
    driven_offsets,
    driven_scales,
)
from smilfit.geometry.posing import (
    KinematicTree,
    SkinTable,
    blend,
    bone_maps,
    chain_products,
    forward_kinematics,
    pose_skeleton,
)
from smilfit.registry import BODY_MODELS
from smilfit.structures import PARAMETERS, BodyOutput, BodyParams, parameter_names


class ExactBuffers(nn.Module):
    """Keeps the arrays that buffers were made of, so that `.double()` gives the file's own numbers.

    A subclass has a floating buffer `v_template`, which tells the module's type.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, np.ndarray] = {}

    def _keep(self, name: str, array: np.ndarray | None) -> None:
        """Register a float buffer; never in a state dict, so that checkpoints carry no model file."""
        value = None if array is None else torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)
        self.register_buffer(name, value, persistent=False)
        if array is not None:
            self._exact[name] = array

    def _apply(self, fn: Any, recurse: bool = True) -> 'ExactBuffers':
        before = self.get_buffer('v_template').dtype
        super()._apply(fn, recurse)
        if self.get_buffer('v_template').dtype == torch.float64 != before:
            # float32 numbers with more digits are not the file's.
            for name, array in self._exact.items():
                buffer = self.get_buffer(name)
                buffer.copy_(torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float64))
        return self


@BODY_MODELS.register_module()
class SMIL(ExactBuffers):
    """A skinned multi-animal body: any rigged mesh with a shape space.

    Args:
        data: what the model file says.
        model_path: the model file, instead of `data`.
        scale_directions: how strongly betas drive joint scales by the model's `scaledirs`
            (`1 + factor * scaledirs . betas`, or `exp(factor * scaledirs . betas)` where the model has
            `log_scale_directions`); 0 leaves them to `log_joint_scales`. None takes 1 where the model's are
            logarithms, which its shape space then needs, else 0.
        offset_directions: the same for joint offsets by `transdirs`.
        joint_scale_mode: `'local'` or `'inherited'`; None takes the model file's.
    """

    # Buffers, which `nn.Module` would give as `Tensor | Module`.
    v_template: Tensor
    weights: Tensor
    joints_template: Tensor
    faces: Tensor
    posedirs: Tensor | None
    scaledirs: Tensor | None
    transdirs: Tensor | None
    shapedirs: Tensor | None
    joint_shapedirs: Tensor | None
    expressiondirs: Tensor | None
    joint_expressiondirs: Tensor | None
    joint_limits: Tensor | None
    _tree_parents: Tensor
    _tree_order: Tensor
    _tree_restore: Tensor
    _tree_paths: Tensor

    def __init__(
        self,
        data: BodyModelData | None = None,
        *,
        model_path: str | Path | None = None,
        scale_directions: float | None = None,
        offset_directions: float | None = None,
        joint_scale_mode: str | None = None,
    ) -> None:
        super().__init__()
        if model_path is not None and data is None:
            data = load_body_model_data(model_path)
        elif data is None or model_path is not None:
            raise ValueError('SMIL: give the model either as data or as model_path.')
        self.data = data
        self.joint_scale_mode = joint_scale_mode or data.joint_scale_mode
        self.joint_names = data.joint_names
        self.keypoint_names = tuple(keypoint_definitions(data))
        self.part_sizes = data.part_sizes or default_part_sizes(data)
        self._rows: dict[tuple[str, ...], KeypointRows] = {}
        self._tables: dict[tuple[str, ...] | None, SkinTable] = {}
        self._parts: tuple[Tensor, Tensor] | None = None
        self._keep('v_template', data.v_template)
        weights = data.weights.to_dense()
        self._keep('weights', weights / weights.sum(1, keepdims=True))
        self._keep('joints_template', data.joints)
        self._keep('posedirs', data.posedirs)
        self.log_scale_directions = data.log_scale_directions
        used = [
            float(data.log_scale_directions) if factor is None else factor
            for factor in (scale_directions, offset_directions)
        ]
        self._keep('scaledirs', _scaled(data.scaledirs, used[0]))
        self._keep('transdirs', _scaled(data.transdirs, used[1]))
        self._keep('shapedirs', _first_axis(data.shapedirs))
        self._keep('joint_shapedirs', _joint_directions(data, data.shapedirs))
        self._keep('expressiondirs', _first_axis(data.expressiondirs))
        self._keep('joint_expressiondirs', _joint_directions(data, data.expressiondirs))
        self._keep('joint_limits', data.joint_limits)
        self.register_buffer('faces', torch.as_tensor(data.faces), persistent=False)
        tree = KinematicTree.from_parents(data.parents.tolist())
        for name in ('parents', 'order', 'restore', 'paths'):
            self.register_buffer(f'_tree_{name}', getattr(tree, name), persistent=False)
        self._n_levels = len(tree.levels)
        self._tree: KinematicTree | None = None
        for i, (_, parents) in enumerate(tree.levels):
            self.register_buffer(f'_tree_level_{i}', parents, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> 'SMIL':
        super()._apply(fn, recurse)
        self._rows.clear()
        self._tables.clear()
        self._tree = self._parts = None
        return self

    def with_landmarks(self, landmarks: Mapping[str, Landmark]) -> 'SMIL':
        """Return a body that has these keypoints too; one of a name that it has already takes that one's place.

        Args:
            landmarks: by name. What a fit found becomes known by `replace(mark, offset=old + found)`.

        A landmark may have the name of its joint: the keypoint is then what is seen of the joint, which itself stays.

        Raises:
            ValueError: the name of another joint, a joint or vertex that is not there, or an offset of no 3 numbers.
        """
        body = self.__new__(type(self))
        body.__dict__ = self.__dict__.copy()
        # Tensors are common until one of the two is moved or cast.
        body._buffers, body._exact = self._buffers.copy(), self._exact.copy()
        body.data = check_body_model(
            replace(self.data, landmarks={**self.data.landmarks, **landmarks}),
            f'{self.data.name}, with_landmarks',
        )
        body.keypoint_names = tuple(keypoint_definitions(body.data))
        body._rows, body._tables = {}, {}
        return body

    def with_recorded_landmarks(self, records: Mapping[str, Any], where: str | Path) -> 'SMIL':
        """Return the body that a file's fit was made with: it has these landmarks, and no others.

        Args:
            records: landmarks by name, as `Landmark.record` gives them.
            where: the file, for messages.

        Raises:
            ValueError: anything that is no landmark of this body.
        """
        advice = 'Fit again, or load the file with the body model of its fit.'
        recorded = take_landmarks(dict(records), JsonValues(Path(where), advice))
        if list(recorded.items()) == list(self.data.landmarks.items()):
            return self
        body = copy.copy(self)
        body.data = replace(self.data, landmarks={})
        return body.with_landmarks(recorded)

    @property
    def tree(self) -> KinematicTree:
        """The joints' tree, on the module's device."""
        if self._tree is None:
            levels = tuple(getattr(self, f'_tree_level_{i}') for i in range(self._n_levels))
            self._tree = KinematicTree(
                self._tree_parents,
                self._tree_order,
                self._tree_restore,
                tuple((len(level), level) for level in levels),
                self._tree_paths,
            )
        return self._tree

    def skin_table(self, keypoints: tuple[str, ...] | None = None) -> SkinTable:
        """List the skinning weights of all vertices, or of those that some keypoints need."""
        if keypoints not in self._tables:
            rows = slice(None) if keypoints is None else self.keypoint_rows(keypoints).vertices
            self._tables[keypoints] = SkinTable.from_dense(self.weights[rows])
        return self._tables[keypoints]

    @property
    def n_joints(self) -> int:
        """J."""
        return self.data.n_joints

    @property
    def n_betas(self) -> int:
        """S."""
        return self.data.n_betas

    @property
    def n_expression(self) -> int:
        """E."""
        return self.data.n_expression

    @property
    def sizes(self) -> dict[str, int]:
        """What the letters in the shapes of parameters stand for; a subclass may add letters of its own."""
        return {
            'J': self.n_joints,
            'S': self.n_betas,
            'E': self.n_expression,
            'V': self.data.n_vertices,
            'K': len(self.data.unknown_landmarks),
            'G': len(self.part_sizes),
        }

    @property
    def rest_size(self) -> float:
        """The longest side of the rest joints' box, model unit: what the body's length is measured by."""
        return self.data.rest_size

    def zero_params(self, batch_size: int = 1) -> BodyParams:
        """Return the rest pose of the mean shape at the origin, in the module's type and device."""
        params = BodyParams.zeros(batch_size, self.n_joints, self.n_betas, like=self.v_template)
        params = params.with_rest(('expression',), self.sizes)
        if self.data.shape_mean is None:
            return params
        mean = torch.as_tensor(self.data.shape_mean).to(self.v_template)
        return params.replace(betas=mean.expand(batch_size, -1).clone())

    def rest_shape(self, betas: Float[Tensor, 'B S']) -> RestShape:
        """Shape the unposed body once, to be handed to many forward calls."""
        return RestShape(self, betas)

    def rest_joints(self, betas: Float[Tensor, 'B S']) -> Float[Tensor, '_ J 3']:
        """Compute rest joints without vertices; static joints ignore betas (batch 1)."""
        self._check(betas=betas)
        if self.joint_shapedirs is None:
            return self.joints_template.unsqueeze(0)
        return self.joints_template + blend_directions(betas, self.joint_shapedirs)

    def rest_vertices(
        self, betas: Float[Tensor, 'B S'], vertices: Tensor | None = None
    ) -> Float[Tensor, '_ V 3']:
        """Compute rest vertices, all or those of an index."""
        self._check(betas=betas)
        template = self.v_template if vertices is None else self.v_template[vertices]
        if self.shapedirs is None:
            return template.unsqueeze(0)
        directions = self.shapedirs if vertices is None else self.shapedirs[:, vertices]
        return blend_directions(betas, directions) + template

    def forward(
        self,
        params: BodyParams,
        need: Collection[str] = ('joints',),
        rest: RestShape | None = None,
        skeleton: tuple[Tensor, Tensor] | None = None,
    ) -> BodyOutput:
        """Shape, pose and place the body.

        Args:
            params: parameters of B bodies.
            need: `'joints'`, `'vertices'` and any keypoint names; what is not named is not computed.
            rest: the shape, where the caller has it; it must belong to `params.betas`. Expression and sizes of parts
                are added to it.
            skeleton: what `posed_skeleton` gave for the same parameters, where the caller has it.

        Returns:
            World-frame points. Keypoints are in the order of the names in `need`.

        Raises:
            ValueError: parameters of another model's size.
            KeyError: a keypoint that the model does not have.
        """
        self._check_params(params)
        names = tuple(n for n in need if n not in ('joints', 'vertices'))
        rest = self.rest_shape(params.betas) if rest is None else rest
        rest_joints = self.rest_joints_of(params, rest)
        linear, positions = self.posed_skeleton(params, rest_joints) if skeleton is None else skeleton
        scale, transl = params.scale, params.transl
        joints = scale[:, None, None] * positions + transl.unsqueeze(1)
        rows = self.keypoint_rows(names)
        maps = None
        if 'vertices' in need or len(rows.vertices):
            maps = bone_maps(linear, positions, rest_joints, scale, transl)
        vertices = None
        if maps is not None and 'vertices' in need:
            vertices = blend(self.skin_table(), maps, self.frame_offsets(params, None) + rest.vertices)
        return BodyOutput(
            joints=joints if 'joints' in need else None,
            vertices=vertices,
            keypoints=self._keypoints(rows, joints, vertices, maps, params, linear) if names else None,
            keypoint_names=names,
            joint_names=self.joint_names if 'joints' in need else (),
        )

    def _keypoints(
        self,
        rows: KeypointRows,
        joints: Tensor,
        vertices: Tensor | None,
        maps: Tensor | None,
        params: BodyParams,
        linear: Tensor,
    ) -> Tensor:
        points = self._anchors(rows, joints, vertices, maps, params)
        if not len(rows.marked):
            return points
        offsets = rows.offsets(params.landmark_offsets)
        rotated = self.bone_rotations(params, linear).index_select(1, rows.bone) @ offsets.unsqueeze(-1)
        return points.index_add(1, rows.marked, params.scale[:, None, None] * rotated.squeeze(-1))

    def _anchors(
        self,
        rows: KeypointRows,
        joints: Tensor,
        vertices: Tensor | None,
        maps: Tensor | None,
        params: BodyParams,
    ) -> Tensor:
        if maps is None or not len(rows.vertices):
            return joints.index_select(1, rows.joints)
        if vertices is not None:
            few = vertices.index_select(1, rows.vertices)
        else:
            at_rest = self.rest_vertices(params.betas, rows.vertices)
            at_rest = at_rest + self.frame_offsets(params, rows.vertices)
            few = blend(self.skin_table(rows.names), maps, at_rest)
        return torch.cat((joints.index_select(1, rows.joints), rows.mix @ few), 1).index_select(1, rows.order)

    def posed_skeleton(
        self, params: BodyParams, rest_joints: Float[Tensor, '_ J 3']
    ) -> tuple[Float[Tensor, 'B J 3 3'], Float[Tensor, 'B J 3']]:
        """Pose the joints: each one's map from the rest frame, and its position, model unit.

        The quick way is taken where no joint has a scale of its own.
        """
        scales, offsets = self.joint_scales_and_offsets(params)
        axis_angle = params.stacked_axis_angle()
        if scales is None and axis_angle is not None:
            if offsets is not None:
                # An offset of a joint carries all that hangs on it.
                rest_joints = rest_joints + self._tree_paths @ offsets
            return pose_skeleton(axis_angle, rest_joints, self.tree)
        return forward_kinematics(
            params.rotations(), rest_joints, self.tree, scales, offsets, self.joint_scale_mode
        )

    def bone_rotations(
        self, params: BodyParams, linear: Float[Tensor, 'B J 3 3']
    ) -> Float[Tensor, 'B J 3 3']:
        """Return every joint's rotation from the rest frame to the model's, of maps as `posed_skeleton` gives
        them."""
        if params.log_joint_scales is None and self.scaledirs is None:
            return linear
        return chain_products(params.rotations(), self.tree)

    def joint_directions(self, name: str) -> Float[Tensor, 'n J 3'] | None:
        """Return how rest joints move a unit of a linear parameter, model unit; None where they do not.

        Zeros for betas of static joints. A subclass gives what linear parameters of its own do.
        """
        if name == 'betas' and self.joint_shapedirs is None:
            return self.joints_template.new_zeros(self.n_betas, self.n_joints, 3)
        if name == 'part_sizes':
            return self._part_directions()[0]
        return {'betas': self.joint_shapedirs, 'expression': self.joint_expressiondirs}.get(name)

    def vertex_directions(self, name: str) -> Float[Tensor, 'n V 3'] | None:
        """Return how rest vertices move a unit of a linear parameter, model unit; None where they do not."""
        if name == 'part_sizes':
            return self._part_directions()[1]
        return {'betas': self.shapedirs, 'expression': self.expressiondirs}.get(name)

    def _part_directions(self) -> tuple[Tensor, Tensor]:
        if self._parts is None:
            result = part_directions(self.part_sizes, self.data, self._exact['weights'])
            joints, vertices = (torch.as_tensor(x).to(self.v_template) for x in result)
            self._parts = joints, vertices
        return self._parts

    def rest_joints_of(self, params: BodyParams, rest: RestShape) -> Float[Tensor, '_ J 3']:
        """Return the rest joints of every frame: those of the shape, moved by other linear parameters.

        A subclass adds what a parameter of its own does: `super().rest_joints_of(params, rest) + ...`.
        """
        joints = rest.joints
        for name, value in _beside_shape(params):
            directions = self.joint_directions(name)
            if directions is not None:
                joints = joints + blend_directions(value, directions)
        return joints

    def frame_offsets(self, params: BodyParams, vertices: Tensor | None) -> Float[Tensor, 'B V 3'] | float:
        """Return what is added to rest vertices of a shape, frame by frame, all or those of an index; model unit.

        Pose, expression and sizes of parts add to them. A subclass adds what a parameter of its own does to the skin:
        `super().frame_offsets(params, vertices) + ...`.
        """
        offsets = self._pose_correctives(params, vertices)
        for name, value in _beside_shape(params):
            directions = self.vertex_directions(name)
            if directions is not None:
                directions = directions if vertices is None else directions[:, vertices]
                offsets = offsets + blend_directions(value, directions)
        return offsets

    def _pose_correctives(self, params: BodyParams, vertices: Tensor | None) -> Tensor | float:
        if self.posedirs is None:
            return 0.0
        rotations = params.rotations()
        feature = rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        directions = self.posedirs.unflatten(1, (-1, 3))
        directions = directions if vertices is None else directions[:, vertices]
        return (feature.flatten(1) @ directions.flatten(1)).unflatten(1, (-1, 3))

    def joint_scales_and_offsets(
        self, params: BodyParams
    ) -> tuple[Float[Tensor, 'B J 3'] | None, Float[Tensor, 'B J 3'] | None]:
        """Return the joints' scales and offsets, the parameters' and those that betas drive; None where all rest."""
        scales = None if params.log_joint_scales is None else params.log_joint_scales.exp()
        if self.scaledirs is not None:
            driven = driven_scales(params.betas, self.scaledirs, self.log_scale_directions)
            scales = driven if scales is None else scales * driven
        offsets = params.joint_offsets
        if self.transdirs is not None:
            driven = driven_offsets(params.betas, self.transdirs)
            offsets = driven if offsets is None else offsets + driven
        return scales, offsets

    def log_scale_rates(self, betas: Float[Tensor, 'B S']) -> Float[Tensor, 'B S J 3']:
        """Return how the logarithms of joint scales change a unit of each beta; of a body whose betas drive
        scales."""
        assert self.scaledirs is not None
        return driven_log_rates(betas, self.scaledirs, self.log_scale_directions)

    def keypoint_rows(self, names: tuple[str, ...]) -> KeypointRows:
        """Look up where named keypoints come from; kept for the next call."""
        if names not in self._rows:
            self._rows[names] = KeypointRows.find(self.data, names).to(self.v_template)
        return self._rows[names]

    def _check_params(self, params: BodyParams) -> None:
        self._check(**params.as_dict())

    def _check(self, **values: Tensor) -> None:
        sizes, advice = self.sizes, 'Is it of another body model?'
        for name, value in values.items():
            PARAMETERS[name].check(f'{self.data.name}: ', value, sizes, value.shape[0], advice)


def _beside_shape(params: BodyParams) -> list[tuple[str, Float[Tensor, 'B n']]]:
    """Return the linear parameters that are present, each frame's numbers in a row; betas have their own place."""
    linear = parameter_names(of='body', linear=True)
    return [(n, v.flatten(1)) for n, v in params.as_dict().items() if n in linear and n != 'betas']


def _scaled(directions: np.ndarray | None, factor: float) -> np.ndarray | None:
    return None if directions is None or factor == 0 else factor * directions


def _first_axis(directions: np.ndarray | None) -> np.ndarray | None:
    return None if directions is None else directions.transpose(2, 0, 1)


def _joint_directions(data: BodyModelData, directions: np.ndarray | None) -> np.ndarray | None:
    if data.joint_regressor is None or directions is None:
        return None
    return _first_axis(data.joint_regressor @ directions)
