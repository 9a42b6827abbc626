"""Modules that read parameters from tokens."""

from smilfit.networks.heads.body_estimate import BodyEstimate
from smilfit.networks.heads.body_heads import MLPHead, TransformerDecoderHead
from smilfit.networks.heads.camera_heads import (
    CameraHead,
    CameraNames,
    FocalHead,
    NamedCameraHead,
    corrected_cameras,
)
from smilfit.networks.heads.heatmap_head import KeypointHeatmapHead
from smilfit.networks.heads.orientation_head import OrientationHead, OrientationVotes
from smilfit.networks.heads.smal_decoder_head import SmalDecoderHead, SmalEstimate

__all__ = [
    'BodyEstimate',
    'CameraHead',
    'CameraNames',
    'FocalHead',
    'KeypointHeatmapHead',
    'MLPHead',
    'NamedCameraHead',
    'OrientationHead',
    'OrientationVotes',
    'SmalDecoderHead',
    'SmalEstimate',
    'TransformerDecoderHead',
    'corrected_cameras',
]
