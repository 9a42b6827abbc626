"""Neural regressors: backbones, fusion, heads, and the models made of them."""

from smilfit.models.backbones import TimmBackbone
from smilfit.models.fusion import CrossViewFusion
from smilfit.models.heads import BodyEstimate, CameraHead, OrientationHead, TransformerDecoderHead
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.regressors import BodyRegressor, MultiViewRegressor, SmilifyNetwork, SmilifyRegressor
from smilfit.models.scene import SceneFrame
from smilfit.models.statistics import DatasetNames, TrainingStatistics

__all__ = [
    'BodyEstimate',
    'BodyRegressor',
    'CameraHead',
    'CrossViewFusion',
    'DatasetNames',
    'MultiViewRegressor',
    'OrientationHead',
    'RegressorPreprocessor',
    'SceneFrame',
    'SmilifyNetwork',
    'SmilifyRegressor',
    'TimmBackbone',
    'TrainingStatistics',
    'TransformerDecoderHead',
]
