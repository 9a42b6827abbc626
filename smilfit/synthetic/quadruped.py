"""A quadruped: spine, neck, head, ears, a tail of four joints, four legs of three joints.

Lengths are in body lengths, nose to tail's base.
"""

from collections.abc import Mapping

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.synthetic.rigged_animal import PROPORTION_SD, finish_animal
from smilfit.synthetic.trunk_mesh import AnimalPlan, CrossSection, Limb

# x, z, half width, half height, joint at this place.
_TRUNK = (
    (-0.98, 0.03, 0.008, 0.008, None),
    (-0.90, 0.02, 0.012, 0.012, 'tail_4'),
    (-0.78, 0.005, 0.014, 0.014, 'tail_3'),
    (-0.66, 0.0, 0.017, 0.017, 'tail_2'),
    (-0.56, 0.01, 0.020, 0.020, None),
    (-0.49, 0.03, 0.028, 0.028, 'tail_1'),
    (-0.45, 0.03, 0.06, 0.064, None),
    (-0.39, 0.015, 0.092, 0.102, None),
    (-0.31, 0.0, 0.108, 0.122, 'pelvis'),
    (-0.22, -0.005, 0.108, 0.122, None),
    (-0.12, -0.01, 0.104, 0.122, 'spine_1'),
    (-0.02, -0.015, 0.106, 0.124, None),
    (0.06, -0.01, 0.106, 0.126, 'spine_2'),
    (0.13, 0.005, 0.098, 0.118, None),
    (0.19, 0.03, 0.078, 0.096, None),
    (0.24, 0.058, 0.062, 0.076, 'neck'),
    (0.29, 0.08, 0.062, 0.07, None),
    (0.325, 0.09, 0.070, 0.072, 'head'),
    (0.37, 0.092, 0.080, 0.078, None),
    (0.42, 0.082, 0.068, 0.066, None),
    (0.47, 0.066, 0.044, 0.046, None),
    (0.51, 0.056, 0.029, 0.032, None),
    (0.53, 0.052, 0.016, 0.018, None),
)
_PELVIS, _TAIL, _HEAD = -0.31, -0.49, 0.325
# What quadrupeds have in common: columns of the trunk from which legs go out, the trunk's joints, the legs' names.
COLUMNS = (16, 20)
SPINE = (
    ('pelvis', None),
    ('spine_1', 'pelvis'),
    ('spine_2', 'spine_1'),
    ('neck', 'spine_2'),
    ('head', 'neck'),
    ('tail_1', 'pelvis'),
    ('tail_2', 'tail_1'),
    ('tail_3', 'tail_2'),
    ('tail_4', 'tail_3'),
)
FORE_LEG = ('fore_paw_L', 'spine_2', ('shoulder_L', 'elbow_L', 'wrist_L'))
HIND_LEG = ('hind_paw_L', 'pelvis', ('hip_L', 'knee_L', 'ankle_L'))
_FORE_BONES = ((-0.045, 0.03, -0.13), (0.03, 0.0, -0.115), (0.055, 0.0, -0.035))
_HIND_BONES = ((0.05, 0.03, -0.13), (-0.085, 0.0, -0.10), (0.085, 0.0, -0.06))

JOINT_LIMITS_DEG = {
    'pelvis': ((-180, 180), (-180, 180), (-180, 180)),
    'spine': ((-12, 12), (-20, 25), (-25, 25)),
    'neck': ((-20, 20), (-35, 35), (-35, 35)),
    'head': ((-30, 30), (-40, 40), (-35, 35)),
    'ear': ((-25, 25), (-25, 25), (-25, 25)),
    'tail': ((-10, 10), (-30, 30), (-35, 35)),
    'shoulder': ((-20, 20), (-50, 45), (-15, 15)),
    'elbow': ((-6, 6), (-55, 40), (-6, 6)),
    'wrist': ((-8, 8), (-35, 60), (-8, 8)),
    'hip': ((-20, 20), (-45, 50), (-15, 15)),
    'knee': ((-6, 6), (-30, 55), (-6, 6)),
    'ankle': ((-8, 8), (-50, 40), (-8, 8)),
}


