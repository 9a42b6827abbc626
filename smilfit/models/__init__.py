"""Neural regressors: backbones, fusion, heads, and the models made of them."""

from smilfit.models.backbones import SmallUNet, TimmBackbone, TimmPyramid, ViTPyramid
from smilfit.models.boxes import Boxes, GivenBoxes, OwnBoxes, find_boxes, part_by_nearest
from smilfit.models.consensus import Consensus, MeetInSpace
from smilfit.models.crop_augment import CropAugment
from smilfit.models.differentiable_points import differentiable_points
from smilfit.models.feature_cache import FeatureCache
from smilfit.models.fusion import CrossViewFusion
from smilfit.models.heads import (
    BodyEstimate,
    CameraHead,
    KeypointHeatmapHead,
    MLPHead,
    NamedCameraHead,
    OrientationHead,
    PointLifter,
    TransformerDecoderHead,
)
from smilfit.models.identities import Identities, identify
from smilfit.models.image_noise import ImageNoise
from smilfit.models.limbs import Limbs
from smilfit.models.pictorial_structure import KeypointDistances
from smilfit.models.point_corruption import PointCorruption
from smilfit.models.point_evidence import PointEvidence
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.refinement import Refined, Refinement
from smilfit.models.regressors import (
    BodyRegressor,
    KeypointRegressor,
    MultiViewRegressor,
    SmilifyNetwork,
    SmilifyRegressor,
)
from smilfit.models.scene import SceneFrame
from smilfit.models.several_animals import AnimalSearch, FoundAnimals
from smilfit.models.statistics import DatasetNames, TrainingStatistics
from smilfit.models.targets2d import PictureTargets
from smilfit.models.tracking import Tracker, Tracks
from smilfit.models.view_matching import MatchedAnimals, find_centres, match_views

__all__ = [
    'AnimalSearch',
    'BodyEstimate',
    'BodyRegressor',
    'Boxes',
    'CameraHead',
    'Consensus',
    'CropAugment',
    'CrossViewFusion',
    'DatasetNames',
    'FeatureCache',
    'FoundAnimals',
    'GivenBoxes',
    'Identities',
    'ImageNoise',
    'KeypointDistances',
    'KeypointHeatmapHead',
    'KeypointRegressor',
    'Limbs',
    'MLPHead',
    'MatchedAnimals',
    'MeetInSpace',
    'MultiViewRegressor',
    'NamedCameraHead',
    'OrientationHead',
    'OwnBoxes',
    'PictureTargets',
    'PointCorruption',
    'PointEvidence',
    'PointLifter',
    'Refined',
    'Refinement',
    'RegressorPreprocessor',
    'SceneFrame',
    'SmallUNet',
    'SmilifyNetwork',
    'SmilifyRegressor',
    'TimmBackbone',
    'TimmPyramid',
    'Tracker',
    'Tracks',
    'TrainingStatistics',
    'TransformerDecoderHead',
    'ViTPyramid',
    'differentiable_points',
    'find_boxes',
    'find_centres',
    'identify',
    'match_views',
    'part_by_nearest',
]
