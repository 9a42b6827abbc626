"""Tie one observation (an Input) or a prior to one loss."""

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
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
from smilfit.handlers.priors import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    JointLimitHandler,
    JointOffsetPriorHandler,
    JointScalePriorHandler,
    PriorHandler,
    SmoothMotionHandler,
)

__all__ = [
    'BaseHandler',
    'BaseInput',
    'BetasPriorHandler',
    'BodyPosePriorHandler',
    'BodyState',
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
    'MultiviewKeypoint2dMSEHandler',
    'MultiviewKeypoint2dMSEInput',
    'PriorHandler',
    'SmoothMotionHandler',
    'convention_names',
    'resolve_convention',
    'rigid_limbs',
]
