"""Mammals on four legs in one shape space: seven species, with proportions from tables of lengths.

Where the lengths of `quadruped_species.csv` (cm, of one grown animal of middling size) come from:

* dog, horse: bones of the limbs from the height at the withers (55 and 160 cm) by the factors of Koudelka (1885)
  and Kiesewalter (1888), as in von den Driesch and Boessneck (1974): dog humerus 3.37, radius 3.22, femur 3.01,
  tibia 2.92; horse humerus 4.87, radius 4.34, metacarpus 6.41, femur 3.51, tibia 4.36, metatarsus 5.33.
* cat: ratios of 55 cats by Kartal et al. (2026): radius to humerus 0.967, tibia to femur 1.066, humerus to femur
  0.944; of a femur of 10.4 cm.
* All other numbers are estimates: bones of antelope (impala), camel (dromedary), bear (brown) and mouse from standing
  heights and anatomical descriptions; feet (carpus or tarsus to the tips of the toes or hoof), necks, heads, tails
  with their hair, ears, chests and trunks (shoulder joint to hip joint) likewise. Off by a tenth is likely.

The `_cv` columns are the spread within a species (standard deviation as a share of the length), estimates too: breeds
of dogs differ most.
"""

import csv
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models import BodyModelData, ShapeMixture, check_body_model
from smilfit.synthetic.quadruped import COLUMNS, FORE_LEG, HIND_LEG, keypoint_places
from smilfit.synthetic.rigged_animal import finish_animal
from smilfit.synthetic.trunk_mesh import AnimalPlan, CrossSection, Limb

_SPINE = (
    ('pelvis', None),
    ('spine_1', 'pelvis'),
    ('spine_2', 'spine_1'),
    ('neck', 'spine_2'),
    ('neck_mid', 'neck'),
    ('head', 'neck_mid'),
    ('tail_1', 'pelvis'),
    ('tail_2', 'tail_1'),
    ('tail_3', 'tail_2'),
    ('tail_4', 'tail_3'),
)
# Directions (x, z) in which neck, head and tail leave the trunk: a standing animal with its head up.
_NECK_DIRECTION = np.array([np.cos(np.deg2rad(38)), np.sin(np.deg2rad(38))])
_HEAD_DIRECTION = np.array([np.cos(np.deg2rad(-22)), np.sin(np.deg2rad(-22))])
_TAIL_DIRECTION = np.array([-np.cos(np.deg2rad(20)), -np.sin(np.deg2rad(20))])
_FORE_DIRECTIONS = ((-0.55, 0.10, -0.83), (0.10, 0.0, -0.995), (0.24, 0.0, -0.97))
_HIND_DIRECTIONS = ((0.32, 0.10, -0.94), (-0.48, 0.0, -0.877), (0.20, 0.0, -0.98))
# Legs are this much thinner from side to side than from front to back.
_LEG_FLATNESS = 0.7
_EAR_DIRECTION = (-0.12, 0.42, 0.90)
_TAIL_ROOT, _NECK_ROOT = np.array([-0.70, 0.0]), np.array([0.54, 0.0])

# Along the trunk: x, height of the centre as a share of the chest's depth, half width as a share of its width, half
# height as a share of its depth, joint. The back is nearly level; the belly rises towards the loin.
_TRUNK = (
    (-0.665, 0.185, 0.16, 0.175, None),
    (-0.625, 0.145, 0.27, 0.285, None),
    (-0.58, 0.085, 0.36, 0.36, None),
    (-0.51, 0.03, 0.41, 0.41, None),
    (-0.41, 0.00, 0.42, 0.43, 'pelvis'),
    (-0.20, -0.01, 0.43, 0.44, 'spine_1'),
    (0.04, -0.03, 0.46, 0.47, None),
    (0.26, -0.05, 0.49, 0.50, 'spine_2'),
    (0.37, -0.04, 0.48, 0.485, None),
    (0.46, 0.00, 0.43, 0.44, None),
)
# Along the tail: share of its length, half size as a share of the chest's depth, joint.
_TAIL = (
    (0.98, 0.02, None),
    (0.88, 0.03, None),
    (0.74, 0.035, 'tail_4'),
    (0.50, 0.042, 'tail_3'),
    (0.28, 0.055, 'tail_2'),
    (0.0, 0.09, 'tail_1'),
)
# Along the neck: share of its length, half height and half width: shares of the chest's and of the head's length.
_NECK = (
    (0.0, (0.34, 0.02), (0.34, 0.02), 'neck'),
    (0.27, (0.23, 0.06), (0.21, 0.05), None),
    (0.55, (0.14, 0.12), (0.11, 0.09), 'neck_mid'),
    (0.82, (0.07, 0.17), (0.05, 0.13), None),
)
# Along the head: share of its length, half height and half width as shares of its length, joint.
_HEAD = (
    (0.0, 0.205, 0.165, 'head'),
    (0.12, 0.235, 0.20, None),
    (0.28, 0.245, 0.22, None),
    (0.46, 0.21, 0.18, None),
    (0.64, 0.16, 0.13, None),
    (0.82, 0.125, 0.11, None),
    (0.93, 0.105, 0.09, None),
    (0.985, 0.065, 0.055, None),
)
# Ring numbers with `n_between` 2, for keypoints and limbs.
RINGS_BEFORE = {'trunk': 2 * len(_TAIL)}
RINGS_BEFORE['neck'] = RINGS_BEFORE['trunk'] + 2 * len(_TRUNK)
RINGS_BEFORE['head'] = RINGS_BEFORE['neck'] + 2 * len(_NECK)

