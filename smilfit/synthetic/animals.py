"""Procedural rigged animals: closed meshes with weights, a shape space, limits and keypoints, all known exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models import (
    BodyModelData,
    ShapeMixture,
    SparseMatrix,
    check_body_model,
    save_body_model,
)
from smilfit.body_models.shipped_models import ENDING, FOLDER
from smilfit.synthetic import body_plans as quadruped
from smilfit.synthetic import insect_plan as insect
from smilfit.synthetic.quadruped_family import make_quadruped_family
from smilfit.synthetic.rigged_animal import finish_animal

# One standard deviation of every proportion, as a share of its mean.
PROPORTION_SD = 0.08
_LEG_PARTS = ('coxa', 'femur', 'tibia', 'tarsus')


def make_insect(name: str = 'insect', length: float = 1.0) -> BodyModelData:
    """Make a rigged ant-like insect.

    Betas (standard deviations of 8 %): girth, leg length, head size, abdomen size, antenna length.

    Args:
        name: of the model.
        length: mandibles to abdomen's tip, model unit.
    """
    proportions = ('girth', 'leg_length', 'head_size', 'abdomen_size', 'antenna_length')
    legs = {f'legs_{s}': [f'{part}_{s}{i}' for i in (1, 2, 3) for part in _LEG_PARTS] for s in 'LR'}
    groups = {
        'torso': ['thorax'],
        'head': ['head'],
        'abdomen': ['abdomen_1', 'abdomen_2', 'abdomen_3'],
        'antennae': ['scape_L', 'flagellum_L', 'scape_R', 'flagellum_R'],
        'legs': legs['legs_L'] + legs['legs_R'],
    } | legs
    keypoints = {
        'mandibles': 'front',
        'neck': '@head',
        'thorax_centre': '@thorax',
        'petiole': '@abdomen_1',
        'abdomen_tip': 'back',
    }
    for side in 'LR':
        keypoints[f'antenna_tip_{side}'] = f'antenna_{side} tip'
        keypoints[f'antenna_elbow_{side}'] = f'@flagellum_{side}'
        for i in (1, 2, 3):
            keypoints[f'leg_{side}{i}_knee'] = f'@tibia_{side}{i}'
            keypoints[f'leg_{side}{i}_tip'] = f'leg_{side}{i} tip'
    return finish_animal(
        name,
        insect.insect_plan,
        dict.fromkeys(proportions, (1.0, PROPORTION_SD)),
        insect.JOINT_LIMITS_DEG,
        groups,
        keypoints,
        length,
        mass='thorax',
        unit='body length' if length == 1.0 else None,
    )


def make_quadruped(name: str = 'quadruped', length: float = 1.0) -> BodyModelData:
    """Make a rigged mouse-like quadruped.

    Betas (standard deviations of 8 %): body length, girth, leg length, head size, tail length, ear size.

    Args:
        name: of the model.
        length: nose to tail's base, model unit.
    """
    proportions = ('body_length', 'girth', 'leg_length', 'head_size', 'tail_length', 'ear_size')
    fore = {s: [f'{part}_{s}' for part in ('shoulder', 'elbow', 'wrist')] for s in 'LR'}
    hind = {s: [f'{part}_{s}' for part in ('hip', 'knee', 'ankle')] for s in 'LR'}
    groups = {
        'torso': ['pelvis', 'spine_1', 'spine_2'],
        'spine': ['spine_1', 'spine_2'],
        'head': ['neck', 'head', 'ear_L', 'ear_R'],
        'tail': ['tail_1', 'tail_2', 'tail_3', 'tail_4'],
        'legs': fore['L'] + fore['R'] + hind['L'] + hind['R'],
    }
    return finish_animal(
        name,
        quadruped.quadruped_plan,
        dict.fromkeys(proportions, (1.0, PROPORTION_SD)),
        quadruped.JOINT_LIMITS_DEG,
        groups,
        quadruped.keypoint_places(),
        length,
        mass='pelvis',
        unit='body length' if length == 1.0 else None,
    )


# Of lengths in body lengths and of shares: a hundredth of a millimetre on a metre.
DIGITS = 5


def shipped_bodies() -> dict[str, BodyModelData]:
    """Make the animals by name, with numbers rounded to be short."""
    return {data.name: _rounded(data) for data in (make_quadruped_family(), make_insect())}


def write_shipped_models(folder: str | Path = FOLDER) -> list[Path]:
    """Write the files of the animals."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [
        save_body_model(data, Path(folder) / f'{name}{ENDING}') for name, data in shipped_bodies().items()
    ]


def _rounded(data: BodyModelData) -> BodyModelData:
    arrays = ('v_template', 'joints', 'shapedirs', 'shape_mean', 'shape_cov', 'joint_limits')
    changes = {name: _short(getattr(data, name)) for name in arrays}
    mixture, weights, regressor = data.shape_mixture, data.weights, data.joint_regressor
    if mixture is not None:
        mixture = ShapeMixture(mixture.names, mixture.weights, _short(mixture.means), _short(mixture.covs))
    if regressor is not None:
        # Rows over many vertices must still sum to 1.
        regressor = replace(regressor, values=np.round(regressor.values, 9))
    weights = SparseMatrix(weights.rows, weights.cols, _short(weights.values), weights.shape)
    shorter = replace(data, **changes, shape_mixture=mixture, weights=weights, joint_regressor=regressor)
    return check_body_model(shorter, data.name)


def _short(array: np.ndarray) -> np.ndarray:
    # Adding 0 turns -0.0 into 0.0.
    return np.round(array, DIGITS) + 0.0