def quadruped_plan(
    body_length: float = 1.0,
    girth: float = 1.0,
    leg_length: float = 1.0,
    head_size: float = 1.0,
    tail_length: float = 1.0,
    ear_size: float = 1.0,
) -> AnimalPlan:
    """Lay out a quadruped; every argument is a factor on the mean proportions."""
    tail_root = body_length * _TAIL
    head_root = body_length * _HEAD
    sections = []
    for x, z, width, height, joint in _TRUNK:
        wide = girth
        if x < _TAIL:
            x = tail_root + tail_length * (x - _TAIL)
        elif x > _HEAD:
            x, z, wide = head_root + head_size * (x - _HEAD), 0.09 + head_size * (z - 0.09), head_size
        else:
            x = body_length * x
        sections.append(CrossSection(x, z, width * wide, height * wide, joint))
    back, front = sections[0], sections[-1]
    return AnimalPlan(
        sections=sections,
        back=(back.x - 0.8 * back.width, back.z),
        front=(front.x + 0.5 * front.width, front.z),
        limbs=[
            _leg(FORE_LEG, _FORE_BONES, 24, (0.056 * girth, 0.030, 0.021, 0.017), leg_length),
            _leg(HIND_LEG, _HIND_BONES, 14, (0.068 * girth, 0.037, 0.022, 0.018), leg_length),
            _ear(head_size * ear_size),
        ],
        spine=SPINE,
    )


def _leg(
    leg: tuple[str, str, tuple[str, ...]],
    bones: tuple[tuple[float, float, float], ...],
    ring: int,
    radii: tuple[float, ...],
    length: float,
) -> Limb:
    name, parent, joints = leg
    return Limb(
        name=name,
        parent=parent,
        joints=joints,
        patch=(ring, ring + 2, *COLUMNS),
        bones=length * np.array(bones),
        radii=radii,
        across=(0.0, 1.0, 0.0),
        depth=0.4,
        exit=0.5,
    )


def _ear(size: float) -> Limb:
    return Limb(
        name='ear_tip_L',
        parent='head',
        joints=('ear_L',),
        patch=(34, 36, 2, 4),
        bones=size * np.array([[-0.035, 0.055, 0.11]]),
        radii=(0.030 * size, 0.040 * size),
        across=(0.3, 1.0, -0.4),
        depth=0.2,
        flat=0.4,
        exit=0.25,
    )


def keypoint_places(further: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name the places of the surface that annotators click, as `finish_animal` takes them.

    Args:
        further: places on the midline that an animal has besides.
    """
    places = {
        'nose': 'front',
        'back_of_head': '@head',
        'neck_base': '@neck',
        'mid_back': '@spine_1',
        'tail_base': '@tail_1',
        'tail_mid': '@tail_3',
        'tail_tip': 'back',
        **(further or {}),
    }
    for side in 'LR':
        places[f'ear_tip_{side}'] = f'ear_tip_{side} tip'
        places[f'fore_elbow_{side}'] = f'@elbow_{side}'
        places[f'fore_paw_{side}'] = f'fore_paw_{side} tip'
        places[f'hind_knee_{side}'] = f'@knee_{side}'
        places[f'hind_ankle_{side}'] = f'@ankle_{side}'
        places[f'hind_paw_{side}'] = f'hind_paw_{side} tip'
    return places


def make_quadruped(name: str = 'quadruped', length: float = 1.0) -> BodyModelData:
    """Make a rigged mouse-like quadruped.

    Betas (standard deviations of 8 %): body length, girth, leg length, head size, tail length, ear size.

    Args:
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
        quadruped_plan,
        dict.fromkeys(proportions, (1.0, PROPORTION_SD)),
        JOINT_LIMITS_DEG,
        groups,
        keypoint_places(),
        length,
        mass='pelvis',
        unit='body length' if length == 1.0 else None,
    )
