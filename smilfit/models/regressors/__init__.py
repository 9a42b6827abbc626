"""Whole regressors: inputs to body parameters, and the losses to train them."""

from smilfit.models.regressors.keypoint import KeypointPrediction, KeypointRegressor
from smilfit.models.regressors.multiview import MultiViewRegressor, Prediction
from smilfit.models.regressors.normaliser import mean_over_processes
from smilfit.models.regressors.parameter_losses import PARAMETER_KEYS, ParameterLosses
from smilfit.models.regressors.targets import NOMINAL_PX, HandlerLosses, Observation

__all__ = [
    'NOMINAL_PX',
    'PARAMETER_KEYS',
    'HandlerLosses',
    'KeypointPrediction',
    'KeypointRegressor',
    'MultiViewRegressor',
    'Observation',
    'ParameterLosses',
    'Prediction',
    'mean_over_processes',
]
