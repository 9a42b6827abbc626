"""A few steps of a registrant from what a network lifted: the fit has the last word on the pixels."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.networks.keypoints.consensus import HeatmapModes
from smilfit.registry import MODELS
from smilfit.structures import BodyParams, FitCovariance, FitResult, Keypoints2d

logger = logging.getLogger('smilfit')


@runtime_checkable
class Registrant(Protocol):
    """What refines: an `SMPLify` with Levenberg-Marquardt, or anything called alike."""

    body: SMIL

    def __call__(self, input_list: Sequence[Keypoints2d], init_params: BodyParams) -> FitResult:
        """Fit observations from a start."""
        ...


@dataclass(frozen=True)
class Refined:
    """Refined bodies, rotations as axis-angle.

    Args:
        params: refined ones, and lifted ones where refining failed.
        refined: which rows are refined.
        reversed_heading: which rows stand the other way round than they were lifted.
        energy: of each row's fit; infinite where there is none.
        uncertainty: covariances of the fits, where the registrant's solver was asked for them.
        report: counts of rows: refined, kept as lifted by reason, turned.
    """

    params: BodyParams
    refined: Bool[Tensor, ' B']
    reversed_heading: Bool[Tensor, ' B']
    energy: Float[Tensor, ' B']
    uncertainty: FitCovariance | None = field(default=None, repr=False)
    report: dict[str, int] = field(default_factory=dict)


@MODELS.register_module()
class Refinement:
    """Refine lifted bodies by a registrant, many frames at once.

    Its stages should fit what may move: pose, place and scale, and shape with a prior. What they do not fit, such as
    offsets of landmarks, stays as it was lifted. Frames of few views are tried the other way round too, half a turn
    about the body's own up axis, and go on from the end of lower energy. Where the heat maps' modes are given, a body
    that was fitted to the first choice chooses anew and is fitted again. One view does not tell size from distance,
    and a fit of both may run away along its rays: there the scale stays as it was lifted, and no covariance is
    given. A frame whose fit fails keeps what was lifted; how many do is told.

    Args:
        registrant: fits; one of its handlers must take `Keypoints2d`.
        noise_px: standard deviation of a place that counts in full; others count by the square of its share.
        few_views: up to how many views both headings are tried; 0 for never.
        least_points: frames that show fewer points keep what was lifted.
        mode_px: how far from a fitted body's keypoint a mode is looked for, standard deviation; 0 for never.
    """

    def __init__(
        self,
        registrant: Registrant,
        noise_px: float = 1.5,
        few_views: int = 2,
        least_points: int = 4,
        mode_px: float = 8.0,
    ) -> None:
        if not noise_px > 0:
            raise ValueError(f'Refinement: noise_px must be positive; got {noise_px}.')
        self.registrant, self.noise_px = registrant, noise_px
        self.few_views, self.least_points, self.mode_px = few_views, least_points, mode_px
        # Of fits that another one follows nobody wants the covariance, which takes longer than they do.
        quick = _without_covariance(registrant)
        held = _with_held_scale(quick)
        self._several, self._single = _Fits(registrant, quick), _Fits(held, held)
        self._once = _Once()

    def __call__(
        self,
        params: BodyParams,
        observations: Keypoints2d,
        sd_px: Float[Tensor, 'B C K'] | None = None,
        modes: HeatmapModes | None = None,
    ) -> Refined:
        """Refine.

        Args:
            params: lifted, in the world.
            observations: px and confidences, with the cameras that saw them; absent views have confidence 0.
            sd_px: standard deviation of each place, of heat maps or of a consensus; None where all are alike.
            modes: of the heat maps that `observations` are of; None fits to these alone.
        """
        # Networks predict without gradients, or in inference mode; a solver may need both its derivatives and tensors
        # that it can keep.
        with torch.inference_mode(False), torch.enable_grad():
            device = self.registrant.body.v_template.device
            start = params.map(lambda x: x.detach().clone()).as_axis_angle()
            if modes is not None:
                modes = HeatmapModes(*(x.detach().clone().to(device) for x in (modes.xy, modes.mass)))
            return self._refine(start.to(device), self._weighted(observations, sd_px).to(device), modes)

    def _weighted(self, observations: Keypoints2d, sd_px: Tensor | None) -> Keypoints2d:
        confidence = observations.confidence.detach().clone()
        if sd_px is not None:
            confidence = confidence * (
                self.noise_px / sd_px.detach().clone().clamp_min(1e-6)
            ).square().clamp_max(1)
            confidence = torch.where(observations.confidence > 0, confidence, torch.zeros_like(confidence))
        cameras = observations.rig.map(lambda x: x.detach().clone())
        return replace(
            observations, xy=observations.xy.detach().clone(), confidence=confidence, cameras=cameras
        )

    def _refine(self, start: BodyParams, observations: Keypoints2d, modes: HeatmapModes | None) -> Refined:
        finite = _finite(start)
        shown = observations.visible.sum((1, 2)) >= self.least_points
        single = observations.visible.any(2).sum(1) == 1
        refined, reversed_heading = torch.zeros_like(finite), torch.zeros_like(finite)
        params, energy, covariance = start, torch.full_like(start.scale, torch.inf), None
        for group, fits in ((~single, self._several), (single, self._single)):
            rows = (finite & shown & group).nonzero().flatten()
            if not len(rows):
                continue
            first, reversed_heading[rows] = self._headings(start[rows], observations[rows], fits)
            chosen = observations[rows]
            if modes is not None and self.mode_px:
                first, chosen = self._chosen_anew(first, chosen, modes[rows], fits)
            result = self._fit(first, chosen, fits.last)
            if result is None:
                continue
            good = _good(result)
            refined[rows[good]] = True
            params = _put(params, rows[good], result.params[good])
            energy = energy.index_copy(0, rows[good], result.per_frame_loss[good].to(energy))
            if result.covariance is not None:
                covariance = result.covariance.expanded(rows, len(finite))
        reversed_heading &= refined
        report = {
            'frames': len(finite),
            'too_few_points': int((~shown).sum()),
            'lifted_not_finite': int((~finite & shown).sum()),
            'refined': int(refined.sum()),
            'fit_failed': int((finite & shown & ~refined).sum()),
            'turned': int(reversed_heading.sum()),
        }
        self._warn(report)
        return Refined(params, refined, reversed_heading, energy, covariance, report)

    def _chosen_anew(
        self, start: BodyParams, observations: Keypoints2d, modes: HeatmapModes, fits: '_Fits'
    ) -> tuple[BodyParams, Keypoints2d]:
        """Fit to the first choice, and let the body choose; what could not be fitted stays."""
        result = self._fit(start, observations, fits.quick)
        if result is None:
            return start, observations
        good = _good(result)
        params = _put(start, good.nonzero().flatten(), result.params[good])
        with torch.no_grad():
            points = self.registrant.body(params, need=observations.names).keypoints
        px, _, valid = observations.rig.to(points.dtype).project(points)
        px = torch.where((valid & good[:, None, None]).unsqueeze(-1), px, observations.xy.to(px))
        return params, modes.near(observations, px, self.mode_px)

    def _fit(self, start: BodyParams, observations: Keypoints2d, registrant: Registrant) -> FitResult | None:
        reporter = getattr(registrant, 'logger', logger)
        reporter.addFilter(self._once)
        try:
            return registrant([observations], init_params=start)
        except FloatingPointError as error:
            # No row has a finite energy at its start: none can be fitted.
            logger.warning('Refinement: %s', error)
            return None
        finally:
            reporter.removeFilter(self._once)

    def _headings(
        self, start: BodyParams, observations: Keypoints2d, fits: '_Fits'
    ) -> tuple[BodyParams, Tensor]:
        """Try frames of few views the other way round; give the better end, and which rows were turned."""
        reversed_heading = torch.zeros(start.batch_size, dtype=torch.bool, device=start.transl.device)
        few = (observations.visible.any(2).sum(1) <= self.few_views).nonzero().flatten()
        if not len(few):
            return start, reversed_heading
        both = BodyParams.cat([start[few], facing_back(self.registrant.body, start[few])])
        result = self._fit(both, observations[few.repeat(2)], fits.quick)
        if result is None:
            return start, reversed_heading
        loss = torch.where(_good(result), result.per_frame_loss, torch.inf).reshape(2, -1)
        better = loss[1] < loss[0]
        rows = torch.arange(len(few), device=few.device) + len(few) * better
        matches = result.params[rows]
        usable = loss.isfinite().any(0)
        reversed_heading[few] = better
        return _put(start, few[usable], matches[usable]), reversed_heading

    def _warn(self, report: dict[str, int]) -> None:
        kept = {
            n: c
            for n, c in report.items()
            if n in ('too_few_points', 'lifted_not_finite', 'fit_failed') and c
        }
        if kept:
            logger.warning(
                'Refinement: %d of %d frames keep what was lifted: %s.',
                *(sum(kept.values()), report['frames'], ', '.join(f'{n} {c}' for n, c in kept.items())),
            )


@dataclass(frozen=True)
class _Fits:
    """What fits last, and what fits before that."""

    last: Registrant
    quick: Registrant


class _Once(logging.Filter):
    """Lets a registrant say the same only once, however many batches it is called for."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        fresh = message not in self.messages
        self.messages.add(message)
        return fresh


