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
from smilfit.synthetic.quadruped_family_plan import (
    JOINT_LIMITS_DEG,
    RINGS_BEFORE,
    nose_to_tail,
    quadruped_family_plan,
)
from smilfit.synthetic.quadruped_plan import keypoint_places
from smilfit.synthetic.rigged_animal import finish_animal

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
        name: of the model.
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
