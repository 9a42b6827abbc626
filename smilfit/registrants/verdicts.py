"""What a fit tells of its frames: which the observations cannot determine, and which ended behind the cameras."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BaseHandler,
    BaseInput,
    Keypoint3dLimbLenHandler,
    Keypoint3dMSEHandler,
    MultiviewKeypoint2dMSEHandler,
)
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.stage_task import FitState
from smilfit.structures import BodyParams, Keypoints2d, parameter_names
from smilfit.structures.body import by_blocks

# A stage with its factors on named keypoints.
Weighted = tuple[Stage, Mapping[str, float]]
# Frames compared point by point at once.
CHUNK = 1024


def underdetermined(
    body: SMIL,
    stages: Iterable[Weighted],
    handlers: Mapping[str, BaseHandler],
    inputs: Mapping[str, BaseInput],
    share_shape: bool,
) -> tuple[Tensor, int]:
    """Find frames of which fewer numbers were observed than a fit asks of them.

    A number is a coordinate of a keypoint that has a weight in some stage; keypoints in one place count once.
    Unknowns are those that a frame has for itself and that no term holds by values of its own. Masks, scans and
    contacts are not counted: a frame that has any is taken for determined.

    Returns:
        Which frames (B,) bool, on the CPU, and how many unknowns a frame has.
    """
    stages = list(stages)
    unknowns = sum(_unknowns(body, stages, handlers, share_shape).values())
    batch = next(iter(inputs.values())).batch_size
    rows = torch.zeros(batch, dtype=torch.long)
    for key, given in inputs.items():
        factors = [w for s, w in stages if s.weights.get(key)]
        if not factors:
            continue
        handler = handlers[key]
        if isinstance(handler, Keypoint3dLimbLenHandler):
            # Lengths say nothing of a place or a pose.
            continue
        if not isinstance(handler, (Keypoint3dMSEHandler, MultiviewKeypoint2dMSEHandler)):
            rows += torch.where(handler.observed(given, factors[0]).cpu(), unknowns, 0)
            continue
        seen = given.keypoints
        points = seen.xyz if isinstance(handler, Keypoint3dMSEHandler) else seen.xy
        visible = seen.visible & counting_keypoints(seen.names, factors).to(seen.visible.device)
        rows += points.shape[-1] * _places(points, visible).cpu()
    return rows < unknowns, unknowns


def _unknowns(
    body: SMIL, stages: Iterable[Weighted], handlers: Mapping[str, BaseHandler], share_shape: bool
) -> dict[str, int]:
    """Count what a frame has for itself, by parameter, without what some term holds."""
    result: dict[str, int] = {}
    held: set[str] = set()
    trusted = False
    sizes = {'global_orient': 3, 'transl': 3, 'scale': 1, 'betas': body.n_betas, 'focal': 1}
    sizes |= dict.fromkeys(('log_joint_scales', 'joint_offsets'), 3 * body.n_joints)
    sizes |= {'landmark_offsets': 3 * len(body.data.unknown_landmarks), 'part_sizes': len(body.part_sizes)}
    common = parameter_names(shared=True) if share_shape else ()
    for stage, _ in stages:
        result |= {n: sizes[n] for n in stage.fit if n in sizes and n not in common}
        if stage.turns:
            joints = fitted_joints(stage, body.data)
            turning = body.n_joints - 1 if joints is None else sum(j > 0 for j in joints)
            result['body_pose'] = max(result.get('body_pose', 0), 3 * turning)
        for key, weight in stage.weights.items():
            if weight and not handlers[key].requires_input():
                # Of a term of another's making nobody knows; it is trusted.
                trusted |= handlers[key].holds is None
                held |= set(handlers[key].holds or ())
    return {} if trusted else {name: count for name, count in result.items() if name not in held}


def counting_keypoints(names: tuple[str, ...], factors: Iterable[Mapping[str, float]]) -> Tensor:
    """Return which keypoints have a weight under any of some factors (K,) bool."""
    return torch.tensor([any(f.get(name, 1.0) != 0 for f in factors) for name in names], dtype=torch.bool)


def _places(points: Tensor, visible: Tensor) -> Tensor:
    """Count different places of visible points (B, *, K, D) by frame, those of each view by themselves."""
    counts = visible.flatten(1).sum(1)
    # Points of one place have one first coordinate: only frames with such points are compared point by point.
    first = torch.where(visible, points[..., 0], torch.nan).sort(-1).values
    alike = (first.diff(dim=-1) == 0).flatten(1).any(1).nonzero().flatten()
    for rows in alike.split(CHUNK):
        xyz, valid = points[rows], visible[rows]
        same = (xyz.unsqueeze(-2) == xyz.unsqueeze(-3)).all(-1) & valid.unsqueeze(-1) & valid.unsqueeze(-2)
        # A point that an earlier one stands at is no new place.
        again = same.tril(-1).any(-1)
        counts[rows] = (valid & ~again).flatten(1).sum(1)
    return counts


@torch.no_grad()
def behind_cameras(
    body: SMIL,
    stages: Iterable[Weighted],
    handlers: Mapping[str, BaseHandler],
    inputs: Mapping[str, BaseInput],
    state: FitState,
) -> Tensor:
    """Find frames whose keypoints all lie behind the cameras that saw them (B,) bool.

    Frames without a keypoint in an image that has a weight are none of them.
    """
    seen_by_any = torch.zeros(state.params.batch_size, dtype=torch.bool, device=state.params.transl.device)
    in_front = seen_by_any.clone()
    stages = list(stages)
    for key, given in inputs.items():
        factors = [w for s, w in stages if s.weights.get(key)]
        if not factors or not isinstance(handlers[key], MultiviewKeypoint2dMSEHandler):
            continue
        seen = given.keypoints
        used = seen.visible & counting_keypoints(seen.names, factors).to(seen.visible.device)
        cameras = seen.cameras
        cameras = cameras if state.camera_shift is None else cameras.shifted(state.camera_shift)
        depth = by_blocks(
            seen.batch_size, partial(_depth, body, state.params, replace(seen, cameras=cameras))
        )
        seen_by_any |= used.flatten(1).any(1)
        in_front |= (used & (depth > 0)).flatten(1).any(1)
    return seen_by_any & ~in_front


def _depth(body: SMIL, params: BodyParams, seen: Keypoints2d, rows: slice) -> Float[Tensor, 'B C K']:
    _, depth, _ = seen[rows].rig.project(body(params[rows], seen.names).select(seen.names))
    return depth