JOINT_LIMITS_DEG = {
    'pelvis': ((-180, 180), (-180, 180), (-180, 180)),
    'spine': ((-15, 15), (-20, 25), (-25, 25)),
    'neck': ((-25, 25), (-50, 70), (-45, 45)),
    'head': ((-35, 35), (-50, 60), (-45, 45)),
    'ear': ((-35, 35), (-45, 45), (-35, 35)),
    'tail': ((-15, 15), (-60, 60), (-45, 45)),
    'shoulder': ((-20, 20), (-55, 50), (-15, 15)),
    'elbow': ((-6, 6), (-90, 35), (-6, 6)),
    'wrist': ((-10, 10), (-30, 100), (-10, 10)),
    'hip': ((-20, 20), (-50, 55), (-15, 15)),
    'knee': ((-6, 6), (-30, 75), (-6, 6)),
    'ankle': ((-10, 10), (-70, 40), (-10, 10)),
}


def quadruped_family_plan(
    neck: float,
    head: float,
    tail: float,
    ear: float,
    chest_depth: float,
    chest_width: float,
    fore_upper: float,
    fore_lower: float,
    fore_foot: float,
    hind_upper: float,
    hind_lower: float,
    hind_foot: float,
    leg_thickness: float,
) -> AnimalPlan:
    """Lay out an animal; all lengths in trunks.

    Args:
        neck: withers to back of the head.
        head: back of the head to nose.
        tail: its length.
        ear: its length.
        chest_depth: withers to breast bone.
        chest_width: side to side.
        fore_upper: shoulder to elbow.
        fore_lower: elbow to wrist.
        fore_foot: wrist to the tips of the toes.
        hind_upper: hip to knee.
        hind_lower: knee to ankle.
        hind_foot: ankle to the tips of the toes.
        leg_thickness: diameter of the lower legs.
    """
    sections = []
    for share, size, joint in _TAIL:
        x, z = _TAIL_ROOT + (0, 0.20 * chest_depth) + share * tail * _TAIL_DIRECTION
        sections.append(CrossSection(x, z, size * chest_depth, size * chest_depth, joint))
    for x, z, height, width, joint in _TRUNK:
        sections.append(CrossSection(x, z * chest_depth, width * chest_width, height * chest_depth, joint))
    neck_root = _NECK_ROOT + (0, 0.08 * chest_depth)
    for share, (a, b), (c, d), joint in _NECK:
        x, z = neck_root + share * neck * _NECK_DIRECTION
        sections.append(CrossSection(x, z, c * chest_width + d * head, a * chest_depth + b * head, joint))
    head_root = neck_root + neck * _NECK_DIRECTION
    for share, height, width, joint in _HEAD:
        x, z = head_root + share * head * _HEAD_DIRECTION
        sections.append(CrossSection(x, z, width * head, height * head, joint))
    back = sections[0]
    fore = _bones(_FORE_DIRECTIONS, (fore_upper, fore_lower, fore_foot))
    hind = _bones(_HIND_DIRECTIONS, (hind_upper, hind_lower, hind_foot))
    tip = np.array([back.x, back.z]) + 0.02 * tail * _TAIL_DIRECTION
    nose = head_root + head * _HEAD_DIRECTION
    return AnimalPlan(
        sections=sections,
        back=(tip[0], tip[1]),
        front=(nose[0], nose[1]),
        limbs=[
            _leg(FORE_LEG, 16, fore, 0.17 * chest_depth, leg_thickness),
            _leg(HIND_LEG, 4, hind, 0.27 * chest_depth, leg_thickness),
            _ear(ear, head),
        ],
        spine=_SPINE,
    )


def nose_to_tail(neck: float, head: float) -> float:
    """Measure along x from the tail's base to the nose, in trunks."""
    return float((_NECK_ROOT - _TAIL_ROOT + neck * _NECK_DIRECTION + head * _HEAD_DIRECTION)[0])


def _bones(directions: tuple[tuple[float, float, float], ...], lengths: tuple[float, ...]) -> np.ndarray:
    unit = np.array(directions) / np.linalg.norm(directions, axis=1, keepdims=True)
    return unit * np.array(lengths)[:, None]


