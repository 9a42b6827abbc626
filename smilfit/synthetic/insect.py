"""An insect: head, thorax, an abdomen of three parts, six legs of four joints, two antennae.

Lengths are in body lengths, mandibles to abdomen's tip.
"""

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.synthetic.rigged_animal import PROPORTION_SD, finish_animal
from smilfit.synthetic.trunk_mesh import AnimalPlan, CrossSection, Limb

# x, half width, half height, joint at this place.
_TRUNK = (
    (-0.495, 0.022, 0.022, None),
    (-0.455, 0.058, 0.055, None),
    (-0.37, 0.094, 0.092, 'abdomen_3'),
    (-0.27, 0.102, 0.102, None),
    (-0.19, 0.086, 0.088, 'abdomen_2'),
    (-0.115, 0.044, 0.046, None),
    (-0.075, 0.021, 0.024, 'abdomen_1'),
    (-0.03, 0.028, 0.034, None),
    (0.03, 0.05, 0.054, None),
    (0.08, 0.056, 0.06, 'thorax'),
    (0.13, 0.057, 0.06, None),
    (0.18, 0.054, 0.058, None),
    (0.23, 0.044, 0.046, None),
    (0.27, 0.025, 0.026, 'head'),
    (0.305, 0.056, 0.044, None),
    (0.36, 0.079, 0.059, None),
    (0.42, 0.076, 0.057, None),
    (0.465, 0.056, 0.042, None),
    (0.495, 0.026, 0.02, None),
)
_SPINE = (
    ('thorax', None),
    ('head', 'thorax'),
    ('abdomen_1', 'thorax'),
    ('abdomen_2', 'abdomen_1'),
    ('abdomen_3', 'abdomen_2'),
)
_NECK = 0.27
_PETIOLE = -0.075

# Name, trunk rings of the outline, heading of the leg from straight left (deg), relative length.
_LEGS = (('L1', (22, 24), 42.0, 0.95), ('L2', (19, 21), -4.0, 1.0), ('L3', (16, 18), -46.0, 1.2))
_COLUMNS = (17, 20)
_LEG_PARTS = ('coxa', 'femur', 'tibia', 'tarsus')

JOINT_LIMITS_DEG = {
    'thorax': ((-180, 180), (-180, 180), (-180, 180)),
    'head': ((-25, 25), (-35, 30), (-40, 40)),
    'abdomen_1': ((-15, 15), (-40, 25), (-30, 30)),
    'abdomen_2': ((-8, 8), (-20, 20), (-12, 12)),
    'abdomen_3': ((-8, 8), (-20, 20), (-12, 12)),
    'coxa': ((-30, 30), (-25, 25), (-45, 45)),
    'femur': ((-45, 45), (-45, 45), (-15, 15)),
    'tibia': ((-55, 55), (-55, 55), (-10, 10)),
    'tarsus': ((-35, 35), (-35, 35), (-10, 10)),
    'scape': ((-30, 30), (-40, 40), (-40, 40)),
    'flagellum': ((-30, 30), (-40, 40), (-50, 50)),
}


def insect_plan(
    girth: float = 1.0,
    leg_length: float = 1.0,
    head_size: float = 1.0,
    abdomen_size: float = 1.0,
    antenna_length: float = 1.0,
) -> AnimalPlan:
    """Lay out an insect; every argument is a factor on the mean proportions."""
    sections = []
    for x, width, height, joint in _TRUNK:
        wide = girth
        if x > _NECK:
            x, wide = _NECK + head_size * (x - _NECK), head_size
        elif x < _PETIOLE:
            x, wide = _PETIOLE + abdomen_size * (x - _PETIOLE), girth * abdomen_size
        droop = -0.25 * max(0.0, _PETIOLE - x) ** 1.5 - 0.08 * max(0.0, x - _NECK)
        sections.append(CrossSection(x, droop, width * wide, height * wide, joint))
    back, front = sections[0], sections[-1]
    limbs = [_leg(name, rings, heading, leg_length * length) for name, rings, heading, length in _LEGS]
    limbs.append(_antenna(head_size, antenna_length))
    return AnimalPlan(
        sections=sections,
        back=(back.x - 0.35 * back.width, back.z),
        front=(front.x + 0.4 * front.width, front.z),
        limbs=limbs,
        spine=_SPINE,
    )


def _leg(name: str, rings: tuple[int, int], heading_deg: float, length: float) -> Limb:
    heading = np.deg2rad(heading_deg)
    out = np.array([np.sin(heading), np.cos(heading), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    bones = length * np.array(
        [
            0.075 * out - 0.03 * up,
            0.20 * out + 0.09 * up,
            0.15 * out - 0.19 * up,
            0.09 * out - 0.06 * up,
        ]
    )
    return Limb(
        name=f'leg_{name}',
        parent='thorax',
        joints=tuple(f'{part}_{name}' for part in _LEG_PARTS),
        patch=(*rings, *_COLUMNS),
        bones=bones,
        radii=(0.024, 0.019, 0.017, 0.011, 0.008),
        across=(float(np.cos(heading)), float(-np.sin(heading)), 0.0),
        depth=0.35,
        exit=0.45,
    )


def _antenna(head_size: float, length: float) -> Limb:
    bones = length * np.array([[0.08, 0.10, 0.07], [0.17, 0.06, -0.04]])
    return Limb(
        name='antenna_L',
        parent='head',
        joints=('scape_L', 'flagellum_L'),
        patch=(32, 34, 2, 4),
        bones=bones,
        radii=(0.014 * head_size, 0.011, 0.007),
        across=(-0.5, 0.5, -0.7),
        depth=0.2,
        exit=0.25,
    )


def make_insect(name: str = 'insect', length: float = 1.0) -> BodyModelData:
    """Make a rigged ant-like insect.

    Betas (standard deviations of 8 %): girth, leg length, head size, abdomen size, antenna length.

    Args:
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
        insect_plan,
        dict.fromkeys(proportions, (1.0, PROPORTION_SD)),
        JOINT_LIMITS_DEG,
        groups,
        keypoints,
        length,
        mass='thorax',
        unit='body length' if length == 1.0 else None,
    )
