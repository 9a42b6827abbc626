"""What observations can and cannot determine, as a fit reports it.

Before it begins: frames that show too little, shape that no keypoint moves, cameras that contradict each other;
after it: bodies behind their cameras.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BaseHandler,
    BaseInput,
    ImageFrameInput,
    Keypoint3dLimbLenHandler,
    Keypoint3dMSEHandler,
    MultiviewKeypoint2dMSEHandler,
    MultiviewKeypoint2dMSEInput,
)
from smilfit.handlers.keypoints import KeypointInput
from smilfit.io.camera_warning import judge_cameras
from smilfit.registrants.stage import Report, Stage, fitted_joints
from smilfit.registrants.stage_task import FitState, first_cameras, known_cameras
from smilfit.structures import PARAMETERS, BodyParams, Keypoints2d, Keypoints3d, parameter_names
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
        direct = isinstance(handler, (Keypoint3dMSEHandler, MultiviewKeypoint2dMSEHandler))
        if not direct or not isinstance(given, KeypointInput):
            rows += torch.where(handler.observed(given, factors[0]).cpu(), unknowns, 0)
            continue
        keypoints = given.keypoints
        points = keypoints.xyz if isinstance(keypoints, Keypoints3d) else keypoints.xy
        visible = keypoints.visible & counting_keypoints(keypoints.names, factors).to(
            keypoints.visible.device
        )
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
        xyz = points[rows]
        counts[rows] = _count_first((xyz.unsqueeze(-2) == xyz.unsqueeze(-3)).all(-1), visible[rows])
    return counts


def _count_first(same: Bool[Tensor, 'B *V K K'], visible: Bool[Tensor, 'B *V K']) -> Int[Tensor, ' B']:
    """Count visible points by frame that are in no earlier visible one's place."""
    again = same & visible.unsqueeze(-1) & visible.unsqueeze(-2)
    return (visible & ~again.tril(-1).any(-1)).flatten(1).sum(1)


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
    observed = torch.zeros(state.params.batch_size, dtype=torch.bool, device=state.params.transl.device)
    in_front = observed.clone()
    stages = list(stages)
    for key, given in inputs.items():
        factors = [w for s, w in stages if s.weights.get(key)]
        compared = isinstance(handlers[key], MultiviewKeypoint2dMSEHandler)
        if not factors or not compared or not isinstance(given, MultiviewKeypoint2dMSEInput):
            continue
        keypoints = given.keypoints
        used = keypoints.visible & counting_keypoints(keypoints.names, factors).to(keypoints.visible.device)
        cameras = keypoints.rig if state.camera_shift is None else keypoints.rig.shifted(state.camera_shift)
        depth = by_blocks(
            keypoints.batch_size, partial(_depth, body, state.params, replace(keypoints, cameras=cameras))
        )
        observed |= used.flatten(1).any(1)
        in_front |= (used & (depth > 0)).flatten(1).any(1)
    return observed & ~in_front


def _depth(body: SMIL, params: BodyParams, keypoints: Keypoints2d, rows: slice) -> Float[Tensor, 'B C K']:
    _, depth, _ = keypoints[rows].rig.project(body(params[rows], keypoints.names).select(keypoints.names))
    return depth


# Parameters that are told of: what they are called, what one number of theirs is, and where it stays.
_TOLD = {
    'betas': ('shape', 'betas', 'the mean'),
    'part_sizes': ('part sizes', 'sizes', 'rest'),
    'log_joint_scales': ('joint sizes', 'joints', 'rest'),
}
# How far a parameter is moved: a standard deviation of shape, a tenth of a size.
_STEP = {'betas': 1.0, 'part_sizes': 0.1, 'log_joint_scales': 0.1}
# A keypoint that moves by less, in body lengths, is not moved: rounding in single precision is 1e-7.
STILL = 1e-5


@dataclass(frozen=True)
class Unmoved:
    """Numbers of a parameter that move none of the observed keypoints.

    Args:
        parameter: its name.
        numbers: which ones: indices of betas, names of parts or joints.
        of: how many numbers the parameter has.
        n_keypoints: how many keypoints were observed.
        given: whether it starts elsewhere than at the mean or at rest, or at the means of several kinds of animal.
    """

    parameter: str
    numbers: tuple[int | str, ...]
    of: int
    n_keypoints: int
    given: bool = False

    @property
    def sentence(self) -> str:
        """Report so, and what would tell."""
        thing, numbers, rest = _TOLD[self.parameter]
        rest = 'where the fit starts' if self.given else f'at {rest}'
        count = len(self.numbers)
        if count == self.of:
            result = (
                f'none of {self.of} {numbers} moves any of the {self.n_keypoints} keypoints: it stays {rest}'
            )
            return f'{thing}: {result}; masks would move it'
        named = ', '.join(map(str, self.numbers[:12])) + (', ...' if count > 12 else '')
        move, stay, them = ('moves', 'it stays', 'it') if count == 1 else ('move', 'they stay', 'them')
        return (
            f'{thing}: {count} of {self.of} {numbers} ({named}) {move} none of the {self.n_keypoints} keypoints: '
            f'{stay} {rest}; masks would move {them}'
        )

    def record(self) -> Report:
        """Return it as JSON has it."""
        return {**asdict(self), 'numbers': list(self.numbers), 'sentence': self.sentence}


