"""What lifted bodies miss: points, parameters where they are known, the mean body where they are not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.losses import Energies
from smilfit.models.heads.point_tokens import only_view
from smilfit.models.point_evidence import PointEvidence
from smilfit.models.point_frame import PointFrame
from smilfit.structures import PARAMETERS, BodyParams

if TYPE_CHECKING:
    from smilfit.models.heads.point_lifter import PointLifter

# Lengths are shares of the body's length, betas standard deviations. The two priors hold rows without parameters.
LOSS_WEIGHTS = {
    'keypoints3d': 20.0,
    'global_orient': 1.0,
    'body_pose': 1.0,
    'betas': 0.05,
    'scale': 1.0,
    'part_sizes': 5.0,
    'landmark_offsets': 20.0,
    'pose_prior': 0.05,
    'shape_prior': 0.005,
}
# Below this share of the body's length a distance counts by its square.
_SMOOTH = 2e-3


@dataclass(frozen=True)
class LifterTruth:
    """What is known of a batch: keypoints, and parameters of some rows."""

    keypoints3d: Float[Tensor, 'B K 3']
    confidence3d: Float[Tensor, 'B K']
    params: BodyParams | None
    has_params: Bool[Tensor, ' B']
    has_betas: Bool[Tensor, ' B']
    weight: Float[Tensor, ' B']

    @classmethod
    def of(
        cls,
        keypoints3d: Tensor,
        confidence3d: Tensor | None = None,
        params: BodyParams | None = None,
        has_params: Tensor | None = None,
        has_betas: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> 'LifterTruth':
        """Fill in what is not said: all points are known, all rows where there are parameters, and all weigh 1."""
        rows = keypoints3d.new_full(keypoints3d.shape[:1], float(params is not None)) > 0
        has_params = rows if has_params is None or params is None else has_params
        has_betas = has_params if has_betas is None or params is None else has_betas
        if confidence3d is None:
            confidence3d = torch.ones_like(keypoints3d[..., 0])
        weight = torch.ones_like(confidence3d[:, 0]) if weight is None else weight
        return cls(keypoints3d, confidence3d, params, has_params, has_betas, weight)


def lifter_energies(
    lifter: 'PointLifter', found: BodyParams, evidence: PointEvidence, frame: PointFrame, truth: LifterTruth
) -> dict[str, Energies]:
    """Compare lifted bodies with the truth; each entry is of what is known of it, and weighs 0 where nothing is.

    One view does not tell size from distance: there the points are compared after the found body is brought to the
    true distance and grown with it, so that it looks the same.

    Args:
        lifter: its body and means.
        found: in the world.
        evidence: from which.
        frame: in which they were found; its scale is the unit of lengths.
        truth: in the world.
    """
    unit = lifter.body_model.rest_size * frame.scale
    points = lifter.body_model(found, need=lifter.keypoint_names).keypoints
    known = truth.confidence3d > 0
    goal = torch.where(known.unsqueeze(-1), truth.keypoints3d, torch.zeros_like(truth.keypoints3d))
    points = _at_true_distance(points, goal, known, evidence)
    squared = ((points - goal) / unit[:, None, None]).square().sum(-1)
    stated = {'keypoints3d': Energies((squared + _SMOOTH**2).sqrt() - _SMOOTH, truth.confidence3d)}
    if truth.params is not None:
        stated |= _parameter_energies(lifter, found, truth)
    off = (found.body_pose - lifter.mean_pose).square().sum((-1, -2)).mean(1)
    stated['pose_prior'] = Energies(off, (~truth.has_params).float())
    shape = ((found.betas - lifter.mean_betas) / lifter.betas_sd.clamp_min(1e-6)).square()
    shape = [shape] + [getattr(found, n).flatten(1).square() for n in lifter.further]
    stated['shape_prior'] = Energies(torch.cat(shape, 1).sum(1), (~truth.has_betas).float())
    return stated


def _at_true_distance(points: Tensor, goal: Tensor, known: Tensor, evidence: PointEvidence) -> Tensor:
    """Move what only one camera saw along its rays, to the mean distance of the truth."""
    centre = only_view(evidence)[0].unsqueeze(1)
    there = known.to(points)
    true, found = (((x - centre).norm(dim=-1) * there).sum(1) for x in (goal, points))
    factor = torch.where(
        (evidence.n_views <= 1) & (found > 0), true / found.clamp_min(1e-12), torch.ones_like(found)
    )
    return centre + factor[:, None, None] * (points - centre)


def _parameter_energies(lifter: 'PointLifter', found: BodyParams, truth: LifterTruth) -> dict[str, Energies]:
    assert truth.params is not None
    posed, shaped = (known.float() * truth.weight for known in (truth.has_params, truth.has_betas))
    stated = {}
    for name in ('global_orient', 'body_pose', 'betas', 'scale', *lifter.further):
        goal, row = getattr(truth.params, name), shaped if PARAMETERS[name].kind == 'vector' else posed
        if goal is None:
            continue
        # Numbers of rows that are not known must not enter, not even as NaN.
        there = (row > 0).reshape(-1, *(1,) * (goal.ndim - 1))
        safe = torch.ones_like(goal) if name == 'scale' else torch.zeros_like(goal)
        goal = PARAMETERS[name].free(PARAMETERS[name].as_matrix(torch.where(there, goal, safe)))
        off = PARAMETERS[name].free(getattr(found, name)) - goal
        if name == 'betas':
            off = off / lifter.betas_sd.clamp_min(1e-6)
        squared = off.square()
        squared = squared.sum((-1, -2)) if PARAMETERS[name].kind == 'rotation' else squared
        stated[name] = Energies(squared.flatten(1).mean(1) if squared.ndim > 1 else squared, row)
    return stated
