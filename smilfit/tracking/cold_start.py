"""Where a frame starts that has no pose before it: a body laid onto the triangulated keypoints."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.procrustes import procrustes
from smilfit.geometry.triangulation import triangulate
from smilfit.registrants.initializer import MIN_POINTS
from smilfit.solvers import ChainRecording, ChainState
from smilfit.structures import Cameras


@dataclass(frozen=True)
class Triangulated:
    """Keypoints in space, and how much each counts.

    Args:
        points: world unit.
        weights: 0 where a point is not known.
    """

    points: Float[Tensor, 'K 3']
    weights: Float[Tensor, ' K']

    @property
    def known(self) -> Bool[Tensor, ' K']:
        """Which points are known."""
        return self.weights > 0

    @property
    def enough(self) -> bool:
        """Whether a body can be laid onto them."""
        return int(self.known.sum()) >= MIN_POINTS


def triangulated(
    cameras: Cameras, xy: Float[Tensor, 'C K 2'], weights: Float[Tensor, 'C K'], sigma_px: float
) -> Triangulated:
    """Place keypoints; those whose views contradict each other by several sigma count little.

    Args:
        cameras: float64.
        xy: px; of any value where the weight is 0.
        weights: 0 where a camera does not see a keypoint.
        sigma_px: as in the fit.
    """
    ideal, inside = cameras.undistort(xy.double()[None])
    sure = torch.where(inside[0], weights.double(), 0.0)[None]
    found = triangulate(ideal, sure, cameras.K, cameras.R, cameras.t, n_refine=2, huber_px=sigma_px)
    worst = found.residual[0].amax(0) / sigma_px
    mean = sure[0].sum(0) / (sure[0] > 0).sum(0).clamp_min(1)
    share = torch.where(found.valid[0], mean / (1 + worst.square()), 0.0)
    return Triangulated(found.points[0], share)


def laid_onto(recording: ChainRecording, state: ChainState, seen: Triangulated) -> ChainState | None:
    """Move a posed body as one piece onto points in space; None where they leave it free to turn.

    The recording is left at the posed body.
    """
    put(recording, state)
    recording.measure()
    source = recording.view.points[: len(seen.points)].double()[None]
    found = procrustes(source, seen.points[None], seen.weights[None], with_scale=False)
    if not bool(found.determined):
        return None
    rotations, turn = state.rotations.clone(), found.rotation[0].to(state.rotations)
    rotations[0, 0] = turn @ rotations[0, 0]
    # The body turns about its root joint, an alignment about the origin.
    root = recording.view.joints[0].double()
    moved = found.rotation[0] @ root + found.translation[0] - root
    transl = state.transl + moved.to(state.transl)
    return ChainState(rotations, transl, state.log_scale, state.coefficients)


def put(recording: ChainRecording, state: ChainState) -> None:
    """Write a state into a recording."""
    recording.state.rotations.copy_(state.rotations)
    recording.state.transl.copy_(state.transl)


def taken(recording: ChainRecording) -> ChainState:
    """Copy the state of a recording."""
    s = recording.state
    return ChainState(s.rotations.clone(), s.transl.clone(), s.log_scale, s.coefficients)