def unmoved(
    body: SMIL,
    stages: Iterable[Weighted],
    handlers: Mapping[str, BaseHandler],
    inputs: Mapping[str, BaseInput],
    start: BodyParams,
) -> tuple[Unmoved, ...]:
    """Find the numbers of shape and sizes that are fitted and move no keypoint that was observed and weighted.

    Each is moved by itself, from the start's shape at rest: betas and part sizes move rest positions linearly, so a
    step tells what the Jacobian does. Where masks, scans or anything else than keypoints is fitted to, nothing is
    said.

    Args:
        body: the body.
        stages: with their factors on named keypoints.
        handlers: by key.
        inputs: named as the model names.
        start: where the fit starts.
    """
    stages = list(stages)
    names = _observed(stages, handlers, inputs)
    fitted = dict.fromkeys(name for stage, _ in stages for name in stage.fit if name in _TOLD)
    if not names:
        return ()
    result = []
    for name in fitted:
        still = _still(body, name, names, start)
        if any(still):
            notes = tuple(number for number, one in zip(_numbers(body, name), still) if one)
            result.append(Unmoved(name, notes, len(still), len(names), _elsewhere(body, name, start)))
    return tuple(result)


def _observed(
    stages: Sequence[Weighted], handlers: Mapping[str, BaseHandler], inputs: Mapping[str, BaseInput]
) -> tuple[str, ...]:
    """Name the keypoints that were observed and have a weight; none where something else has one."""
    names: dict[str, None] = {}
    for key, given in inputs.items():
        factors = [w for s, w in stages if s.weights.get(key)]
        # That a body stays inside the image says nothing of its shape.
        if not factors or isinstance(given, ImageFrameInput):
            continue
        if not isinstance(given, KeypointInput):
            return ()
        keypoints = given.keypoints
        valid = keypoints.visible.cpu().flatten(0, -2).any(0) & counting_keypoints(keypoints.names, factors)
        names |= dict.fromkeys(n for n, one in zip(keypoints.names, valid.tolist()) if one)
    return tuple(names)


@torch.no_grad()
def _still(body: SMIL, name: str, keypoints: Sequence[str], start: BodyParams) -> list[bool]:
    """Return which numbers of a parameter move no keypoint; of sizes by joint, which joints do in no direction."""
    row = PARAMETERS[name].row(body.sizes)
    count = int(torch.Size(row).numel())
    if count == 0:
        return []
    steps = _STEP[name] * torch.eye(count + 1).to(body.v_template)[:, 1:]
    rest = body.zero_params(count + 1).replace(betas=start.betas[:1].expand(count + 1, -1).clone())
    value = rest.betas if name == 'betas' else 0.0
    moved = rest.replace(**{name: value + steps.reshape(-1, *row)})
    points = body(moved, tuple(keypoints)).select(tuple(keypoints))
    distance = (points[1:] - points[:1]).norm(dim=-1).amax(1) / body.rest_size
    return (distance.reshape(row[0], -1).amax(1) < STILL).tolist()


def _numbers(body: SMIL, name: str) -> Sequence[int | str]:
    if name == 'part_sizes':
        return tuple(body.part_sizes)
    return tuple(body.joint_names) if name == 'log_joint_scales' else tuple(range(body.n_betas))


def _elsewhere(body: SMIL, name: str, start: BodyParams) -> bool:
    if name == 'betas' and body.data.shape_mixture is not None:
        return True
    value = start.as_dict().get(name)
    if value is None:
        return False
    rest = body.zero_params().betas if name == 'betas' else torch.zeros_like(value)
    return not bool((value == rest).all())


# Single frames, as of live cameras, are fitted in less time than it takes to judge cameras, and prove little.
FEWEST = 4


