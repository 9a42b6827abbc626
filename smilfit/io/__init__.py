"""Everything read from or written to other tools."""

from smilfit.io.annotations import (
    AnnotationReader,
    ImageMask,
    PolygonMask,
    RleMask,
    check_images,
    read_image,
    read_images,
)
from smilfit.io.calibration import read_calibration, write_calibration
from smilfit.io.camera_warning import check_cameras, triangulate_keypoints
from smilfit.io.keypoint_maps import available_keypoint_maps, load_keypoint_map
from smilfit.io.lookup import check_lookup, read_joint_lookup, read_shape_betas
from smilfit.io.meshes.mesh_files import MESH_FORMATS, write_mesh
from smilfit.io.points3d import read_points3d, read_reprojections, write_points3d, write_reprojections
from smilfit.io.recordings.anipose_session import AniposeSession
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.flat_projects import DeepLabCutSession, LightningPoseSession
from smilfit.io.recordings.recorded_session import RecordedSession, SessionPlace
from smilfit.io.recordings.sleap_labels import read_labels, read_track_names, write_slp, write_tracks
from smilfit.io.recordings.sleap_multiview import SleapMultiviewSession
from smilfit.io.recordings.sleap_session import SleapSession, find_sessions
from smilfit.io.recordings.videos import VideoInfo, iterate_videos, probe_video
from smilfit.io.truth import read_true_params, write_truth
from smilfit.structures import CameraReport

__all__ = [
    'MESH_FORMATS',
    'AniposeSession',
    'AnnotationReader',
    'CameraLabels',
    'CameraReport',
    'DeepLabCutSession',
    'ImageMask',
    'LightningPoseSession',
    'PolygonMask',
    'RecordedSession',
    'RleMask',
    'SessionPlace',
    'SleapMultiviewSession',
    'SleapSession',
    'VideoInfo',
    'available_keypoint_maps',
    'check_cameras',
    'check_images',
    'check_lookup',
    'find_sessions',
    'iterate_videos',
    'load_keypoint_map',
    'probe_video',
    'read_calibration',
    'read_image',
    'read_images',
    'read_joint_lookup',
    'read_labels',
    'read_points3d',
    'read_reprojections',
    'read_shape_betas',
    'read_track_names',
    'read_true_params',
    'triangulate_keypoints',
    'write_calibration',
    'write_mesh',
    'write_points3d',
    'write_reprojections',
    'write_slp',
    'write_tracks',
    'write_truth',
]
