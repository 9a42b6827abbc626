"""Neural regressors: backbones, fusion, heads, and the models made of them."""

from smilfit.models.backbones import SmallUNet, TimmBackbone, TimmPyramid, ViTPyramid
from smilfit.models.boxes import GivenBoxes, OwnBoxes
from smilfit.models.consensus import Consensus, MeetInSpace
from smilfit.models.crop_augment import CropAugment
from smilfit.models.differentiable_points import differentiable_points
from smilfit.models.fusion import CrossViewFusion
from smilfit.models.heads import (
    BodyEstimate,
    CameraHead,
    KeypointHeatmapHead,
    OrientationHead,
    PointLifter,
    TransformerDecoderHead,
)
from smilfit.models.image_noise import ImageNoise
from smilfit.models.point_corruption import PointCorruption
from smilfit.models.point_evidence import PointEvidence
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.regressors import KeypointRegressor, MultiViewRegressor
from smilfit.models.scene import SceneFrame
from smilfit.models.statistics import DatasetNames, TrainingStatistics
from smilfit.models.targets2d import PictureTargets

__all__ = [
    'BodyEstimate',
    'CameraHead',
    'Consensus',
    'CropAugment',
    'CrossViewFusion',
    'DatasetNames',
    'GivenBoxes',
    'ImageNoise',
    'KeypointHeatmapHead',
    'KeypointRegressor',
    'MeetInSpace',
    'MultiViewRegressor',
    'OrientationHead',
    'OwnBoxes',
    'PictureTargets',
    'PointCorruption',
    'PointEvidence',
    'PointLifter',
    'RegressorPreprocessor',
    'SceneFrame',
    'SmallUNet',
    'TimmBackbone',
    'TimmPyramid',
    'TrainingStatistics',
    'TransformerDecoderHead',
    'ViTPyramid',
    'differentiable_points',
]
