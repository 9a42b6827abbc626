"""Procedural rigged animals: closed meshes with weights, a shape space, limits and keypoints, all known exactly."""

from smilfit.body_models import BodyModelData
from smilfit.synthetic import insect_plan as insect
from smilfit.synthetic import quadruped_plan as quadruped
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
