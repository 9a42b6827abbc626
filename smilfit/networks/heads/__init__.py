"""Modules that read parameters from tokens."""

from smilfit.networks.heads.body_estimate import BodyEstimate
from smilfit.networks.heads.camera_heads import (
    CameraHead,
    CameraNames,
    NamedCameraHead,
    corrected_cameras,
)
from smilfit.networks.heads.keypoint_heatmap_head import KeypointHeatmapHead, peak_px
from smilfit.networks.heads.lifter_losses import PointLifter
from smilfit.networks.heads.mlp import MLPHead
from smilfit.networks.heads.orientation_head import OrientationHead, OrientationVotes
from smilfit.networks.heads.transformer_decoder import TransformerDecoderHead

__all__ = [
    'BodyEstimate',
    'CameraHead',
    'CameraNames',
    'KeypointHeatmapHead',
    'MLPHead',
    'NamedCameraHead',
    'OrientationHead',
    'OrientationVotes',
    'PointLifter',
    'TransformerDecoderHead',
    'corrected_cameras',
    'peak_px',
]
