"""What the licensed human models share: files found by gender, and names from the convention files.

A model of this family is a class in a file of its own and a convention file whose `rig` says how many joints and
vertices it has, which vertices are keypoints, and its joint limits.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smilfit.body_models.data import BodyModelData, KeypointDefinition
from smilfit.body_models.files.smal_file import read_smal_file
from smilfit.body_models.keypoint_conventions import (
    FOLDER,
    KeypointConvention,
    load_convention,
    read_convention_file,
)
from smilfit.body_models.smil import SMIL
from smilfit.registry import BODY_MODELS, did_you_mean

GENDERS = ('neutral', 'male', 'female')
ENDINGS = ('.npz', '.pkl')


@dataclass(frozen=True)
class HumanRig:
    """The names of a human model.

    The largest of `keypoint_sets` names joints, surface points and landmarks, in this order; `groups` may hold names
    that a model cannot compute.
    """

    name: str
    joint_names: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    joint_limits: np.ndarray  # (J, 3, 2) rad
    n_vertices: int
    vertex_keypoints: dict[str, int]
    keypoint_sets: dict[str, KeypointConvention]

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """The names behind joints and surface points."""
        names = max((c.names for c in self.keypoint_sets.values()), key=len)
        return names[len(self.joint_names) + len(self.vertex_keypoints) :]


def load_rig(name: str) -> HumanRig:
    """Read the rig of a shipped convention file."""
    document = read_convention_file(FOLDER / f'{name}.json')
    rig = document['rig']
    joint_names = tuple(document['names'][: rig['n_joints']])
    limits = rig['joint_limits_rad']
    if 'limits_of' in rig:
        limits = read_convention_file(FOLDER / f'{rig["limits_of"]}.json')['rig']['joint_limits_rad'] | limits
    sets = {set_name: load_convention(convention) for set_name, convention in rig['keypoint_sets'].items()}
    groups: dict[str, tuple[str, ...]] = {}
    for table in (document['groups'], *(convention.groups for convention in sets.values())):
        for group, members in table.items():
            groups[group] = tuple(dict.fromkeys((*groups.get(group, ()), *members)))
    return HumanRig(
        name=name,
        joint_names=joint_names,
        groups=groups,
        joint_limits=np.array([limits[joint] for joint in joint_names]),
        n_vertices=rig['n_vertices'],
        vertex_keypoints=rig['vertex_keypoints'],
        keypoint_sets=sets,
    )


def name_human(
    data: BodyModelData, rig: HumanRig, landmarks: dict[str, KeypointDefinition] | None = None
) -> BodyModelData:
    """Return a model its joints' names, groups, limits and keypoint sets.

    Points on the surface are known for the mesh of the published size only.

    Args:
        data: what the file says.
        rig: the names.
        landmarks: further keypoints that the file defines.

    Raises:
        ValueError: another number of joints.
    """
    if data.n_joints != len(rig.joint_names):
        raise ValueError(
            f'{data.name}: a model of type {rig.name} must have {len(rig.joint_names)} joints; got {data.n_joints}. '
            'Use type SMIL for others.'
        )
    joints: dict[str, KeypointDefinition] = {name: name for name in rig.joint_names}
    surface: dict[str, KeypointDefinition] = {}
    if data.n_vertices == rig.n_vertices:
        surface = {name: {vertex: 1.0} for name, vertex in rig.vertex_keypoints.items()}
    surface |= landmarks or {}
    known: dict[str, KeypointDefinition] = joints | surface
    sets: dict[str, dict[str, KeypointDefinition]] = {}
    for set_name, convention in rig.keypoint_sets.items():
        definitions = {name: known[name] for name in convention.names if name in known}
        # A mesh of another size has no surface points: such a set would be one that is there already.
        if definitions not in sets.values():
            sets[set_name] = definitions
    groups = {g: tuple(n for n in members if n in joints) for g, members in rig.groups.items()}
    points = {g: tuple(n for n in members if n in surface) for g, members in rig.groups.items()}
    return replace(
        data,
        joint_names=rig.joint_names,
        joint_groups={g: members for g, members in groups.items() if members},
        keypoint_groups={g: members for g, members in points.items() if members},
        joint_limits=rig.joint_limits,
        keypoint_sets=sets,
        unit='m',
    )


def find_human_file(where: str, path: Path, gender: str, endings: tuple[str, ...] = ENDINGS) -> Path:
    """Find the model file of a gender, such as `SMPL_NEUTRAL.npz`, in a folder or in the model's folder below it.

    Args:
        where: the model's name in file names and, in small letters, the folder's.
        path: the folder, or the file itself.
        gender: whose file, in any case.
        endings: looked for in this order.

    Raises:
        ValueError: an unknown gender.
        FileNotFoundError: no such file; the message lists what was looked for.
    """
    if gender.lower() not in GENDERS:
        raise ValueError(
            f'{where}: gender must be one of {GENDERS}; got {gender!r}. {did_you_mean(gender, GENDERS)}'
        )
    if path.is_file():
        return path
    folders = (path, path / where.lower())
    candidates = [folder / f'{where}_{gender.upper()}{end}' for folder in folders for end in endings]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ', '.join(str(c) for c in candidates)
    raise FileNotFoundError(
        f'{where}: no model file. Looked for {looked}. The files are licensed: get them from '
        f'{"smpl-x" if where == "SMPLX" else "smpl"}.is.tue.mpg.de.'
    )


def check_batch_size(where: str, batch_size: int) -> None:
    """Refuse a batch size that is none; it is otherwise of no account, since parameters decide the batch."""
    if batch_size < 1:
        raise ValueError(f'{where}: batch_size must be positive; got {batch_size}.')


def as_logger(logger: str | logging.Logger | None) -> logging.Logger:
    """Return the logger, by name where it is one."""
    return logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')


def limit_coefficients(where: str, thing: str, wanted: int, available: int, logger: logging.Logger) -> int:
    """Return how many coefficients a model gets: all there are, and a word in the log, where more are wanted.

    Raises:
        ValueError: a negative number.
    """
    if wanted < 0:
        raise ValueError(f'{where}: {thing} must not be negative; got {wanted}.')
    if wanted > available:
        logger.warning(
            '%s: %s is %d, but the file has %d; %d are used.', where, thing, wanted, available, available
        )
    return min(wanted, available)


# Where a folder has both, the pickle is read: it is what the smplx package reads.
SMPL_ENDINGS = ('.pkl', '.npz')


@BODY_MODELS.register_module()
class SMPL(SMIL):
    """SMPL by Loper et al. 2015, from `SMPL_{GENDER}.pkl` or `.npz` in a folder, or one such file.

    Args:
        model_path: the folder (or the one above its `smpl/`), or the file; it is licensed and not shipped.
        gender: which file of the folder.
        num_betas: how many shape coefficients to keep.
        keypoint_convention: what callers call the model's keypoints, kept for them: `'smpl'` (24 joints), `'smpl_45'`
            (and 21 surface points, for the 6890-vertex mesh) or another. Inputs may be named in any convention.
        batch_size: only 1 or what the inputs have; parameters decide the batch.
        logger: name of or the logger to write to.
    """

    def __init__(
        self,
        model_path: str | Path,
        gender: str = 'neutral',
        num_betas: int = 10,
        keypoint_convention: str = 'smpl',
        batch_size: int = 1,
        logger: str | logging.Logger | None = None,
    ) -> None:
        check_batch_size('SMPL', batch_size)
        path = find_human_file('SMPL', Path(model_path), gender, SMPL_ENDINGS)
        logger = as_logger(logger)
        logger.info('SMPL: %s', path)
        data = name_human(read_smal_file(path, max_betas=num_betas), load_rig('smpl'))
        limit_coefficients('SMPL', 'num_betas', num_betas, data.n_betas, logger)
        super().__init__(data)
        self.keypoint_convention = load_convention(keypoint_convention).name
