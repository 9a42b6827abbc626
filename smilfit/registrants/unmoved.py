"""Shape and sizes that no observed keypoint tells: numbers that a fit is asked for and cannot find."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BaseHandler, BaseInput, ImageFrameInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.registrants.verdicts import Weighted, counting_keypoints
from smilfit.structures import PARAMETERS, BodyParams

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

    def record(self) -> dict[str, Any]:
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
        seen = given.keypoints
        valid = seen.visible.cpu().flatten(0, -2).any(0) & counting_keypoints(seen.names, factors)
        names |= dict.fromkeys(n for n, one in zip(seen.names, valid.tolist()) if one)
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
