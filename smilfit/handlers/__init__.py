"""Tie one observation (an Input) or a prior to one loss."""

from smilfit.handlers.active_term import ActiveTerm
from smilfit.handlers.base import BaseHandler, TermHandler
from smilfit.handlers.ground import GroundContactHandler, GroundContactInput, GroundHandler
from smilfit.handlers.in_image import ImageFrameInput, InImageHandler
from smilfit.handlers.inputs import BaseInput, MissingObservationError
from smilfit.handlers.keypoint_names import convention_names, resolve_convention
from smilfit.handlers.keypoints2d import (
    Keypoint2dHandler,
    Keypoint2dInput,
    MultiviewKeypoint2dMSEHandler,
    MultiviewKeypoint2dMSEInput,
)
from smilfit.handlers.keypoints3d import (
    Keypoint3dHandler,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    Keypoint3dMSEHandler,
    Keypoint3dMSEInput,
    rigid_limbs,
)
from smilfit.handlers.meshes import (
    MeshInput,
    MeshSurfaceHandler,
    MeshVertexHandler,
    PointCloudHandler,
    PointCloudInput,
    sample_surface,
)
from smilfit.handlers.priors import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    FocalPriorHandler,
    JointLimitHandler,
    JointOffsetPriorHandler,
    JointScalePriorHandler,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
    PriorHandler,
    SelfPenetrationHandler,
    SmoothMotionHandler,
    SmoothPoseHandler,
    SplayPriorHandler,
)
from smilfit.handlers.silhouettes import SilhouetteDistanceHandler, SilhouetteHandler, SilhouetteInput
from smilfit.handlers.state import BodyState
from smilfit.handlers.triangulation import TriangulationConsistencyHandler

__all__ = [
    'ActiveTerm',
    'BaseHandler',
    'BaseInput',
    'BetasPriorHandler',
    'BodyPosePriorHandler',
    'BodyState',
    'FocalPriorHandler',
    'GroundContactHandler',
    'GroundContactInput',
    'GroundHandler',
    'ImageFrameInput',
    'InImageHandler',
    'JointLimitHandler',
    'JointOffsetPriorHandler',
    'JointScalePriorHandler',
    'Keypoint2dHandler',
    'Keypoint2dInput',
    'Keypoint3dHandler',
    'Keypoint3dLimbLenHandler',
    'Keypoint3dLimbLenInput',
    'Keypoint3dMSEHandler',
    'Keypoint3dMSEInput',
    'LandmarkOffsetPriorHandler',
    'MeshInput',
    'MeshSurfaceHandler',
    'MeshVertexHandler',
    'MissingObservationError',
    'MultiviewKeypoint2dMSEHandler',
    'MultiviewKeypoint2dMSEInput',
    'PartSizePriorHandler',
    'PointCloudHandler',
    'PointCloudInput',
    'PriorHandler',
    'SelfPenetrationHandler',
    'SilhouetteDistanceHandler',
    'SilhouetteHandler',
    'SilhouetteInput',
    'SmoothMotionHandler',
    'SmoothPoseHandler',
    'SplayPriorHandler',
    'TermHandler',
    'TriangulationConsistencyHandler',
    'convention_names',
    'resolve_convention',
    'rigid_limbs',
    'sample_surface',
]
