"""One stage of a fit: what may move, what counts, and for how long."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smilfit.body_models import BodyModelData
from smilfit.registry import UnknownNameError, did_you_mean, reject_unknown
from smilfit.solvers import FirstOrderSolver, SecondOrderSolver
from smilfit.structures import PARAMETERS, parameter_names

logger = logging.getLogger('smilfit')

# Joints and place: a frame's own in every stage.
POSE = ('global_orient', 'transl', 'body_pose')
# Joints that SMPL-X's users fit apart from the body, and the joint groups of the model file that hold them.
POSE_PARTS = {
    'left_hand_pose': 'left_hand',
    'right_hand_pose': 'right_hand',
    'jaw_pose': 'jaw',
    'leye_pose': 'leye',
    'reye_pose': 'reye',
}
PART_WEIGHTS = ('body_weight', 'shoulder_weight', 'hip_weight', 'foot_weight', 'hand_weight', 'face_weight')
# The handler keys of XRMoCap's configs: a weight of 0 of one of these is off, whether or not there is such a handler.
XRMOCAP_KEYS = (
    'keypoints3d_mse',
    'keypoints2d_mse',
    'keypoints3d_limb_len',
    'shape_prior',
    'joint_prior',
    'smooth_joint',
    'pose_prior',
    'pose_reg',
)
_PLAIN = ('name', 'n_iter', 'ftol', 'optimizer', 'fit_joint_groups', 'use_shoulder_hip_only', 'part_weights')


# What chooses the steps of a stage.
Solver = FirstOrderSolver | SecondOrderSolver
# What a fit's report, or an entry of its history, holds: values as JSON has them.
Report = dict[str, Any]
ReportView = Mapping[str, Any]
# A stage as XRMoCap's configs have it.
StageConfig = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        n_iter: most steps of the solver.
        ftol: relative decrease of the loss a step below which the stage has converged.
        fit: names of the parameters that move, of the table in `structures/parameters.py`; its `default_fit` ones, as
            in XRMoCap, where nothing is given. `'cameras'` are rotations and translations of cameras (`fit_cameras`
            names which), `'focal'`
            one factor on their focal lengths (one for the clip where shape is shared, else one a frame).
            `'left_hand_pose'`, `'right_hand_pose'`, `'jaw_pose'`, `'leye_pose'` and `'reye_pose'` are joint groups of
            models that name them.
        weights: factor of each handler's loss by `handler_key`; a handler without one is off.
        reductions: reduction of a handler's loss by `handler_key`, instead of the loss's own.
        optimizer: a solver for this stage, instead of the registrant's.
        fit_joint_groups: only the joints of these groups of the model file turn; all if empty.
        part_weights: factor on the keypoints of a group of the model file; `'body'` is every keypoint that is in
            no other group named here.
        use_shoulder_hip_only: only the keypoints of the groups `shoulder` and `hip` count.
        fit_cameras: names of the cameras that `'cameras'` moves; all if empty. The others keep every bit.
        parts_apart: `'body_pose'` is the pose without hands, jaw and eyes.
        name: for reports.
    """

    n_iter: int = 1
    ftol: float = 1e-4
    fit: tuple[str, ...] = field(default_factory=lambda: parameter_names(default_fit=True))
    weights: dict[str, float] = field(default_factory=dict)
    reductions: dict[str, str] = field(default_factory=dict)
    optimizer: Solver | None = None
    fit_joint_groups: tuple[str, ...] = ()
    part_weights: dict[str, float] = field(default_factory=dict)
    use_shoulder_hip_only: bool = False
    parts_apart: bool = False
    name: str = ''
    fit_cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked without handlers and model."""
        where, options = f'Stage {self.name}'.rstrip(), (*PARAMETERS, *POSE_PARTS)
        for parameter in self.fit:
            if parameter not in options:
                raise ValueError(f'{where}: cannot fit {parameter!r}. {did_you_mean(parameter, options)}')
        if self.fit_cameras and 'cameras' not in self.fit:
            raise ValueError(
                f"{where}: fit_cameras names {list(self.fit_cameras)}, so fit must hold 'cameras'; got "
                f'{list(self.fit)}. Add it.'
            )
        if self.n_iter < 0 or self.ftol < 0:
            raise ValueError(
                f'{where}: n_iter and ftol must not be negative; got {self.n_iter}, {self.ftol}.'
            )
        for kind, weights in (('weight', self.weights), ('part weight', self.part_weights)):
            for key, weight in weights.items():
                if not 0 <= weight < math.inf:
                    raise ValueError(
                        f'{where}: the {kind} of {key!r} must be finite and not negative; got {weight}. '
                        'A weight of 0 switches it off.'
                    )

    @property
    def label(self) -> str:
        """Return what messages call it."""
        return self.name or 'the stage'

    @property
    def turns(self) -> bool:
        """Whether any joint but the root may turn."""
        return 'body_pose' in self.fit or any(part in self.fit for part in POSE_PARTS)

    @property
    def extras(self) -> tuple[str, ...]:
        """What moves besides joints, place and cameras."""
        return tuple(n for n in self.fit if n in parameter_names(of='body') and n not in POSE)


def stage_from_dict(
    config: StageConfig, handler_keys: Sequence[str], place: str, parts_apart: bool = False
) -> Stage:
    """Read a stage in the form of XRMoCap's configs.

    Keys are `n_iter`, `ftol`, `fit_<parameter>`, `<handler_key>_weight`, `<handler_key>_reduction`,
    `<part>_weight` (body, shoulder, hip, foot, hand, face), `use_shoulder_hip_only`, `optimizer`,
    `fit_joint_groups`, `part_weights` and `name`; where hands, jaw and eyes are fitted apart also
    `fit_left_hand_pose` and its like.

    Raises:
        KeyError: any other key, with the near ones.
    """
    of_handlers = [f'{key}_{what}' for key in handler_keys for what in ('weight', 'reduction')]
    fittable = (*PARAMETERS, *(POSE_PARTS if parts_apart else ()))
    usual = parameter_names(default_fit=True) + ((*POSE_PARTS, 'expression') if parts_apart else ())
    known = [*_PLAIN, *(f'fit_{p}' for p in fittable), *of_handlers, *PART_WEIGHTS]
    off = [f'{key}_weight' for key in XRMOCAP_KEYS if config.get(f'{key}_weight') == 0]
    known += off
    reject_unknown(f'SMPLify: {place}', 'stage key', config, known)
    cameras = _named_cameras(config.get('fit_cameras'), place)
    fit = tuple(p for p in fittable if config.get(f'fit_{p}', p in usual))
    parts = dict(config.get('part_weights', {}))
    for key in PART_WEIGHTS:
        if config.get(key) is not None:
            parts[key.removesuffix('_weight')] = float(config[key])
    return Stage(
        n_iter=config.get('n_iter', 1),
        ftol=config.get('ftol', 1e-4),
        fit=fit,
        weights={k: float(config[f'{k}_weight']) for k in handler_keys if f'{k}_weight' in config},
        reductions={k: config[f'{k}_reduction'] for k in handler_keys if f'{k}_reduction' in config},
        optimizer=config.get('optimizer'),
        fit_joint_groups=tuple(config.get('fit_joint_groups', ())),
        part_weights=parts,
        use_shoulder_hip_only=bool(config.get('use_shoulder_hip_only', False)),
        parts_apart=parts_apart,
        name=config.get('name', place),
        fit_cameras=cameras,
    )


def _named_cameras(value: bool | str | Sequence[str] | None, place: str) -> tuple[str, ...]:
    """Read `fit_cameras`: none or all of them by a truth value, or some by name."""
    if value is None or isinstance(value, bool):
        return ()
    names = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(
            f'SMPLify: {place}: fit_cameras must be True, False or names of cameras, each once; got {value!r}.'
        )
    return names


def fitted_joints(stage: Stage, data: BodyModelData) -> list[int] | None:
    """List the joints that may turn in a stage; None for all.

    Raises:
        KeyError: a joint group that the model does not have.
    """
    groups = data.joint_groups
    for group in stage.fit_joint_groups:
        if group not in groups:
            raise UnknownNameError(
                f'SMPLify: {stage.label} fits the joint group {group!r}, which {data.name} does not have. '
                f'{did_you_mean(group, groups)}'
            )
    allowed = _turning(stage, data)
    if stage.fit_joint_groups:
        allowed &= {name for group in stage.fit_joint_groups for name in groups[group]}
    everything = allowed == set(data.joint_names)
    return None if everything else [j for j, n in enumerate(data.joint_names) if n in allowed]


def _turning(stage: Stage, data: BodyModelData) -> set[str]:
    """Name the joints that the pose parameters of a stage turn."""
    asked = {part: group for part, group in POSE_PARTS.items() if part in stage.fit}
    missing = [group for group in asked.values() if group not in data.joint_groups]
    if missing and not stage.parts_apart:
        raise UnknownNameError(
            f'SMPLify: {stage.label} fits the joint group {missing[0]!r}, which {data.name} does not have. '
            f'{did_you_mean(missing[0], data.joint_groups)}'
        )
    separate = {n for g in POSE_PARTS.values() for n in data.joint_groups.get(g, ())}
    result = {n for g in asked.values() for n in data.joint_groups.get(g, ())}
    if 'body_pose' in stage.fit:
        result |= set(data.joint_names) - (separate if stage.parts_apart or asked else set())
    return result


def keypoint_weights(stage: Stage, data: BodyModelData, ignore: Sequence[str]) -> dict[str, float]:
    """Turn a stage's part weights into factors on keypoints, by name.

    A group's weight replaces the body's. A keypoint that is a joint under another name belongs to the groups
    of that joint. A group that the model does not have is an error unless its weight changes nothing.

    Raises:
        KeyError: an unknown group.
    """
    points = data.keypoint_groups
    groups = {g: set(data.joint_groups.get(g, ())) for g in (*data.joint_groups, *points)}
    parts = {g: w for g, w in stage.part_weights.items() if g != 'body'}
    for group, weight in parts.items():
        if group not in groups and weight not in (0.0, 1.0):
            raise UnknownNameError(
                f'SMPLify: {stage.label} weights the keypoints of group {group!r}, which {data.name} does not have. '
                f'{did_you_mean(group, groups)}'
            )
    if stage.use_shoulder_hip_only:
        missing = [g for g in ('shoulder', 'hip') if g not in groups]
        if missing:
            raise UnknownNameError(
                f'SMPLify: {stage.label} uses shoulders and hips only, but {data.name} has no joint group '
                f'{missing[0]!r}. Use part_weights with a group of the model. {did_you_mean(missing[0], groups)}'
            )
    joint_of = {name: name for name in data.joint_names}
    for definitions in data.keypoint_sets.values():
        joint_of |= {k: d if isinstance(d, str) else '' for k, d in definitions.items()}
    joint_of |= {name: mark.bone for name, mark in data.landmarks.items()}
    weights = {}
    for name, joint in joint_of.items():
        mine = [g for g, members in groups.items() if joint in members or name in points.get(g, ())]
        named = [parts[g] for g in mine if g in parts]
        weight = named[-1] if named else stage.part_weights.get('body', 1.0)
        if stage.use_shoulder_hip_only and not {'shoulder', 'hip'} & set(mine):
            weight = 0.0
        if weight != 1.0:
            weights[name] = weight
    return weights | dict.fromkeys(ignore, 0.0)