def facing_back(body: SMIL, params: BodyParams) -> BodyParams:
    """Turn bodies by half a turn about their own up axis, in place: the centre of their joints stays.

    A model that does not say what is up is turned about the shortest side of its rest joints' box.
    """
    axis = torch.zeros(3)
    if body.data.up_axis is not None:
        axis['xyz'.index(body.data.up_axis[1])] = torch.pi
    else:
        joints = body.data.joints
        axis[int((joints.max(0) - joints.min(0)).argmin())] = torch.pi
    rotation = axis_angle_to_rotmat(axis.to(params.global_orient))
    with torch.no_grad():
        root = axis_angle_to_rotmat(params.global_orient) @ rotation
        reversed_heading = params.replace(global_orient=rotmat_to_axis_angle(root))
        moved = body(params).joints.mean(1) - body(reversed_heading).joints.mean(1)
    return reversed_heading.replace(transl=reversed_heading.transl + moved)


def _without_covariance(registrant: Registrant) -> Registrant:
    """Return a registrant that differs in nothing but what its own solver is asked for."""
    solver = getattr(registrant, 'optimizer', None)
    if solver is None or not getattr(solver, 'covariance', False):
        return registrant
    quick = copy.copy(solver)
    quick.covariance = False
    return _with_attribute(registrant, 'optimizer', quick)


def _with_held_scale(registrant: Registrant) -> Registrant:
    """Return a registrant none of whose stages fits the scale; one without stages stays as it is."""
    stages = getattr(registrant, 'stages', None)
    if not stages:
        return registrant
    held = [replace(stage, fit=tuple(n for n in stage.fit if n != 'scale')) for stage in stages]
    return _with_attribute(registrant, 'stages', held)


def _with_attribute(registrant: Registrant, name: str, value: object) -> Registrant:
    changed = copy.copy(registrant)
    setattr(changed, name, value)
    return changed


def _put(params: BodyParams, rows: Tensor, fitted: BodyParams) -> BodyParams:
    """Put other bodies in the place of some."""
    return BodyParams.of(
        {n: v.index_copy(0, rows, getattr(fitted, n).to(v)) for n, v in params.as_dict().items()}
    )


def _good(result: FitResult) -> Tensor:
    """Return which frames a fit came to a body for."""
    return _finite(result.params) & result.per_frame_loss.isfinite()


def _finite(params: BodyParams) -> Tensor:
    """Return which bodies have finite numbers alone."""
    return torch.stack([x.isfinite().unsqueeze(-1).flatten(1).all(1) for x in params.as_dict().values()]).all(
        0
    )
