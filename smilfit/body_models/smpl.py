"""SMPL: the licensed human model's files, found by gender in a folder; its names come from a data file."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.data import BodyModelData, KeypointDefinition
from smilfit.body_models.smal_file import read_smal_file
from smilfit.body_models.smil import SMIL
from smilfit.registry import BODY_MODELS

CONVENTION = Path(__file__).parent / 'conventions' / 'smpl.json'
GENDERS = ('neutral', 'male', 'female')
KEYPOINT_CONVENTIONS = ('smpl', 'smpl_45')


@BODY_MODELS.register_module()
class SMPL(SMIL):
    """SMPL by Loper et al. 2015, from `SMPL_{GENDER}.pkl` or `.npz` in a folder, or one such file.

    Args:
        model_path: the folder or file; it is licensed and not shipped.
        gender: which file of the folder.
        num_betas: how many shape coefficients to keep.
        keypoint_convention: the keypoint set that inputs are named in by default: `'smpl'` (24 joints) or
            `'smpl_45'` (and 21 surface points, for the 6890-vertex mesh).
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
        if keypoint_convention not in KEYPOINT_CONVENTIONS:
            raise ValueError(
                f'SMPL: keypoint_convention must be one of {KEYPOINT_CONVENTIONS}; got {keypoint_convention!r}.'
            )
        if batch_size < 1:
            raise ValueError(f'SMPL: batch_size must be positive; got {batch_size}.')
        path = find_smpl_file(Path(model_path), gender)
        logger = logging.getLogger(logger or 'smilfit') if not isinstance(logger, logging.Logger) else logger
        logger.info('SMPL: %s', path)
        super().__init__(name_smpl(read_smal_file(path, max_betas=num_betas)))
        self.keypoint_convention = keypoint_convention


def find_smpl_file(path: Path, gender: str) -> Path:
    """Find the model file of a gender.

    Raises:
        ValueError: an unknown gender.
        FileNotFoundError: no such file; the message lists what was looked for.
    """
    if gender not in GENDERS:
        raise ValueError(f'SMPL: gender must be one of {GENDERS}; got {gender!r}.')
    if path.is_file():
        return path
    candidates = [
        path / sub / f'SMPL_{gender.upper()}{end}' for sub in ('', 'smpl') for end in ('.pkl', '.npz')
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ', '.join(str(c) for c in candidates)
    raise FileNotFoundError(
        f'SMPL: no model file. Looked for {looked}. The files are licensed: get them from smpl.is.tue.mpg.de.'
    )


def name_smpl(data: BodyModelData) -> BodyModelData:
    """Give an SMPL-shaped model its joints' names, groups, limits and keypoint sets.

    Raises:
        ValueError: the model does not have 24 joints.
    """
    convention = json.loads(CONVENTION.read_text(encoding='utf-8'))
    names = tuple(convention['joint_names'])
    if data.n_joints != len(names):
        raise ValueError(
            f'SMPL: a model must have {len(names)} joints; got {data.n_joints}. Use type SMIL for others.'
        )
    smpl: dict[str, KeypointDefinition] = {name: name for name in names}
    sets = {'smpl': smpl}
    if data.n_vertices == convention['n_vertices']:
        sets['smpl_45'] = smpl | {k: {v: 1.0} for k, v in convention['vertex_keypoints'].items()}
    groups = {group: tuple(members) for group, members in convention['joint_groups'].items()}
    limits = np.array([convention['joint_limits_rad'][name] for name in names])
    return replace(
        data, joint_names=names, joint_groups=groups, joint_limits=limits, keypoint_sets=sets, unit='m'
    )
