"""Loss modules on tensors: one idea a file."""

from smilfit.geometry.robust import Absolute, Cauchy, GemanMcClure, Robust
from smilfit.losses.base import (
    BaseLoss,
    Energies,
    ForwardLoss,
    ParameterSource,
    PointSource,
    Residuals,
    Stated,
    as_loss,
    reduced,
)
from smilfit.losses.contact import GroundContactLoss, SelfPenetrationLoss
from smilfit.losses.heatmap import CentreHeatmapLoss, HeatmapLoss
from smilfit.losses.joint_limits import JointLimitLoss, JointPriorLoss, SplayPriorLoss
from smilfit.losses.max_mixture import (
    MaxMixturePriorLoss,
    PoseMixture,
    fit_pose_mixture,
    read_pose_mixture,
)
from smilfit.losses.points import (
    KeypointL1Loss,
    KeypointMSELoss,
    KeypointStepLoss,
    LimbLengthLoss,
    PointDistanceLoss,
    TriangulationConsistencyLoss,
)
from smilfit.losses.pose_prior import (
    MahalanobisPosePriorLoss,
    PoseGaussian,
    PoseRegLoss,
    SampledPosePriorLoss,
    fit_pose_gaussian,
    read_pose_gaussian,
)
from smilfit.losses.shape_priors import (
    FocalPriorLoss,
    JointOffsetPriorLoss,
    JointScalePriorLoss,
    LandmarkOffsetPriorLoss,
    PartSizePriorLoss,
    ShapeMixturePriorLoss,
    ShapePriorLoss,
    TiedJointScalePriorLoss,
)
from smilfit.losses.silhouette import (
    SilhouetteBCELoss,
    SilhouetteDistanceTransformLoss,
    SilhouetteIoULoss,
    SilhouetteL1Loss,
    SilhouetteL2Loss,
    SilhouetteLoss,
)
from smilfit.losses.smooth import SmoothJointLoss, SmoothPointsLoss

__all__ = [
    'Absolute',
    'BaseLoss',
    'Cauchy',
    'CentreHeatmapLoss',
    'Energies',
    'FocalPriorLoss',
    'ForwardLoss',
    'GemanMcClure',
    'GroundContactLoss',
    'HeatmapLoss',
    'JointLimitLoss',
    'JointOffsetPriorLoss',
    'JointPriorLoss',
    'JointScalePriorLoss',
    'KeypointL1Loss',
    'KeypointMSELoss',
    'KeypointStepLoss',
    'LandmarkOffsetPriorLoss',
    'LimbLengthLoss',
    'MahalanobisPosePriorLoss',
    'MaxMixturePriorLoss',
    'ParameterSource',
    'PartSizePriorLoss',
    'PointDistanceLoss',
    'PointSource',
    'PoseGaussian',
    'PoseMixture',
    'PoseRegLoss',
    'Residuals',
    'Robust',
    'SampledPosePriorLoss',
    'SelfPenetrationLoss',
    'ShapeMixturePriorLoss',
    'ShapePriorLoss',
    'SilhouetteBCELoss',
    'SilhouetteDistanceTransformLoss',
    'SilhouetteIoULoss',
    'SilhouetteL1Loss',
    'SilhouetteL2Loss',
    'SilhouetteLoss',
    'SmoothJointLoss',
    'SmoothPointsLoss',
    'SplayPriorLoss',
    'Stated',
    'TiedJointScalePriorLoss',
    'TriangulationConsistencyLoss',
    'as_loss',
    'fit_pose_gaussian',
    'fit_pose_mixture',
    'read_pose_gaussian',
    'read_pose_mixture',
    'reduced',
]
