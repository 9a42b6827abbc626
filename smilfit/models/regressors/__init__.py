"""Whole regressors: inputs to body parameters, and the losses to train them."""

from smilfit.models.regressors.base import BodyRegressor, remember_cameras
from smilfit.models.regressors.camera_losses import CAMERA_KEYS
from smilfit.models.regressors.keypoint import KeypointPrediction, KeypointRegressor
from smilfit.models.regressors.multiview import MultiViewRegressor
from smilfit.models.regressors.normaliser import mean_over_processes
from smilfit.models.regressors.parameter_losses import PARAMETER_KEYS, ParameterLosses
from smilfit.models.regressors.prediction import Prediction
from smilfit.models.regressors.targets import NOMINAL_PX, HandlerLosses, Observation

__all__ = [
    'CAMERA_KEYS',
    'NOMINAL_PX',
    'PARAMETER_KEYS',
    'BodyRegressor',
    'HandlerLosses',
    'KeypointPrediction',
    'KeypointRegressor',
    'MultiViewRegressor',
    'Observation',
    'ParameterLosses',
    'Prediction',
    'mean_over_processes',
    'remember_cameras',
]
