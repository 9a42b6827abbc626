"""Loss modules on tensors: one idea a file."""

from smilfit.geometry.robust import Absolute, Cauchy, GemanMcClure, Robust
from smilfit.losses.base import BaseLoss, ForwardLoss, as_loss
from smilfit.losses.ground_contact import GroundContactLoss
from smilfit.losses.heatmap import CentreHeatmapLoss, HeatmapLoss
from smilfit.losses.joint_limits import JointLimitLoss, JointPriorLoss
from smilfit.losses.keypoint_mse import KeypointMSELoss, LimbLengthLoss, TriangulationConsistencyLoss
from smilfit.losses.max_mixture import (
    MaxMixturePriorLoss,
    PoseMixture,
    fit_pose_mixture,
    read_pose_mixture,
)
from smilfit.losses.point_distance import PointDistanceLoss
from smilfit.losses.pose_gaussian import PoseGaussian, fit_pose_gaussian, read_pose_gaussian
from smilfit.losses.residuals import Energies, ParameterSource, PointSource, Residuals, Stated, reduced
from smilfit.losses.sampled_pose_prior import MahalanobisPosePriorLoss, PoseRegLoss, SampledPosePriorLoss
from smilfit.losses.self_penetration import SelfPenetrationLoss
from smilfit.losses.shape_prior import ShapeMixturePriorLoss, ShapePriorLoss
from smilfit.losses.silhouette import (
    SilhouetteBCELoss,
    SilhouetteDistanceTransformLoss,
    SilhouetteIoULoss,
    SilhouetteL1Loss,
    SilhouetteL2Loss,
    SilhouetteLoss,
)
from smilfit.losses.size_priors import (
    FocalPriorLoss,
    JointOffsetPriorLoss,
    JointScalePriorLoss,
    LandmarkOffsetPriorLoss,
    PartSizePriorLoss,
    TiedJointScalePriorLoss,
)
from smilfit.losses.smooth import SmoothJointLoss, SmoothPointsLoss
from smilfit.losses.splay import SplayPriorLoss

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
    'KeypointMSELoss',
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
