"""All that registers itself in this room: the registries import it when one of their names is first asked for."""

from smilfit.networks import (
    backbones,
    consensus,
    crop_augment,
    feature_cache,
    fusion,
    heads,
    image_noise,
    point_corruption,
    preprocessor,
    refinement,
    regressors,
)
from smilfit.networks.animals import animal_boxes, limb_maps, several_animals

__all__ = [
    'animal_boxes',
    'backbones',
    'consensus',
    'crop_augment',
    'feature_cache',
    'fusion',
    'heads',
    'image_noise',
    'limb_maps',
    'point_corruption',
    'preprocessor',
    'refinement',
    'regressors',
    'several_animals',
]