def check_cameras(inputs: Mapping[str, BaseInput], stages: Sequence[Stage], logger: logging.Logger) -> Report:
    """Log cameras that contradict each other, and stages that move all cameras.

    Judged is each Input of keypoints that has several cameras, the same in all of `FEWEST` frames or more, where its
    recording was not judged before.

    Args:
        inputs: as they were given: what they were judged to be stays with them.
        stages: all stages.
        logger: hears it.

    Returns:
        For the fit's report, by handler key: each camera's median distance (px) and those that contradict.

    Raises:
        KeyError: a stage names a camera that there is not.
    """
    cameras = first_cameras(inputs)
    result: Report = {}
    for stage in stages:
        if 'cameras' not in stage.fit or cameras is None:
            continue
        if not known_cameras(stage, cameras.names) and len(cameras) > 1:
            logger.warning(
                'SMPLify: %s moves all cameras (%s): a wrong one turns the good ones, and the world with them. '
                "Name those that may move, such as fit_cameras=('%s',).",
                *(stage.label, ', '.join(cameras.names), cameras.names[-1]),
            )
    for key, given in inputs.items():
        if not isinstance(given, MultiviewKeypoint2dMSEInput):
            continue
        if given.keypoints.batch_size < FEWEST:
            continue
        report = judge_cameras(given.keypoints)
        if report is None:
            continue
        result[key] = {'median_px': report.median_px, 'contradicting': list(report.contradicting)}
        if not report.ok:
            logger.warning(
                'SMPLify: cameras must agree with each other; %s %s', report.message(), report.advice()
            )
    return {'camera_consistency': result} if result else {}


# Turn and place of a body; scale and focal length are one more each where a stage fits them.
PLACE_UNKNOWNS = 6
# Numbers that are asked for, for each of these unknowns.
KNOWNS_PER_UNKNOWN = 2
# Keypoints nearer to each other than this share of all keypoints' extent, or px, are in one place.
APART_SHARE, APART_PX = 0.02, 1.0
# Keypoints whose extent (the diagonal of their box) is less, px, tell no turn: as much as four are off by.
LEAST_EXTENT_PX = 16.0


def least_places(stages: Iterable[tuple[Stage, Mapping[str, float]]]) -> int:
    """Return how many places keypoints must be in, for what the stages fit of a body's place."""
    fitted = {name for stage, _ in stages for name in stage.fit}
    unknowns = PLACE_UNKNOWNS + len(fitted & {'scale', 'focal'})
    # Two numbers a place.
    return -(-KNOWNS_PER_UNKNOWN * unknowns // 2)


def missing_evidence(
    inputs: Mapping[str, BaseInput],
    handlers: Mapping[str, BaseHandler],
    stages: Iterable[tuple[Stage, Mapping[str, float]]],
    least: int | None = None,
) -> dict[int, str]:
    """Report on frames that show too little what is missing.

    Enough are keypoints in `least` different places that have a weight in some stage, those of all views together, or
    any other observation that has a weight, such as a mask.

    Args:
        inputs: what was seen.
        handlers: the terms.
        stages: with the keypoints' weights in each.
        least: places that are asked for; `least_places` if None.

    Returns:
        By row, what was seen and what is asked for.
    """
    stages = list(stages)
    least = least_places(stages) if least is None else least
    batch = next(iter(inputs.values())).batch_size
    other = torch.zeros(batch, dtype=torch.bool)
    n_visible, places = torch.zeros(batch, dtype=torch.long), torch.zeros(batch, dtype=torch.long)
    for key, given in inputs.items():
        factors = [w for s, w in stages if s.weights.get(key)]
        if not factors:
            continue
        compared = isinstance(handlers[key], MultiviewKeypoint2dMSEHandler)
        if not compared or not isinstance(given, MultiviewKeypoint2dMSEInput):
            other |= torch.stack([handlers[key].observed(given, w).cpu() for w in factors]).any(0)
            continue
        points = given.keypoints
        counts = torch.tensor([any(w.get(name, 1.0) != 0 for w in factors) for name in points.names])
        visible = points.visible.cpu() & counts
        n_visible += visible.flatten(1).sum(1)
        places += places_of(points.xy.cpu(), visible)
    short = (~other & (places < least)).nonzero().flatten().tolist()
    return {row: _sentence(int(n_visible[row]), int(places[row]), least) for row in short}


def places_of(points: Float[Tensor, 'B C K 2'], visible: Bool[Tensor, 'B C K']) -> Int[Tensor, ' B']:
    """Count keypoints that no earlier one of their image stands beside; those of a tiny image are one place."""
    valid = visible.unsqueeze(-1)
    low = torch.where(valid, points, torch.inf).amin(2)
    high = torch.where(valid, points, -torch.inf).amax(2)
    extent = (high - low).clamp_min(0).norm(dim=-1)
    least_distance = torch.where(
        extent < LEAST_EXTENT_PX, torch.inf, (APART_SHARE * extent).clamp_min(APART_PX)
    )
    points = torch.where(valid, points, torch.zeros_like(points))
    near = (points.unsqueeze(-2) - points.unsqueeze(-3)).norm(dim=-1) < least_distance[..., None, None]
    return _count_first(near, visible)


def _sentence(n_visible: int, places: int, least: int) -> str:
    some = f'{n_visible} keypoint{"" if n_visible == 1 else "s"}'
    where = '' if places == n_visible else f' in {places} place{"" if places == 1 else "s"}'
    return (
        f'{some}{where} and no mask: {2 * places} numbers for a pose, a place and a shape; keypoints in {least} '
        'different places, or a mask, are asked for'
    )
