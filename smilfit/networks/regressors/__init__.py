"""Whole regressors: inputs to body parameters, and the losses to train them."""

from smilfit.networks.regressors.base import (
    NOMINAL_PX,
    BodyRegressor,
    HandlerLosses,
    Observation,
    remember_cameras,
)
from smilfit.networks.regressors.camera_losses import CAMERA_KEYS
from smilfit.networks.regressors.keypoint import KeypointPrediction, KeypointRegressor
from smilfit.networks.regressors.multiview import MultiViewRegressor
from smilfit.networks.regressors.normaliser import mean_over_processes
from smilfit.networks.regressors.parameter_losses import PARAMETER_KEYS, ParameterLosses
from smilfit.networks.regressors.prediction import Prediction

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
