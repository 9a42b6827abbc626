"""All that registers itself in this room: the registries import it when one of their names is first asked for."""

from smilfit.models import (
    backbones,
    boxes,
    consensus,
    crop_augment,
    feature_cache,
    fusion,
    heads,
    image_noise,
    limbs,
    point_corruption,
    preprocessor,
    refinement,
    regressors,
    several_animals,
)

__all__ = [
    'backbones',
    'boxes',
    'consensus',
    'crop_augment',
    'feature_cache',
    'fusion',
    'heads',
    'image_noise',
    'limbs',
    'point_corruption',
    'preprocessor',
    'refinement',
    'regressors',
    'several_animals',
]
