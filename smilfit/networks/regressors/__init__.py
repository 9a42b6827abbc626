"""Whole regressors: inputs to body parameters, and the losses to train them."""

from smilfit.networks.regressors.body_regressor import BodyRegressor, Prediction, remember_cameras
from smilfit.networks.regressors.handler_losses import NOMINAL_PX, HandlerLosses, Observation
from smilfit.networks.regressors.keypoint_regressor import KeypointPrediction, KeypointRegressor
from smilfit.networks.regressors.multiview_regressor import MultiViewRegressor
from smilfit.networks.regressors.parameter_losses import (
    CAMERA_KEYS,
    PARAMETER_KEYS,
    ParameterLosses,
    mean_over_processes,
)

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
