"""SMALify: fit a body to images, one view of each, from several starts."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import BaseHandler, BaseInput, MultiviewKeypoint2dMSEInput
from smilfit.losses import ShapeMixturePriorLoss
from smilfit.registrants.clip_fit import ClipFit, Part, PartTask, evenly_spaced_rows, merged_report
from smilfit.registrants.initializer import Initializer, ManyStarts, share_shape
from smilfit.registrants.input_matching import FrameNumbers, GivenInput, as_inputs
from smilfit.registrants.observation_checks import missing_evidence
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.smplify import SMPLify
from smilfit.registrants.stage import Report, Stage, StageConfig
from smilfit.registrants.stage_task import StageRun, first_cameras
from smilfit.registrants.views.ambiguity import AmbiguityThresholds, one_view_ambiguity
from smilfit.registrants.views.starts import (
    best_path,
    in_order,
    path_cost,
    repeated,
    rows_by_kind,
    starts_summary,
    tried_starts,
)
from smilfit.registrants.views.view_initializer import ViewInitializer
from smilfit.registry import REGISTRANTS, UnknownNameError, did_you_mean
from smilfit.structures import BodyParams, Cameras, FitResult


@REGISTRANTS.register_module()
class SMALify(SMPLify):
    """Stage-wise fitting to single images, image sets and videos: keypoints, masks or both (Biggs et al. 2018).

    One view leaves depth and orientation in doubt. Each frame has several starts, for each kind of animal in the
    model's shape mixture; the first stages fit all of them at once, each with a shape of its own, and each frame
    goes on from the best: in a video, of one kind, from those that make the smoothest path. Frames that show too
    little are not fitted. Scale is not fitted unless a stage says so: one view shows a body's size and
    its distance as one. A focal length that is not known is fitted by stages with `fit_focal` (solvers of first
    order), one for all frames where they share their shape.

    Args:
        body_model: the body.
        stages: as of `SMPLify`.
        handlers: the terms.
        n_hypotheses: how many starts a frame has of each kind of animal, where the initializer gives several
            (`candidates`).
        start_kinds: whether each kind of the model's shape mixture has starts of its own where the stages that
            compare them fit betas; else all starts have the shape that the fit starts from.
        hypothesis_stages: how many of the first stages fit all of them.
        path_weight: what a turn of one radian between neighbouring frames of a video costs, in units of a frame's
            median loss. Frames are a video where they share their shape or a handler couples them.
        window: most frames fitted at once; None for all. Windows of a video are fitted in turn, each from the
            end of the last one. Where frames share their shape it is found first, from frames of the whole video.
        overlap: frames that a window shares with the one before.
        mask_side: masks are reduced so that their longer side is at most this, px; None keeps them.
        part_files: keeps the fits of windows, so that a fit that was stopped goes on; may be changed between fits.
        optional_handlers: keys of handlers that are left out, and reported, where they are given no Input: one config
            then serves keypoints, masks and both.
        least_keypoints: frames with fewer keypoints in different places, and without a mask, are not fitted:
            `report['frames_without_evidence']` says what they lack. None asks for twice as many numbers as place and
            turn have: 6, and one more each where stages fit scale or focal length.
        doubt: when a frame of one view is reported as doubted (`report['frames_doubted']`), where losses are in
            units of noise; None reports none.
        initializer: finds the starts; `ViewInitializer()` if `'views'`.
        kwargs: as of `SMPLify`.
    """

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | StageConfig],
        handlers: Sequence[BaseHandler],
        n_hypotheses: int = 4,
        start_kinds: bool = True,
        hypothesis_stages: int = 1,
        path_weight: float = 2.0,
        window: int | None = None,
        overlap: int = 0,
        mask_side: int | None = None,
        part_files: PartFiles | None = None,
        optional_handlers: Sequence[str] = (),
        least_keypoints: int | None = None,
        doubt: AmbiguityThresholds | Mapping[str, Any] | None = None,
        initializer: Initializer | ManyStarts | str | None = 'views',
        **kwargs: Any,
    ) -> None:
        initializer = ViewInitializer() if initializer == 'views' else initializer
        super().__init__(
            body_model, stages, handlers, initializer=initializer, window=window, overlap=overlap, **kwargs
        )
        if self.try_swaps:
            raise ValueError(
                'SMALify: try_swaps must be False; got True. One view shows both sides alike: '
                'use SMPLify with several.'
            )
        if n_hypotheses < 1 or not 0 <= hypothesis_stages <= len(self.stages):
            raise ValueError(
                f'SMALify: n_hypotheses must be at least 1 and hypothesis_stages at most {len(self.stages)}, as many '
                f'as there are stages; got {n_hypotheses} and {hypothesis_stages}.'
            )
        self.start_kinds = start_kinds
        self.n_hypotheses, self.hypothesis_stages = n_hypotheses, hypothesis_stages
        self.path_weight = path_weight
        self.mask_side = mask_side
        if least_keypoints is not None and least_keypoints < 1:
            raise ValueError(f'SMALify: least_keypoints must be at least 1; got {least_keypoints}.')
        self.least_keypoints = least_keypoints
        self.doubt = AmbiguityThresholds(**doubt) if isinstance(doubt, Mapping) else doubt
        self.part_files = part_files
        for key in optional_handlers:
            if key not in self.handlers:
                raise UnknownNameError(
                    f'SMALify: optional_handlers must be handlers; got {key!r}. {did_you_mean(key, self.handlers)}'
                )
        self.optional_handlers = tuple(optional_handlers)

    @property
    def _is_video(self) -> bool:
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        return self.use_one_betas_per_video or any(self.handlers[key].frame_order for key in weighted)

    def __call__(
        self,
        input_list: Sequence[GivenInput],
        init_params: BodyParams | Mapping[str, Tensor] | None = None,
        frames: FrameNumbers | None = None,
    ) -> FitResult:
        """Fit; as `SMPLify`, without the optional handlers that have no Input and the stages that only they have."""
        given = {item.handler_key for item in as_inputs(input_list, self.handlers)}
        absent = [key for key in self.optional_handlers if key not in given]
        if not absent:
            return super().__call__(input_list, init_params, frames)
        fitter = self._without(absent)
        left_out = [stage.name for stage in self.stages if stage.name not in {s.name for s in fitter.stages}]
        self.logger.info('SMALify: no input for %s; stages left out: %s.', absent, left_out or 'none')
        result = fitter(input_list, init_params, frames)
        left_out_report = {'handlers_without_input': absent, 'stages_without_input': left_out}
        return replace(result, report=result.report | left_out_report)

    def _without(self, absent: Sequence[str]) -> 'SMALify':
        """Return this registrant without some handlers, and without stages that would be left with priors alone."""
        stages, tried = [], 0
        for i, stage in enumerate(self.stages):
            weights = {key: weight for key, weight in stage.weights.items() if key not in absent}
            if weights == stage.weights or any(
                weight and self.handlers[key].requires_input() for key, weight in weights.items()
            ):
                stages.append(replace(stage, weights=weights))
                tried += i < self.hypothesis_stages
        fitter = copy(self)
        fitter.stages, fitter.optional_handlers = stages, ()
        # Where all stages that tried every start are gone, the first of the others does.
        fitter.hypothesis_stages = max(tried, min(self.hypothesis_stages, 1, len(stages)))
        return fitter

    def _counting(self, inputs: Mapping[str, BaseInput], report: Report) -> Tensor:
        """As `SMPLify`, without frames that show too little of the animal."""
        observed = super()._counting(inputs, report)
        missing = missing_evidence(inputs, self.handlers, self._weighted(), self.least_keypoints)
        lacking = {row: reason for row, reason in missing.items() if bool(observed[row])}
        if not lacking:
            return observed
        row, reason = next(iter(lacking.items()))
        if len(lacking) == int(observed.sum()):
            raise ValueError(
                f'SMALify: at least one frame must show enough to fit; none of {len(observed)} does. Frame {row} has '
                f'{reason}. Annotate more keypoints, lower least_keypoints, or give masks.'
            )
        report['frames_without_evidence'] = {
            'count': len(lacking),
            'rows': list(lacking),
            'missing': list(lacking.values()),
        }
        self.logger.warning(
            'SMALify: %d of %d frames show too little and are not fitted. Frame %d has %s.',
            *(len(lacking), len(observed), row, reason),
        )
        return observed & ~torch.tensor([r in lacking for r in range(len(observed))])

    def shape_rows(self, n_frames: int) -> Tensor | None:
        """Pick the frames from which what all share is found first, where there are several windows."""
        if self.window is None or len(self.windows(n_frames)) < 2 or not self.use_one_betas_per_video:
            return None
        return evenly_spaced_rows(n_frames, self.window)

    @property
    def shape_plan(self) -> list[tuple[int, Stage]]:
        """List the stages that find it."""
        return self.plan

    @property
    def chained(self) -> bool:
        """Whether a window goes on from the end of the one before."""
        return self._is_video

    @property
    def _shared_frames(self) -> int:
        return self.overlap if self._is_video else 0

    def why_not_distributed(self, n_frames: int, n_processes: int) -> str:
        """Return why frames are not distributed over processes: starts and windows are compared in one."""
        return (
            f'SMALify must fit all starts and windows of a sequence in one process; got {n_processes}. Give each '
            'process whole sequences.'
        )

    def _prepared(self, inputs: dict[str, BaseInput]) -> dict[str, BaseInput]:
        side = self.mask_side
        return inputs if side is None else {key: item.resized(side) for key, item in inputs.items()}

    def sampled_totals(self, part: PartTask) -> None:
        """Return nothing: means divide by what each window has."""

    def _finished(self, clip: ClipFit, inputs: Mapping[str, BaseInput], report: Report) -> FitResult:
        report = report | clip.notes | starts_summary(clip.parts)
        result = self._result(clip.run(), inputs, report, clip.begun)
        losses, orients = tried_starts(clip.parts)
        return self._with_ambiguity(replace(result, start_losses=losses, start_orients=orients), inputs)

    def _with_ambiguity(self, result: FitResult, inputs: Mapping[str, BaseInput]) -> FitResult:
        """Keep in the report which frames may be turned wrongly, where one view and several starts can tell."""
        cameras = first_cameras(inputs)
        losses = result.start_losses
        if self.doubt is None or losses is None or losses.shape[1] < 2 or cameras is None or len(cameras) > 1:
            return result
        keypoints = next(
            (i.keypoints for i in inputs.values() if isinstance(i, MultiviewKeypoint2dMSEInput)), None
        )
        doubt = one_view_ambiguity(result, self.body.data, cameras, keypoints, self.doubt)
        return replace(result, report=result.report | {'frames_doubted': doubt.report()})

    def _expanded(self, result: FitResult, observed: Tensor, cameras: Cameras | None) -> FitResult:
        result = super()._expanded(result, observed, cameras)
        doubted = result.report.get('frames_doubted')
        if doubted is None:
            return result
        rows = observed.nonzero().flatten()[torch.tensor(doubted['rows'], dtype=torch.long)].tolist()
        return replace(result, report=result.report | {'frames_doubted': doubted | {'rows': rows}})

    def fit_part(self, part: PartTask) -> Part:
        """Fit frames from all their starts, otherwise as `SMPLify.fit_part`.

        One more start is where the window before ended; the first frames, which it had too, have no other.
        """
        state, batch = part.state, len(part.frames)
        notes: Report = {}
        starts = [] if part.find_start else [state.params]
        if part.find_start:
            result, notes = self._starts(list(part.inputs.values()), state.params, self._kinds(part.plan))
            self._warn_of_scale(notes)
            starts = [result[h : h + batch] for h in range(0, result.batch_size, batch)]
        starts += [] if part.before is None else [part.before]
        every = BodyParams.cat(starts)
        count = self.hypothesis_stages if len(starts) > 1 else 0
        loss = every.transl.new_zeros(len(starts), batch)
        orient = every.global_orient.unflatten(0, loss.shape)
        state, tried = replace(state, params=every[:batch]), None
        choice = torch.zeros(batch, dtype=torch.long, device=loss.device)
        if count:
            kind = self._kind_of(every.betas).unflatten(0, loss.shape)[:, 0]
            first = replace(part, plan=part.plan[:count], state=replace(part.state, params=every))
            tried = self._run_by_kind(repeated(first, len(starts)), share_shape=False)
            loss = tried.per_frame.reshape(-1, batch).nan_to_num(torch.inf, torch.inf)
            orient = tried.state.params.global_orient.unflatten(0, loss.shape)
            # What the window before has fitted goes on from there.
            loss[:-1, : part.old] = torch.inf
            choice = self._choice(loss, orient, kind, part.frames)
            state = tried.state.take(_rows(choice))
        if self.use_one_betas_per_video:
            focal = None if state.log_focal is None else state.log_focal.mean(0, keepdim=True)
            state = replace(state, params=share_shape(state.params), log_focal=focal)
        rest = replace(part, plan=part.plan[count:], state=state)
        run = (self._run_stages if self._is_video else self._run_by_kind)(rest)
        if tried is not None:
            if not rest.plan:
                at = choice, torch.arange(batch, device=loss.device)
                run = replace(run, per_frame=loss[at], converged=tried.converged.reshape(loss.shape)[at])
            report = merged_report([tried.report, run.report])
            run = replace(run, history=(*tried.history, *run.history), report=report)
        return Part(every[_rows(choice)], run, choice, loss, orient.detach(), notes)

    def _run_by_kind(self, part: PartTask, share_shape: bool | None = None) -> StageRun:
        """Run stages on the bodies of each kind by themselves: each kind has one prior, as the fused kernel asks.

        In a stage a body may become one of another kind.
        """
        history: list[Report] = []
        run = self._run_stages(replace(part, plan=()))
        for entry in part.plan:
            now = replace(part, plan=[entry], state=run.state)
            rows = rows_by_kind(self._kind_of(run.state.params.betas))
            after = in_order([self._run_stages(now.take(r), share_shape) for r in rows], rows)
            run = replace(after, report=merged_report([run.report, after.report]))
            history += run.history
        return replace(run, history=tuple(history))

    def _kind_of(self, betas: Tensor) -> Tensor:
        """Report to which kind of animal shapes belong by the prior that a stage weights."""
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        losses = (self.handlers[key].loss for key in self.handlers if key in weighted)
        prior = next((loss for loss in losses if isinstance(loss, ShapeMixturePriorLoss)), None)
        return (
            torch.zeros(len(betas), dtype=torch.long, device=betas.device)
            if prior is None
            else prior.kind_of(betas)
        )

    def _kinds(self, plan: Sequence[tuple[int, Stage]]) -> Tensor | None:
        """Return each kind's mean shape, where the model has kinds and stages choose between them."""
        mixture = self.body.data.shape_mixture
        if (
            mixture is None
            or not self.start_kinds
            or not any('betas' in stage.fit for _, stage in plan[: self.hypothesis_stages])
        ):
            return None
        return torch.as_tensor(mixture.means).to(self.body.v_template)

    def _starts(
        self, inputs: list[BaseInput], start: BodyParams, kinds: Tensor | None
    ) -> tuple[BodyParams, Report]:
        shared, initializer = self.use_one_betas_per_video, self.initializer
        if initializer is None:
            return start, {}
        if not isinstance(initializer, ManyStarts):
            params, notes = initializer(self.body, inputs, start, shared, self._scaled)
            return params, dict(notes)
        starts = [start]
        if kinds is not None:
            starts = [start.replace(betas=kind.expand_as(start.betas).clone()) for kind in kinds]
        result = [
            initializer.candidates(self.body, inputs, one, self.n_hypotheses, shared, self._scaled)
            for one in starts
        ]
        return BodyParams.cat([params for params, _ in result]), dict(result[0][1])

    def _choice(self, loss: Tensor, orient: Tensor, kind: Tensor, frames: Tensor) -> Tensor:
        """Choose a start for each frame; frames of one shape are of one kind."""
        # Where no start has a finite energy one is as good as another.
        loss = torch.where(loss.isinf().all(0), torch.zeros_like(loss), loss)
        rotation = axis_angle_to_rotmat(orient)
        follows = torch.zeros(len(frames), dtype=torch.bool)
        follows[1:] = (frames[1:] - frames[:-1]).cpu() == 1
        weight = self.path_weight * float(loss.amin(0).median()) if self._is_video else 0.0
        groups = rows_by_kind(kind) if self.use_one_betas_per_video else [torch.arange(len(loss))]
        paths = []
        for rows in groups:
            given = (loss[rows], rotation[rows], follows, weight)
            path = best_path(*given)
            paths.append((path_cost(*given, path), rows.to(path.device)[path]))
        return min(paths, key=lambda candidate: candidate[0])[1]


def _rows(choice: Tensor) -> Tensor:
    """Return the rows of chosen starts, all frames of the first start first."""
    batch = len(choice)
    return choice * batch + torch.arange(batch, device=choice.device)
