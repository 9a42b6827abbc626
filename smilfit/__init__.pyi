"""What editors and type checkers see of the names that `__init__.py` imports when they are first used."""

from smilfit.body_models import (
    SMAL as SMAL,
)
from smilfit.body_models import (
    SMIL as SMIL,
)
from smilfit.body_models import (
    SMPL as SMPL,
)
from smilfit.body_models import (
    SMPLX as SMPLX,
)
from smilfit.body_models import (
    BodyModelData as BodyModelData,
)
from smilfit.body_models import (
    convert_keypoints as convert_keypoints,
)
from smilfit.body_models import (
    load_body_model as load_body_model,
)
from smilfit.body_models import (
    load_convention as load_convention,
)
from smilfit.body_models import (
    save_body_model as save_body_model,
)
from smilfit.datasets import (
    DatasetFile as DatasetFile,
)
from smilfit.datasets import (
    MultiViewDataset as MultiViewDataset,
)
from smilfit.datasets import (
    PreprocessOptions as PreprocessOptions,
)
from smilfit.datasets import (
    open_dataset as open_dataset,
)
from smilfit.datasets import (
    preprocess as preprocess,
)
from smilfit.handlers import (
    BaseHandler as BaseHandler,
)
from smilfit.handlers import (
    BaseInput as BaseInput,
)
from smilfit.handlers import (
    BetasPriorHandler as BetasPriorHandler,
)
from smilfit.handlers import (
    BodyPosePriorHandler as BodyPosePriorHandler,
)
from smilfit.handlers import (
    FocalPriorHandler as FocalPriorHandler,
)
from smilfit.handlers import (
    GroundContactHandler as GroundContactHandler,
)
from smilfit.handlers import (
    GroundContactInput as GroundContactInput,
)
from smilfit.handlers import (
    GroundHandler as GroundHandler,
)
from smilfit.handlers import (
    InPictureHandler as InPictureHandler,
)
from smilfit.handlers import (
    JointLimitHandler as JointLimitHandler,
)
from smilfit.handlers import (
    JointOffsetPriorHandler as JointOffsetPriorHandler,
)
from smilfit.handlers import (
    JointScalePriorHandler as JointScalePriorHandler,
)
from smilfit.handlers import (
    Keypoint2dHandler as Keypoint2dHandler,
)
from smilfit.handlers import (
    Keypoint2dInput as Keypoint2dInput,
)
from smilfit.handlers import (
    Keypoint3dHandler as Keypoint3dHandler,
)
from smilfit.handlers import (
    Keypoint3dLimbLenHandler as Keypoint3dLimbLenHandler,
)
from smilfit.handlers import (
    Keypoint3dLimbLenInput as Keypoint3dLimbLenInput,
)
from smilfit.handlers import (
    Keypoint3dMSEHandler as Keypoint3dMSEHandler,
)
from smilfit.handlers import (
    Keypoint3dMSEInput as Keypoint3dMSEInput,
)
from smilfit.handlers import (
    MeshInput as MeshInput,
)
from smilfit.handlers import (
    MeshSurfaceHandler as MeshSurfaceHandler,
)
from smilfit.handlers import (
    MeshVertexHandler as MeshVertexHandler,
)
from smilfit.handlers import (
    MultiviewKeypoint2dMSEHandler as MultiviewKeypoint2dMSEHandler,
)
from smilfit.handlers import (
    MultiviewKeypoint2dMSEInput as MultiviewKeypoint2dMSEInput,
)
from smilfit.handlers import (
    PointCloudHandler as PointCloudHandler,
)
from smilfit.handlers import (
    PointCloudInput as PointCloudInput,
)
from smilfit.handlers import (
    SelfPenetrationHandler as SelfPenetrationHandler,
)
from smilfit.handlers import (
    SilhouetteDistanceHandler as SilhouetteDistanceHandler,
)
from smilfit.handlers import (
    SilhouetteHandler as SilhouetteHandler,
)
from smilfit.handlers import (
    SilhouetteInput as SilhouetteInput,
)
from smilfit.handlers import (
    SmoothMotionHandler as SmoothMotionHandler,
)
from smilfit.handlers import (
    SmoothPoseHandler as SmoothPoseHandler,
)
from smilfit.handlers import (
    SplayPriorHandler as SplayPriorHandler,
)
from smilfit.io import (
    SleapSession as SleapSession,
)
from smilfit.io import (
    triangulate_keypoints as triangulate_keypoints,
)
from smilfit.io import (
    write_mesh as write_mesh,
)
from smilfit.losses import (
    BaseLoss as BaseLoss,
)
from smilfit.losses import (
    FocalPriorLoss as FocalPriorLoss,
)
from smilfit.losses import (
    GroundContactLoss as GroundContactLoss,
)
from smilfit.losses import (
    JointLimitLoss as JointLimitLoss,
)
from smilfit.losses import (
    JointOffsetPriorLoss as JointOffsetPriorLoss,
)
from smilfit.losses import (
    JointPriorLoss as JointPriorLoss,
)
from smilfit.losses import (
    JointScalePriorLoss as JointScalePriorLoss,
)
from smilfit.losses import (
    KeypointMSELoss as KeypointMSELoss,
)
from smilfit.losses import (
    LimbLengthLoss as LimbLengthLoss,
)
from smilfit.losses import (
    MahalanobisPosePriorLoss as MahalanobisPosePriorLoss,
)
from smilfit.losses import (
    MaxMixturePriorLoss as MaxMixturePriorLoss,
)
from smilfit.losses import (
    PointDistanceLoss as PointDistanceLoss,
)
from smilfit.losses import (
    PoseGaussian as PoseGaussian,
)
from smilfit.losses import (
    PoseMixture as PoseMixture,
)
from smilfit.losses import (
    PoseRegLoss as PoseRegLoss,
)
from smilfit.losses import (
    SelfPenetrationLoss as SelfPenetrationLoss,
)
from smilfit.losses import (
    ShapePriorLoss as ShapePriorLoss,
)
from smilfit.losses import (
    SilhouetteBCELoss as SilhouetteBCELoss,
)
from smilfit.losses import (
    SilhouetteDistanceTransformLoss as SilhouetteDistanceTransformLoss,
)
from smilfit.losses import (
    SilhouetteIoULoss as SilhouetteIoULoss,
)
from smilfit.losses import (
    SilhouetteL1Loss as SilhouetteL1Loss,
)
from smilfit.losses import (
    SilhouetteL2Loss as SilhouetteL2Loss,
)
from smilfit.losses import (
    SmoothJointLoss as SmoothJointLoss,
)
from smilfit.losses import (
    SmoothPointsLoss as SmoothPointsLoss,
)
from smilfit.losses import (
    SplayPriorLoss as SplayPriorLoss,
)
from smilfit.losses import (
    TiedJointScalePriorLoss as TiedJointScalePriorLoss,
)
from smilfit.losses import (
    fit_pose_gaussian as fit_pose_gaussian,
)
from smilfit.losses import (
    fit_pose_mixture as fit_pose_mixture,
)
from smilfit.losses import (
    read_pose_gaussian as read_pose_gaussian,
)
from smilfit.losses import (
    read_pose_mixture as read_pose_mixture,
)
from smilfit.models import (
    MultiViewRegressor as MultiViewRegressor,
)
from smilfit.registrants import (
    SMALify as SMALify,
)
from smilfit.registrants import (
    SMPLify as SMPLify,
)
from smilfit.registrants import (
    SMPLifyX as SMPLifyX,
)
from smilfit.registrants import (
    Stage as Stage,
)
from smilfit.registry import (
    build_registrant as build_registrant,
)
from smilfit.registry import (
    read_config as read_config,
)
from smilfit.renderers import (
    SilhouetteRenderer as SilhouetteRenderer,
)
from smilfit.renderers import (
    ZBufferRenderer as ZBufferRenderer,
)
from smilfit.solvers import (
    LBFGS as LBFGS,
)
from smilfit.solvers import (
    Adam as Adam,
)
from smilfit.solvers import (
    LevenbergMarquardt as LevenbergMarquardt,
)
from smilfit.structures import (
    BodyOutput as BodyOutput,
)
from smilfit.structures import (
    BodyParams as BodyParams,
)
from smilfit.structures import (
    Cameras as Cameras,
)
from smilfit.structures import (
    FitResult as FitResult,
)
from smilfit.structures import (
    Keypoints2d as Keypoints2d,
)
from smilfit.structures import (
    Keypoints3d as Keypoints3d,
)
from smilfit.version import __version__ as __version__
