"""A fit whose shape comes from masks of a few frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.handlers import BaseHandler, BaseInput, SilhouetteInput
from smilfit.losses import SilhouetteIoULoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.input_matching import FrameNumbers, GivenInput, as_inputs
from smilfit.registrants.segmentation.recorded_masks import (
    RecordedMasks,
    Recording,
    recorded_masks,
    spread_frames,
)
from smilfit.registrants.segmentation.segmenters import Segmenter
from smilfit.registrants.stage import Report, StageConfig
from smilfit.registrants.stagewise import described
from smilfit.registry import REGISTRANTS
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import BodyParams, FitResult, parameter_names

# Of so many frames with masks one is left out of the fit, and judges it.
_CHECKED = 4
# What `MaskSMPLify` takes beside the arguments of `SMPLify`.
MASK_ARGUMENTS = ('segmenter', 'mask_stages', 'pose_stages', 'n_mask_frames', 'side_px')


@REGISTRANTS.register_module()
class MaskSMPLify(SMPLify):
    """`SMPLify`, then shape from masks of a few frames, then the poses of all frames with that shape.

    Keypoints say little or nothing of how fat an animal is. `stages` fit as ever. Then frames that lie far apart in
    pose and time are segmented, `mask_stages` fit them, their shared parameters hold for all frames, and
    `pose_stages` fit the poses of all frames again, each corrected as that segmented frame was that is most like it.
    Every fourth segmented frame takes no part: `report['masks']` says how well silhouettes fill the masks there, by
    camera, before and after, and beside the body as it stood at another time.

    Args:
        body_model: the body.
        stages: as of `SMPLify`, on keypoints.
        handlers: as of `SMPLify`; those that take masks are weighted in `mask_stages` only.
        segmenter: finds the masks.
        mask_stages: fit the segmented frames.
        pose_stages: fit all frames with what the masks found; none if empty, and losses are those of `stages`. What
            frames share does not move.
        n_mask_frames: how many frames are segmented.
        side_px: side of the cuts around the animal in which masks are compared.
        kwargs: as of `SMPLify`.

    Raises:
        ValueError: frames of their own shape, moving cameras, stages without masks, or fewer than two frames.
    """

    # Whoever calls it gives the recording.
    needs_recording = True

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | StageConfig],
        handlers: Sequence[BaseHandler],
        segmenter: Segmenter,
        mask_stages: Sequence[Stage | StageConfig],
        pose_stages: Sequence[Stage | StageConfig] = (),
        n_mask_frames: int = 16,
        side_px: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(body_model, stages, handlers, **kwargs)
        further = {**kwargs, 'initializer': None}
        self._shape = SMPLify(body_model, mask_stages, handlers, **further)
        self._poses = SMPLify(body_model, [_without_shared(s) for s in pose_stages], handlers, **further)
        self.segmenter, self.n_mask_frames, self.side_px = segmenter, n_mask_frames, side_px
        self._mask_keys = [h.handler_key for h in self.handlers.values() if h.input_type is SilhouetteInput]
        self._check()

    def __call__(
        self,
        input_list: Sequence[GivenInput],
        init_params: BodyParams | Mapping[str, Tensor] | None = None,
        frames: FrameNumbers | None = None,
        recording: Recording | None = None,
        session: str = '',
    ) -> FitResult:
        """Fit; see `SMPLify`.

        Args:
            input_list: as of `SMPLify`, without masks.
            init_params: as of `SMPLify`.
            frames: the frames' numbers in the recording; from 0 if None.
            recording: the images and their cameras, such as a `SleapSession`.
            session: its name, for files of masks.

        Raises:
            ValueError: no recording, or not one mask found; and as `SMPLify`.
        """
        if recording is None:
            raise ValueError(
                'MaskSMPLify: the recording must be given, its images are segmented; got None. Call it with '
                'recording=SleapSession(FOLDER).'
            )
        inputs = as_inputs(input_list, self.handlers)
        first = super().__call__(inputs, init_params, frames)
        numbers = list(range(first.params.batch_size)) if frames is None else [int(n) for n in frames]
        fitted = first.fitted.nonzero().flatten().cpu()
        rows = self._rows(first, fitted, numbers, recording, session)
        result = recorded_masks(
            self.segmenter, recording, self.body, first.params, rows, numbers, self.side_px, session
        )
        used = torch.arange(len(rows)) % _CHECKED != 1
        shape = self._fit_shape(inputs, first.params, result, used, numbers)
        start = _with_shape(first.params, shape.params, rows[used], first.joints())
        last = self._fit_poses(inputs, start, numbers, first)
        history = [
            {'part': part, **entry} for part, r in (('masks', shape), ('poses', last)) for entry in r.history
        ]
        report = first.report | {'masks': self._judge(first.params, last.params, result, used, numbers)}
        return replace(last, history=(*first.history, *history), report=report, start=first.start)

    @property
    def n_steps(self) -> int:
        """The most steps that all stages may take."""
        return super().n_steps + self._shape.n_steps + self._poses.n_steps

    def _report_unmoved(self, inputs: Mapping[str, BaseInput], start: BodyParams) -> Report:
        """Report nothing of shape that no keypoint tells: masks tell."""
        return {}

    def why_not_distributed(self, n_frames: int, n_processes: int) -> str | None:
        """Refuse: a few frames of the whole recording give the shape."""
        return 'shape comes from masks of a few frames all over the recording. Let one process fit.'

    def _rows(
        self, first: FitResult, fitted: Tensor, numbers: list[int], recording: Recording, session: str
    ) -> Tensor:
        """Choose the frames to segment, of those that may have a mask."""
        cameras = () if recording.cameras is None else recording.cameras.names
        may = [any(self.segmenter.may_find(c, numbers[r], session) for c in cameras) for r in fitted.tolist()]
        valid = fitted[torch.tensor(may, dtype=torch.bool)]
        if len(valid) < 2:
            kind = type(self.segmenter).__name__
            raise ValueError(
                f'MaskSMPLify: at least two frames must be fitted by keypoints and may have masks; {len(fitted)} are '
                f'fitted, and {kind} may find masks of {len(valid)} of them{self.segmenter.where(session)}. Give '
                'more masks, or use SMPLify.'
            )
        return valid[spread_frames(first.joints()[valid], self.n_mask_frames)]

    def _fit_shape(
        self,
        inputs: Sequence[BaseInput],
        params: BodyParams,
        recorded: RecordedMasks,
        used: Tensor,
        numbers: list[int],
    ) -> FitResult:
        rows = recorded.rows[used]
        weighted = {key for stage in self._shape.stages for key, weight in stage.weights.items() if weight}
        few = [i[rows] for i in inputs if i.handler_key in weighted]
        masks = [_of_key(recorded.given[used], key) for key in self._mask_keys if key in weighted]
        return self._shape([*few, *masks], params[rows], [numbers[r] for r in rows.tolist()])

    def _fit_poses(
        self, inputs: Sequence[BaseInput], start: BodyParams, numbers: list[int], first: FitResult
    ) -> FitResult:
        if not self._poses.stages:
            names = () if first.keypoints3d is None else first.keypoints3d.names
            return described(
                replace(first, params=start, history=()), self.body, first.recorded_cameras, names
            )
        weighted = {key for stage in self._poses.stages for key, weight in stage.weights.items() if weight}
        # Frames without any observation have no pose to start from; they are left out again.
        start = start.map(lambda value: value.nan_to_num(0.0))
        start = start.replace(scale=torch.where(start.scale > 0, start.scale, 1.0))
        return self._poses([i for i in inputs if i.handler_key in weighted], start, numbers)

    def _judge(
        self, before: BodyParams, after: BodyParams, recorded: RecordedMasks, used: Tensor, numbers: list[int]
    ) -> Report:
        """Return how well silhouettes fill masks, in frames that gave the shape and in those that did not."""
        rows = recorded.rows
        overlaps = {
            'keypoints': self._overlap(before[rows], recorded.given),
            'masks': self._overlap(after[rows], recorded.given),
        }
        # The animal of another time in the same place of the image: what any frame's pose would reach.
        other = _elsewhere(after[rows])
        overlaps['another_frame'] = self._overlap(other, recorded.given)
        valid = recorded.given.view_weight.cpu() > 0
        kinds = {'checked': ~used, 'used': used}
        cameras = recorded.given.cameras.names
        iou = {
            kind: {
                name: {what: _mean(value[:, c], valid[:, c] & chosen) for what, value in overlaps.items()}
                for c, name in enumerate(cameras)
            }
            for kind, chosen in kinds.items()
        }
        return {
            'segmenter': type(self.segmenter).__name__,
            'frames_used': [numbers[r] for r in rows[used].tolist()],
            'frames_checked': [numbers[r] for r in rows[~used].tolist()],
            'masks_used': int(valid[used].sum()),
            'masks_refused': recorded.refused,
            'iou': iou,
            'betas': after.betas[int(rows[0])].tolist(),
        }

    @torch.no_grad()
    def _overlap(self, params: BodyParams, given: SilhouetteInput) -> Float[Tensor, 'n C']:
        """Return intersection over union of rendered silhouettes and masks."""
        render, result = ZBufferRenderer(), []
        for row in range(params.batch_size):
            masks = given[row].to(self.body.v_template)
            vertices = self.body(params[row].to(self.body.v_template), ('vertices',)).vertices
            n_views = masks.masks.shape[1]
            alpha = render(
                vertices.repeat_interleave(n_views, 0), self.body.faces, masks.flat_cameras()
            ).alpha
            result.append(1 - SilhouetteIoULoss().views(alpha[None], (masks.masks > 0.5).to(alpha)))
        return torch.cat(result).cpu()

    def _check(self) -> None:
        every = [*self.stages, *self._shape.stages, *self._poses.stages]
        moving = [s.name for s in every if {'cameras', 'focal'} & set(s.fit)]
        if moving or not self.use_one_betas_per_video or self.n_mask_frames < 2:
            raise ValueError(
                'MaskSMPLify: shape must be one for the clip (use_one_betas_per_video=True), cameras must not move '
                f'and n_mask_frames must be at least 2; got {self.use_one_betas_per_video}, {moving or "none"} and '
                f'{self.n_mask_frames}.'
            )
        weighted = {k for s in self._shape.stages for k, w in s.weights.items() if w}
        if not weighted & set(self._mask_keys):
            raise ValueError(
                f'MaskSMPLify: mask_stages must weight a handler of masks; they weight {sorted(weighted)}. Add '
                'SilhouetteDistanceHandler or SilhouetteHandler.'
            )


def _without_shared(stage: Stage | StageConfig) -> Stage | StageConfig:
    """Return a stage that holds what frames share."""
    shared = parameter_names(shared=True)
    if isinstance(stage, Stage):
        return replace(stage, fit=tuple(name for name in stage.fit if name not in shared))
    return {**stage, **{f'fit_{name}': False for name in shared}}


def _of_key(masks: SilhouetteInput, key: str) -> SilhouetteInput:
    return SilhouetteInput(masks.masks, masks.cameras, masks.view_weight, key)


def _with_shape(
    params: BodyParams, refined: BodyParams, rows: Tensor, joints: Float[Tensor, 'B J 3']
) -> BodyParams:
    """Return all frames what the segmented ones share, and the turns by which masks corrected the one most like each.

    So limbs that no keypoint tells of lie where masks have them.
    """
    shared = parameter_names(of='body', shared=True)
    count = params.batch_size
    changes = {
        name: value[:1].expand(count, *value.shape[1:]).clone()
        for name, value in refined.as_dict().items()
        if name in shared
    }
    centred = (joints - joints.mean(1, keepdim=True)).nan_to_num()
    distances = torch.cdist(centred.flatten(1), centred[rows.to(joints.device)].flatten(1))
    like = distances.argmin(1).to(params.transl.device)
    before = params[rows.to(params.transl.device)]
    turns = refined.rotations() @ before.rotations().transpose(-1, -2)
    rotated = rotmat_to_axis_angle(turns[like] @ params.rotations())
    moved = params.transl + (refined.transl - before.transl)[like]
    return params.replace(global_orient=rotated[:, 0], body_pose=rotated[:, 1:], transl=moved, **changes)


def _elsewhere(params: BodyParams) -> BodyParams:
    """Return every body the pose of one half the clip away, where it is."""
    half = max(1, params.batch_size // 2)
    return params.replace(
        body_pose=params.body_pose.roll(half, 0), global_orient=params.global_orient.roll(half, 0)
    )


def _mean(values: Tensor, chosen: Tensor) -> float | None:
    return float(values[chosen].mean()) if bool(chosen.any()) else None
