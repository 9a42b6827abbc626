"""Poses one by one, as fast as cameras record."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants.initializer import MIN_POINTS
from smilfit.registrants.tracking.pose_problem import (
    laid_onto,
    pose_problem,
    put,
    shape_of,
    taken,
    triangulated,
)
from smilfit.solvers import ChainRecording, ChainState
from smilfit.structures import BodyParams, Cameras, FitResult, Keypoints2d

# Found from the pose before; found from this frame alone; not believable; too little was seen.
TRACKED, RESTARTED, LOST, TOO_LITTLE = 'tracked', 'restarted', 'lost', 'too little'
STATES = (TRACKED, RESTARTED, LOST, TOO_LITTLE)


@dataclass(frozen=True)
class TrackedPose:
    """The pose of one frame, and whether to believe it.

    Where too little was seen all numbers of the pose are NaN: nothing is made up.

    Args:
        params: the body, one row.
        state: `'tracked'` from the pose before, `'restarted'` from this frame's triangulation, `'lost'` where neither
            explains the keypoints, `'too little'` where there is no pose.
        converged: whether the fit ended by itself.
        reason: why it is not to be believed; empty where it is.
        points: the keypoints on the body, world unit.
        joints: the body's joints, world unit.
        distances_px: from each keypoint to where it was seen, by camera; NaN where it was not.
        iterations: steps of the fit.
    """

    params: BodyParams
    state: str
    converged: bool
    reason: str
    points: Float[np.ndarray, 'K 3'] = field(repr=False)
    joints: Float[np.ndarray, 'J 3'] = field(repr=False)
    distances_px: Float[np.ndarray, 'C K'] = field(repr=False)
    iterations: int = 0

    @property
    def believable(self) -> bool:
        """Whether nothing speaks against the pose."""
        return not self.reason

    @property
    def residual_px(self) -> Float[np.ndarray, ' C']:
        """The median distance of each camera; NaN of one that saw nothing."""
        return medians(self.distances_px)


def medians(rows: Float[np.ndarray, 'C K']) -> Float[np.ndarray, ' C']:
    """Return each row's median over what is not NaN; NaN where all are. (The lower of two in the middle.)"""
    ordered = np.sort(rows, 1)
    count = rows.shape[1] - np.isnan(rows).sum(1)
    return ordered[np.arange(len(rows)), np.maximum(count - 1, 0) // 2]


# Median distance of keypoints from their labels, in body lengths as the cameras see them, from where a pose is
# looked for anew, and from where it is not believed: those of the verdict on a frame.
DOUBTFUL, NOT_BELIEVABLE = 0.05, 0.12
# A joint this much of the body's length beside its expected place is pulled there no more than one further away:
# where the animal moved otherwise, what the cameras see wins.
REACH = 0.05
# How much of its velocity a joint that nobody sees keeps from frame to frame.
KEPT_VELOCITY = 0.5
# A doubtful pose is looked for anew in every so many frames alone: labels may be no better.
RETRY = 10
# Factors on sigma: of a fit from the pose before, of the place alone, of the pose after it.
GRADUATION, WIDE, NARROWING = (4.0, 2.0), (32.0, 16.0, 8.0), (8.0, 4.0, 2.0)


class Tracker:
    """Fits the pose of one animal of known shape, frame by frame.

    One frame in, one pose out, from two cameras or more. The fit of a frame starts at the pose before it; the first
    frame, and one that cannot be explained from there, starts at its own triangulated keypoints. It minimises

        sum confidence rho(px) + pose_weight sum angle^2 + limit_weight sum (angle beyond limits)^2
        + motion_weight sum rho(|joint - expected| / length)

    with `rho(d) = d^2 / (1 + d^2 / s^2)` (Geman and McClure 1987), s = `sigma_px` and `REACH`. Without the last term
    it is the fused kernel's fit of a frame by `SMPLify` with sums of these terms. The launch is made once. It works
    on the CPU, on one thread.

    Args:
        body: the body model, on the CPU; with landmarks, if the fit had them.
        cameras: of one calibration, lens and all.
        shape: a fit of the same animal, or its parameters: shape, scale and all else that frames share is taken from
            it.
        names: the keypoints' names, in the order in which they will be given; those of the fit, or else the body's
            joints, if None.
        sigma_px: distances of this and more count ever less; about three times the usual error.
        pose_weight: px^2 per rad^2.
        limit_weight: px^2 per rad^2; of a model without limits they are `default_joint_limits`.
        motion_weight: px^2 per squared body length, a joint; 0 takes every frame by itself.
        motion_order: joints are expected where they were (1), or where their velocity takes them (2).
        n_iter: most steps of a fit.
        ftol: relative decrease of the energy below which it has converged.

    Attributes:
        counts: how many frames were in each state.

    Raises:
        ImportError: warp is not installed.
        ValueError: a body that the kernel does not take, fewer than two cameras, or an argument out of range.
    """

    def __init__(
        self,
        body: SMIL,
        cameras: Cameras,
        shape: BodyParams | FitResult,
        names: Sequence[str] | None = None,
        sigma_px: float = 10.0,
        pose_weight: float = 5.0,
        limit_weight: float = 100.0,
        motion_weight: float = 5e3,
        motion_order: int = 2,
        n_iter: int = 20,
        ftol: float = 1e-4,
    ) -> None:
        weights = {'pose_weight': pose_weight, 'limit_weight': limit_weight, 'motion_weight': motion_weight}
        _check(body, cameras, motion_order, sigma_px, weights)
        self.body, self.names = body, _names(body, shape, names)
        self.cameras = cameras.to(dtype=torch.float64, device='cpu')
        self.shape = shape_of(body, shape)
        self.length = body.rest_size * float(self.shape.scale)
        self._sigma, self._order = sigma_px, motion_order
        with torch.no_grad():
            reach = REACH * self.length if motion_weight > 0 else None
            problem = pose_problem(
                body, self.cameras, self.shape, self.names, sigma_px, pose_weight, limit_weight, reach
            )
        self._rest = problem.start
        self._recording = recording = ChainRecording(problem)
        root = torch.zeros(body.n_joints, dtype=torch.bool)
        root[0] = True
        self._follow = recording.fit(n_iter + len(GRADUATION), ftol, GRADUATION)
        self._place = recording.fit(n_iter + len(WIDE), ftol, WIDE, root)
        self._pose = recording.fit(3 * n_iter + len(NARROWING), ftol, NARROWING)
        self._n = len(self.names)
        written = recording.problem
        assert written.xy is not None
        assert written.weights2d is not None
        self._written = written.xy[0, :, : self._n], written.weights2d[0, :, : self._n]
        self._xy, self._weights = written.xy[0].numpy(), written.weights2d[0].numpy()
        self._motion = float(np.float32(motion_weight / self.length**2))
        if written.targets3d is not None and written.weights3d is not None:
            self._targets = written.targets3d[0, self._n :].numpy()
            self._pulls = written.weights3d[0, self._n :].numpy()
        self._pixels = recording.view.pixels[:, : self._n].numpy()
        K, R, t = (getattr(self.cameras, name).numpy() for name in ('K', 'R', 't'))
        self._forward, self._away = R[:, 2], t[:, 2]
        self._focal = np.sqrt(np.abs(K[:, 0, 0] * K[:, 1, 1]))
        self.reset()

    def reset(self) -> None:
        """Forget the animal: the next frame is the first."""
        self.counts: Counter[str] = Counter()
        self._last: ChainState | None = None
        self._joints: list[np.ndarray] = []
        self._wait = 0

    def __call__(
        self, pixels: ArrayLike | Tensor, confidence: ArrayLike | Tensor | None = None
    ) -> TrackedPose:
        """Fit the next frame.

        Args:
            pixels: (C, K, 2) px in the cameras' images, lens and all; NaN where a keypoint was not found.
            confidence: (C, K), 0 where it was not found; above 1 counts as 1. 1 for all if None.

        Raises:
            ValueError: another shape.
        """
        visible = self._write(pixels, confidence)
        if int(visible.any(0).sum()) < MIN_POINTS:
            return self._nothing(visible, f'fewer than {MIN_POINTS} keypoints were seen')
        state, miss, best = LOST, np.inf, None
        if self._last is not None:
            self._expect(self._joints)
            self._follow()
            miss = self._miss(visible)
            state = TRACKED if miss <= NOT_BELIEVABLE else LOST
            self._wait = max(self._wait - 1, 0)
        if miss > (NOT_BELIEVABLE if self._wait else DOUBTFUL):
            best = self._best(visible, miss)
            if best is not None:
                miss, state = best, RESTARTED if best <= NOT_BELIEVABLE else LOST
        if not np.isfinite(miss):
            return self._nothing(visible, 'too little was seen by two cameras to start from')
        return self._tracked_pose(visible, state, miss)

    def follow(self, keypoints: Keypoints2d) -> Iterator[TrackedPose]:
        """Track a recording, frame by frame, from where the tracker is.

        Raises:
            ValueError: other keypoints than the tracker's.
        """
        if keypoints.names != self.names:
            raise ValueError(
                f'Tracker: keypoints must be {", ".join(self.names)}, in this order; got '
                f'{", ".join(keypoints.names)}. Use keypoints.select(tracker.names).'
            )
        for xy, confidence in zip(keypoints.xy.cpu().numpy(), keypoints.confidence.cpu().numpy()):
            yield self(xy, confidence)

    def _write(self, pixels: ArrayLike | Tensor, confidence: ArrayLike | Tensor | None) -> np.ndarray:
        """Hand a frame to the kernel, and say what of it is seen."""
        xy = _numpy(pixels)
        shape = (len(self.cameras), self._n, 2)
        if xy.shape != shape:
            raise ValueError(f'Tracker: pixels must be (cameras, keypoints, 2), {shape}; got {xy.shape}.')
        visible = np.isfinite(xy).all(-1)
        if confidence is None:
            weights = visible.astype(np.float32)
        else:
            weights = _numpy(confidence)
            if weights.shape != shape[:2]:
                raise ValueError(
                    f'Tracker: confidence must be (cameras, keypoints), {shape[:2]}; got {weights.shape}.'
                )
            # What is no number is greater than nothing.
            visible &= weights > 0
            weights = np.where(visible, np.minimum(weights, 1.0), 0.0)
        self._xy[:, : self._n] = np.where(visible[..., None], xy, 0.0)
        self._weights[:, : self._n] = weights
        return visible

    def _expect(self, before: Sequence[np.ndarray]) -> None:
        """Return where the joints are expected, after these places of theirs."""
        if not self._motion:
            return
        known = len(before) >= self._order
        self._pulls[:] = self._motion if known else 0.0
        if known:
            self._targets[:] = before[-1]
            if self._order == 2:
                self._targets += KEPT_VELOCITY * (before[-1] - before[-2])

    def _miss(self, visible: np.ndarray) -> float:
        """Measure the state: the keypoints' median distance from what was seen, in body lengths."""
        self._recording.measure()
        away = self._pixels - self._xy[:, : self._n]
        share = np.sqrt(np.einsum('cki,cki->ck', away, away)) / self._size_px()[:, None]
        miss = float(np.median(share[visible]))
        return miss if np.isfinite(miss) else np.inf

    def _size_px(self) -> np.ndarray:
        """Return the body's length as each camera sees it; tiny for one that it is behind, which no pose explains."""
        depth = self._depths()
        return np.where(depth > 0, self._focal * self.length / np.maximum(depth, 1e-9), 1e-9)

    def _depths(self) -> np.ndarray:
        return self._forward @ self._recording.view.joints[0].numpy() + self._away

    def _best(self, visible: np.ndarray, miss: float) -> float | None:
        """Look for the pose anew; leave the recording at the better of both, and give its miss if it is new."""
        recording = self._recording
        before = taken(recording)
        points = triangulated(self.cameras, *self._written, self._sigma)
        self._wait = RETRY
        least, result = np.inf, None
        if points.enough:
            self._expect(())
            for start in [self._rest] if self._last is None else [self._rest, self._last]:
                state = laid_onto(recording, start, points)
                if state is None:
                    continue
                put(recording, state)
                self._place()
                self._pose()
                energy = float(recording.energy)
                if energy < least:
                    least, result = energy, (taken(recording), self._miss(visible), int(recording.iterations))
        if result is None or result[1] >= miss:
            put(recording, before)
            recording.measure()
            return None
        put(recording, result[0])
        return self._miss(visible)

    def _tracked_pose(self, visible: np.ndarray, state: str, miss: float) -> TrackedPose:
        recording, view = self._recording, self._recording.view
        joints, turns = view.joints.numpy().copy(), view.turns.clone()[None]
        self._joints = [] if state == LOST else [*(self._joints[-1:] if state == TRACKED else ()), joints]
        self._last = taken(recording)
        self.counts[state] += 1
        away = self._pixels - self._xy[:, : self._n]
        converged = bool(recording.converged)
        return TrackedPose(
            params=self._params(turns, recording.state.transl.clone()),
            state=state,
            converged=converged,
            reason=self._reason(visible, miss, converged),
            points=view.points[: self._n].numpy().copy(),
            joints=joints,
            distances_px=np.where(visible, np.sqrt(np.einsum('cki,cki->ck', away, away)), np.nan),
            iterations=int(recording.iterations),
        )

    def _reason(self, visible: np.ndarray, miss: float, converged: bool) -> str:
        if miss > NOT_BELIEVABLE:
            return f'keypoints lie {miss:.2f} of the body length away from where they were seen'
        if int(visible.any(1).sum()) < 2:
            return 'one camera alone saw it'
        return '' if converged else f'the fit has not converged in {int(self._recording.iterations)} steps'

    def _nothing(self, visible: np.ndarray, reason: str) -> TrackedPose:
        self._joints = []
        self.counts[TOO_LITTLE] += 1
        turns = torch.full((1, self.body.n_joints, 3), torch.nan)
        return TrackedPose(
            params=self._params(turns, torch.full((1, 3), torch.nan)),
            state=TOO_LITTLE,
            converged=False,
            reason=reason,
            points=np.full((self._n, 3), np.nan, np.float32),
            joints=turns[0].numpy().copy(),
            distances_px=np.full(visible.shape, np.nan, np.float32),
        )

    def _params(self, turns: Tensor, transl: Tensor) -> BodyParams:
        return replace(self.shape, global_orient=turns[:, 0], body_pose=turns[:, 1:], transl=transl)


def _numpy(values: ArrayLike | Tensor) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, np.float32)


def _names(body: SMIL, shape: BodyParams | FitResult, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(names)
    if isinstance(shape, FitResult) and shape.keypoints3d is not None:
        return shape.keypoints3d.names
    return tuple(body.joint_names)


def _check(
    body: SMIL, cameras: Cameras, motion_order: int, sigma_px: float, weights: dict[str, float]
) -> None:
    if body.v_template.device.type != 'cpu':
        raise ValueError(
            f'Tracker: the body must be on the CPU; got {body.v_template.device}. Call body.cpu(): one frame is too '
            'little for a GPU.'
        )
    if cameras.K.ndim != 3 or len(cameras) < 2:
        raise ValueError(
            f'Tracker: cameras must be two or more, of one calibration for all frames; got {len(cameras)}, K of '
            f'shape {tuple(cameras.K.shape)}.'
        )
    if motion_order not in (1, 2):
        raise ValueError(f'Tracker: motion_order must be 1 or 2; got {motion_order}.')
    if not 0 < sigma_px < np.inf:
        raise ValueError(f'Tracker: sigma_px must be positive; got {sigma_px}.')
    for name, value in weights.items():
        if not 0 <= value < np.inf:
            raise ValueError(f'Tracker: {name} must be finite and not negative; got {value}.')
