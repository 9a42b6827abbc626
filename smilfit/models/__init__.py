"""Neural regressors: backbones, fusion, heads, and the models made of them."""

from smilfit.models.backbones import SmallUNet, TimmBackbone, TimmPyramid, ViTPyramid
from smilfit.models.crop_augment import CropAugment
from smilfit.models.feature_cache import FeatureCache
from smilfit.models.fusion import CrossViewFusion
from smilfit.models.heads import (
    BodyEstimate,
    CameraHead,
    KeypointHeatmapHead,
    OrientationHead,
    TransformerDecoderHead,
)
from smilfit.models.image_noise import ImageNoise
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.regressors import MultiViewRegressor
from smilfit.models.scene import SceneFrame
from smilfit.models.statistics import DatasetNames, TrainingStatistics
from smilfit.models.targets2d import PictureTargets

__all__ = [
    'BodyEstimate',
    'CameraHead',
    'CropAugment',
    'CrossViewFusion',
    'DatasetNames',
    'FeatureCache',
    'ImageNoise',
    'KeypointHeatmapHead',
    'MultiViewRegressor',
    'OrientationHead',
    'PictureTargets',
    'RegressorPreprocessor',
    'SceneFrame',
    'SmallUNet',
    'TimmBackbone',
    'TimmPyramid',
    'TrainingStatistics',
    'TransformerDecoderHead',
    'ViTPyramid',
]
