"""Neural regressors: backbones, fusion, heads, and the models made of them."""

from smilfit.models.backbones import TimmBackbone
from smilfit.models.fusion import CrossViewFusion
from smilfit.models.heads import (
    BodyEstimate,
    CameraHead,
    OrientationHead,
    PointLifter,
    TransformerDecoderHead,
)
from smilfit.models.point_corruption import PointCorruption
from smilfit.models.point_evidence import PointEvidence
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.refinement import Refined, Refinement
from smilfit.models.regressors import MultiViewRegressor
from smilfit.models.scene import SceneFrame
from smilfit.models.statistics import DatasetNames, TrainingStatistics

__all__ = [
    'BodyEstimate',
    'CameraHead',
    'CrossViewFusion',
    'DatasetNames',
    'MultiViewRegressor',
    'OrientationHead',
    'PointCorruption',
    'PointEvidence',
    'PointLifter',
    'Refined',
    'Refinement',
    'RegressorPreprocessor',
    'SceneFrame',
    'TimmBackbone',
    'TrainingStatistics',
    'TransformerDecoderHead',
]
