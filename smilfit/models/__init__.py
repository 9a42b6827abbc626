"""Neural regressors: backbones, fusion, heads, and the models made of them."""

from smilfit.models.backbones import TimmBackbone
from smilfit.models.boxes import Boxes, GivenBoxes, OwnBoxes, find_boxes, part_by_nearest
from smilfit.models.consensus import Consensus, MeetInSpace
from smilfit.models.differentiable_points import differentiable_points
from smilfit.models.fusion import CrossViewFusion
from smilfit.models.heads import BodyEstimate, CameraHead, OrientationHead, TransformerDecoderHead
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.regressors import MultiViewRegressor
from smilfit.models.scene import SceneFrame
from smilfit.models.statistics import DatasetNames, TrainingStatistics
from smilfit.models.tracking import Tracker, Tracks
from smilfit.models.view_matching import MatchedAnimals, find_centres, match_views

__all__ = [
    'BodyEstimate',
    'Boxes',
    'CameraHead',
    'Consensus',
    'CrossViewFusion',
    'DatasetNames',
    'GivenBoxes',
    'MatchedAnimals',
    'MeetInSpace',
    'MultiViewRegressor',
    'OrientationHead',
    'OwnBoxes',
    'RegressorPreprocessor',
    'SceneFrame',
    'TimmBackbone',
    'Tracker',
    'Tracks',
    'TrainingStatistics',
    'TransformerDecoderHead',
    'differentiable_points',
    'find_boxes',
    'find_centres',
    'match_views',
    'part_by_nearest',
]
