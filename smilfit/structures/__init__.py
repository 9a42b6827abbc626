"""Frozen dataclasses that travel between the rooms."""

from smilfit.structures.annotation import (
    AnnotatedImage,
    AnnotationSet,
    MaskSource,
    SkippedAnnotation,
    VideoFrame,
)
from smilfit.structures.body import BodyOutput, BodyParams
from smilfit.structures.cameras import Cameras
from smilfit.structures.fit_covariance import FitCovariance
from smilfit.structures.fit_result import FitResult
from smilfit.structures.keypoints import Keypoints2d, Keypoints3d
from smilfit.structures.quadratic import (
    MotionTerm,
    ParameterTerm,
    PointTerm,
    QuadraticTerm,
    ResidualTerm,
    RotationMotionTerm,
)
from smilfit.structures.recorded_data import RecordedData

__all__ = [
    'AnnotatedImage',
    'AnnotationSet',
    'BodyOutput',
    'BodyParams',
    'Cameras',
    'FitCovariance',
    'FitResult',
    'Keypoints2d',
    'Keypoints3d',
    'MaskSource',
    'MotionTerm',
    'ParameterTerm',
    'PointTerm',
    'QuadraticTerm',
    'RecordedData',
    'ResidualTerm',
    'RotationMotionTerm',
    'SkippedAnnotation',
    'VideoFrame',
]
