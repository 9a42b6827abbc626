"""Modules that read parameters from tokens."""

from smilfit.models.heads.body_estimate import BodyEstimate
from smilfit.models.heads.camera_heads import CameraHead, CameraNames, NamedCameraHead, corrected_cameras
from smilfit.models.heads.keypoint_heatmap_head import KeypointHeatmapHead, peak_px
from smilfit.models.heads.mlp import MLPHead
from smilfit.models.heads.orientation_head import OrientationHead, OrientationVotes
from smilfit.models.heads.point_lifter import PointLifter
from smilfit.models.heads.transformer_decoder import TransformerDecoderHead

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
