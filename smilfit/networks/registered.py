"""All that registers itself in this room: the registries import it when one of their names is first asked for."""

from smilfit.networks import attention, backbones, features, heads, regressors
from smilfit.networks.animals import animal_boxes, several_animals
from smilfit.networks.animer import network as animer_network
from smilfit.networks.keypoints import consensus, crop_augment, limb_maps
from smilfit.networks.lifter import lifted_refinement, point_evidence, point_lifter
from smilfit.networks.video import flow

__all__ = [
    'animal_boxes',
    'animer_network',
    'attention',
    'backbones',
    'consensus',
    'crop_augment',
    'features',
    'flow',
    'heads',
    'lifted_refinement',
    'limb_maps',
    'point_evidence',
    'point_lifter',
    'regressors',
    'several_animals',
]