def _leg(
    leg: tuple[str, str, tuple[str, ...]], ring: int, bones: np.ndarray, root_radius: float, thickness: float
) -> Limb:
    """Make a leg that leaves the trunk at a ring of its own and the one two further."""
    name, parent, joints = leg
    first = RINGS_BEFORE['trunk'] + ring
    return Limb(
        name=name,
        parent=parent,
        joints=joints,
        patch=(first, first + 4, *COLUMNS),
        bones=bones,
        radii=(root_radius, 0.35 * root_radius + 0.55 * thickness, 0.5 * thickness, 0.45 * thickness),
        across=(1.0, 0.0, 0.0),
        depth=0.35,
        flat=_LEG_FLATNESS,
        exit=0.5,
    )


def _ear(length: float, head: float) -> Limb:
    first = RINGS_BEFORE['head'] + 2
    return Limb(
        name='ear_tip_L',
        parent='head',
        joints=('ear_L',),
        patch=(first, first + 2, 2, 4),
        bones=_bones((_EAR_DIRECTION,), (length,)),
        radii=(0.05 * head + 0.1 * length, 0.22 * length),
        across=(0.3, 1.0, -0.4),
        depth=0.2,
        flat=0.4,
        exit=0.25,
    )


TABLE = Path(__file__).with_name('quadruped_species.csv')
PROPORTIONS = tuple(inspect.signature(quadruped_family_plan).parameters)
# Large animals have large legs in all their parts, and deep chests are wide; shares of the spread within a species.
LEG_CORRELATION = 0.7
CHEST_CORRELATION = 0.5


def species_proportions() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Read the table of species.

    Returns:
        Names (M), proportions (M, S) in trunks and their covariances (M, S, S) within a species, S as `PROPORTIONS`.
    """
    with TABLE.open(encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    lengths = np.array([[float(row[p]) for p in PROPORTIONS] for row in rows])
    means = lengths / np.array([[float(row['trunk'])] for row in rows])
    kinds = np.array([0 if p.startswith(('fore', 'hind')) else 1 if p == 'tail' else 2 for p in PROPORTIONS])
    cvs = np.array([[float(row[c]) for c in ('legs_cv', 'tail_cv', 'rest_cv')] for row in rows])[:, kinds]
    chest = np.array([p.startswith('chest') for p in PROPORTIONS])
    correlation = LEG_CORRELATION * np.outer(kinds == 0, kinds == 0) + CHEST_CORRELATION * np.outer(
        chest, chest
    )
    np.fill_diagonal(correlation, 1.0)
    spread = cvs * means
    return tuple(row['species'] for row in rows), means, spread[:, :, None] * correlation * spread[:, None]


def make_quadruped_family(name: str = 'quadruped', length: float = 1.0) -> BodyModelData:
    """Make a rigged mammal on four legs whose shape space holds dog, cat, horse, antelope, camel, bear and mouse.

    Betas are the proportions `PROPORTIONS`, each in standard deviations over all species, so that 0 is their mean.
    Vertices are linear in the lengths; `shape_mixture` has each species' mean and its spread.

    Args:
        length: nose to tail's base of the mean, model unit.
    """
    species, means, covs = species_proportions()
    weights = np.full(len(species), 1 / len(species))
    mean, cov = ShapeMixture(species, weights, means, covs).moments()
    sd = np.sqrt(np.diag(cov))
    mixture = ShapeMixture(species, weights, (means - mean) / sd, covs / np.outer(sd, sd))
    data = finish_animal(
        name,
        quadruped_family_plan,
        dict(zip(PROPORTIONS, zip(mean, sd))),
        JOINT_LIMITS_DEG,
        _groups(),
        _keypoints(),
        length / nose_to_tail(*mean[:2]),
        mass='pelvis',
        unit='body length' if length == 1.0 else None,
    )
    return check_body_model(replace(data, shape_mixture=mixture, shape_cov=mixture.moments()[1]), name)


def _groups() -> dict[str, list[str]]:
    fore = [f'{part}_{side}' for side in 'LR' for part in ('shoulder', 'elbow', 'wrist')]
    hind = [f'{part}_{side}' for side in 'LR' for part in ('hip', 'knee', 'ankle')]
    return {
        'torso': ['pelvis', 'spine_1', 'spine_2'],
        'spine': ['spine_1', 'spine_2'],
        'neck': ['neck', 'neck_mid'],
        'head': ['neck', 'neck_mid', 'head', 'ear_L', 'ear_R'],
        'tail': ['tail_1', 'tail_2', 'tail_3', 'tail_4'],
        'legs': fore + hind,
        'fore_legs': fore,
        'hind_legs': hind,
    }


def _keypoints() -> dict[str, str]:
    """Name the places that `make_quadruped` names, and those of the head and withers that annotators click."""
    head, trunk = RINGS_BEFORE['head'], RINGS_BEFORE['trunk']
    return keypoint_places(
        {
            'withers': f'trunk {trunk + 16} 5',
            'throat': f'trunk {head + 2} 15',
            'chin': f'trunk {head + 10} 15',
            'eye_L': f'trunk {head + 6} 2',
            'eye_R': f'trunk {head + 6} 8',
        }
    )
