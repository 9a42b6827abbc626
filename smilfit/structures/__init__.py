"""Frozen dataclasses that travel between the rooms."""

from smilfit.structures.annotation import (
    AnimalCentres,
    AnnotatedImage,
    AnnotationSet,
    MaskSource,
    SkippedAnnotation,
    VideoFrame,
)
from smilfit.structures.body import BodyOutput, BodyParams
from smilfit.structures.cameras import Cameras
from smilfit.structures.fit_covariance import FitCovariance, SharedUncertainty
from smilfit.structures.fit_record import FitOrigin, FittedModel, FitVerdict, ModelReference
from smilfit.structures.fit_result import FitResult
from smilfit.structures.keypoints import CameraReport, Keypoints2d, Keypoints3d
from smilfit.structures.parameters import PARAMETERS, ParameterSpec, parameter_names, register_parameter
from smilfit.structures.recorded_data import RecordedData, SessionData, SessionKey, SessionKind

__all__ = [
    'PARAMETERS',
    'AnimalCentres',
    'AnnotatedImage',
    'AnnotationSet',
    'BodyOutput',
    'BodyParams',
    'CameraReport',
    'Cameras',
    'FitCovariance',
    'FitOrigin',
    'FitResult',
    'FitVerdict',
    'FittedModel',
    'Keypoints2d',
    'Keypoints3d',
    'MaskSource',
    'ModelReference',
    'ParameterSpec',
    'RecordedData',
    'SessionData',
    'SessionKey',
    'SessionKind',
    'SharedUncertainty',
    'SkippedAnnotation',
    'VideoFrame',
    'parameter_names',
    'register_parameter',
]
