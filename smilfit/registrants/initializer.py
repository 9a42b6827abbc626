"""Where a fit starts: the rest body moved onto the keypoints, in closed form."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.alignment import procrustes, procrustes_shared_scale
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.handlers import BaseInput, Keypoint3dMSEInput, MultiviewKeypoint2dMSEInput
from smilfit.io import triangulate_keypoints
from smilfit.registrants.variables import share_shape
from smilfit.registry import REGISTRANTS, UnknownNameError, reject_unknown
from smilfit.structures import PARAMETERS, BodyParams, Keypoints3d, parameter_names

# Fewer points than this do not fix a rotation well.
MIN_POINTS = 4
# Steps of refinement of triangulated points: the fit refines the body itself. Without noise and with it the linear
# solution is as good a start; where labels of some views are exchanged, these steps against outliers tell.
N_REFINE = 2
# A body that keeps its size and is this many times too large or small is one in another unit.
OTHER_UNIT = 2.0


@REGISTRANTS.register_module()
class RigidInitializer:
    """Aligns the body, rigidly and with scale, to 3D keypoints, or to 2D keypoints triangulated.

    Frames that lack points take the rotation of the nearest frame that has them.

    Args:
        joint_group: a joint group of the model file whose keypoints alone are aligned where it has at least four
            of them in a frame (a torso bends less than a tail); None for all.
    """

    def __init__(self, joint_group: str | None = None) -> None:
        self.joint_group = joint_group

    def __call__(
        self,
        body: SMIL,
        inputs: Sequence[BaseInput],
        start: BodyParams,
        shared: bool,
        scaled: bool = True,
    ) -> tuple[BodyParams, dict[str, float]]:
        """Move the body of `start` onto the first input that can be aligned to.

        Args:
            body: the body.
            inputs: observations.
            start: what is moved.
            shared: whether all frames have one scale.
            scaled: whether the body takes the keypoints' size; where no stage fits the scale it keeps its own.

        Returns:
            The moved parameters; a count of frames that could not be placed by their own points; and as
            `unfitted_scale` how many times the keypoints are as large as a body that keeps its size, if that is
            as far from 1 as another unit.
        """
        keypoints = self._keypoints(inputs)
        if keypoints is None:
            return start, {}
        with torch.no_grad():
            source = body(start, need=keypoints.names).select(keypoints.names)
        weights = self._weights(body, keypoints)
        align = procrustes_shared_scale if shared else procrustes
        result = align(source, keypoints.xyz, weights)
        placed = (weights > 0).sum(1) >= MIN_POINTS
        if not bool(placed.any()):
            return start, {'frames_without_alignment': keypoints.batch_size}
        nearest = nearest_good(placed)
        scale = torch.where(placed, result.scale, result.scale[placed].median())
        notes = {'frames_without_alignment': int((~placed).sum())}
        if not scaled:
            off = float(result.scale[placed].median())
            notes |= {} if 1 / OTHER_UNIT < off < OTHER_UNIT else {'unfitted_scale': off}
            scale = torch.ones_like(scale)
        rotation = result.rotation[nearest]
        translation = self._translation(source, keypoints, weights, rotation, scale)[
            nearest_good(weights.sum(1) > 0)
        ]
        root = axis_angle_to_rotmat(start.global_orient)
        params = start.replace(
            global_orient=rotmat_to_axis_angle(rotation @ root),
            scale=start.scale * scale,
            transl=torch.zeros_like(start.transl),
        )
        # A body turns about its root joint, an alignment about the origin: the root shows the difference.
        with torch.no_grad():
            before, turned = body(start).joints[:, 0], body(params).joints[:, 0]
        goal = scale[:, None] * (rotation @ before.unsqueeze(-1)).squeeze(-1) + translation
        params = params.replace(transl=goal - turned)
        return share_shape(params) if shared else params, notes

    def _keypoints(self, inputs: Sequence[BaseInput]) -> Keypoints3d | None:
        for given in inputs:
            if isinstance(given, Keypoint3dMSEInput):
                return given.keypoints
        for given in inputs:
            if isinstance(given, MultiviewKeypoint2dMSEInput) and len(given.keypoints.cameras) > 1:
                return triangulate_keypoints(given.keypoints, n_refine=N_REFINE)
        return None

    def _weights(self, body: SMIL, keypoints: Keypoints3d) -> Tensor:
        weights = keypoints.confidence
        members = body.data.joint_groups.get(self.joint_group or '', ())
        if self.joint_group and not members:
            raise UnknownNameError(
                f'RigidInitializer: {body.data.name} has no joint group {self.joint_group!r}; '
                f'it has {list(body.data.joint_groups)}.'
            )
        if members:
            inside = weights.new_tensor([float(n in members) for n in keypoints.names])
            enough = ((weights * inside) > 0).sum(1, keepdim=True) >= MIN_POINTS
            weights = torch.where(enough, weights * inside, weights)
        return weights

    @staticmethod
    def _translation(
        source: Tensor, keypoints: Keypoints3d, weights: Tensor, rotation: Tensor, scale: Tensor
    ) -> Tensor:
        """Bring the weighted centroids together, under a given rotation and scale."""
        w = (weights / weights.sum(1, keepdim=True).clamp_min(1e-12)).unsqueeze(-1)
        moved = scale[:, None] * ((w * source).sum(1, keepdim=True) @ rotation.transpose(1, 2)).squeeze(1)
        return (w * keypoints.xyz).sum(1) - moved


def nearest_good(good: Tensor) -> Tensor:
    """Give, for every frame, the index of the nearest good frame (itself where it is good)."""
    frames = torch.arange(len(good), device=good.device)
    if not bool(good.any()):
        return frames
    candidates = frames[good]
    # The neighbours on both sides, by search: a table of all distances would grow with the square of the clip.
    after = torch.searchsorted(candidates, frames).clamp_max(len(candidates) - 1)
    before = (after - 1).clamp_min(0)
    nearer = (frames - candidates[before]).abs() <= (candidates[after] - frames).abs()
    return candidates[torch.where(nearer, before, after)]


# Of one animal's frames: scales that differ by more are no sizes.
ODD_SCALE = 1e3


def start_params(body: SMIL, given: BodyParams | Mapping[str, Tensor] | None, batch: int) -> BodyParams:
    """Return the rest pose with what a caller says of it, one row a frame.

    Raises:
        KeyError: an unknown parameter, with the near ones.
        ValueError: another count of rows than 1 or one a frame, or another shape than the body's.
    """
    start = body.zero_params(batch)
    if given is None:
        return start
    given = given.as_dict() if isinstance(given, BodyParams) else dict(given)
    reject_unknown('SMPLify: init_params', 'parameter', given, parameter_names(of='body'))
    like = start.transl
    result = {n: _rows(n, torch.as_tensor(v).to(like), batch, body.sizes) for n, v in given.items()}
    return start.replace(**result).as_axis_angle()


def check_start(start: BodyParams) -> None:
    """Look for a start that no body stands in.

    Raises:
        ValueError: a number that is not finite, or a scale that is not positive.
    """
    for name, value in start.as_dict().items():
        wrong, rule = ~value.isfinite(), 'be finite'
        if PARAMETERS[name].kind == 'scale' and not bool(wrong.any()):
            wrong, rule = value <= 0, 'be positive'
        bad = wrong.reshape(len(value), -1).any(1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            shown = [f'{x:.4g}' for x in value[row].flatten()[:3].tolist()]
            raise ValueError(
                f'SMPLify: init_params {name} must {rule}; got {", ".join(shown)} in row {row} of the observed '
                f"frames ({int(bad.sum())} such rows). Leave {name} out of init_params, or give a good frame's."
            )


def with_usual_scale(start: BodyParams) -> tuple[BodyParams, int]:
    """Return frames whose scale is far from the others' their median, before all share one; says how many.

    Of one animal no frame is `ODD_SCALE` times as large as the others: a mean would follow it.
    """
    log = start.scale.log()
    centre = log.median()
    odd = (log - centre).abs() > math.log(ODD_SCALE)
    if not bool(odd.any()):
        return start, 0
    return start.replace(scale=torch.where(odd, centre.exp(), start.scale)), int(odd.sum())


def _rows(name: str, value: Tensor, batch: int, sizes: Mapping[str, int]) -> Tensor:
    if value.ndim == 0 or value.shape[0] not in (1, batch):
        rows = value.shape[0] if value.ndim else 'a number'
        raise ValueError(f'SMPLify: init_params {name} must have 1 or {batch} rows; got {rows}.')
    PARAMETERS[name].check('SMPLify: init_params ', value, sizes, batch, 'Is it of another body model?')
    return value.expand(batch, *value.shape[1:]).clone()
