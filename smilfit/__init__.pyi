"""What editors and type checkers see of the names that `__init__.py` imports when they are first used."""

from smilfit.body_models import (
    Landmark as Landmark,
    PartSize as PartSize,
    SMAL as SMAL,
    SMIL as SMIL,
    SMPL as SMPL,
    SMPLX as SMPLX,
    BodyModelData as BodyModelData,
    convert_keypoints as convert_keypoints,
    load_body_model as load_body_model,
    load_convention as load_convention,
    save_body_model as save_body_model,
)
from smilfit.datasets import (
    DatasetFile as DatasetFile,
    MultiViewDataset as MultiViewDataset,
    PreprocessOptions as PreprocessOptions,
    open_dataset as open_dataset,
    preprocess as preprocess,
)
from smilfit.handlers import (
    BaseHandler as BaseHandler,
    BaseInput as BaseInput,
    BetasPriorHandler as BetasPriorHandler,
    BodyPosePriorHandler as BodyPosePriorHandler,
    FocalPriorHandler as FocalPriorHandler,
    GroundContactHandler as GroundContactHandler,
    GroundContactInput as GroundContactInput,
    GroundHandler as GroundHandler,
    InImageHandler as InImageHandler,
    InPictureHandler as InPictureHandler,
    JointLimitHandler as JointLimitHandler,
    JointOffsetPriorHandler as JointOffsetPriorHandler,
    JointScalePriorHandler as JointScalePriorHandler,
    Keypoint2dHandler as Keypoint2dHandler,
    Keypoint2dInput as Keypoint2dInput,
    Keypoint3dHandler as Keypoint3dHandler,
    Keypoint3dLimbLenHandler as Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput as Keypoint3dLimbLenInput,
    Keypoint3dMSEHandler as Keypoint3dMSEHandler,
    Keypoint3dMSEInput as Keypoint3dMSEInput,
    MeshInput as MeshInput,
    MeshSurfaceHandler as MeshSurfaceHandler,
    MeshVertexHandler as MeshVertexHandler,
    MultiviewKeypoint2dMSEHandler as MultiviewKeypoint2dMSEHandler,
    MultiviewKeypoint2dMSEInput as MultiviewKeypoint2dMSEInput,
    PointCloudHandler as PointCloudHandler,
    PointCloudInput as PointCloudInput,
    SelfPenetrationHandler as SelfPenetrationHandler,
    SilhouetteDistanceHandler as SilhouetteDistanceHandler,
    SilhouetteHandler as SilhouetteHandler,
    SilhouetteInput as SilhouetteInput,
    SmoothMotionHandler as SmoothMotionHandler,
    SmoothPoseHandler as SmoothPoseHandler,
    SplayPriorHandler as SplayPriorHandler,
)
from smilfit.io import (
    SleapSession as SleapSession,
    triangulate_keypoints as triangulate_keypoints,
    write_mesh as write_mesh,
)
from smilfit.losses import (
    BaseLoss as BaseLoss,
    FocalPriorLoss as FocalPriorLoss,
    GroundContactLoss as GroundContactLoss,
    JointLimitLoss as JointLimitLoss,
    JointOffsetPriorLoss as JointOffsetPriorLoss,
    JointPriorLoss as JointPriorLoss,
    JointScalePriorLoss as JointScalePriorLoss,
    KeypointMSELoss as KeypointMSELoss,
    LimbLengthLoss as LimbLengthLoss,
    MahalanobisPosePriorLoss as MahalanobisPosePriorLoss,
    MaxMixturePriorLoss as MaxMixturePriorLoss,
    PointDistanceLoss as PointDistanceLoss,
    PoseGaussian as PoseGaussian,
    PoseMixture as PoseMixture,
    PoseRegLoss as PoseRegLoss,
    SelfPenetrationLoss as SelfPenetrationLoss,
    ShapePriorLoss as ShapePriorLoss,
    SilhouetteBCELoss as SilhouetteBCELoss,
    SilhouetteDistanceTransformLoss as SilhouetteDistanceTransformLoss,
    SilhouetteIoULoss as SilhouetteIoULoss,
    SilhouetteL1Loss as SilhouetteL1Loss,
    SilhouetteL2Loss as SilhouetteL2Loss,
    SmoothJointLoss as SmoothJointLoss,
    SmoothPointsLoss as SmoothPointsLoss,
    SplayPriorLoss as SplayPriorLoss,
    TiedJointScalePriorLoss as TiedJointScalePriorLoss,
    fit_pose_gaussian as fit_pose_gaussian,
    fit_pose_mixture as fit_pose_mixture,
    read_pose_gaussian as read_pose_gaussian,
    read_pose_mixture as read_pose_mixture,
)
from smilfit.models import (
    MultiViewRegressor as MultiViewRegressor,
)
from smilfit.registrants import (
    SMALify as SMALify,
    SMPLify as SMPLify,
    SMPLifyX as SMPLifyX,
    Stage as Stage,
)
from smilfit.registry import (
    build_registrant as build_registrant,
    read_config as read_config,
)
from smilfit.renderers import (
    SilhouetteRenderer as SilhouetteRenderer,
    ZBufferRenderer as ZBufferRenderer,
)
from smilfit.solvers import (
    LBFGS as LBFGS,
    Adam as Adam,
    LevenbergMarquardt as LevenbergMarquardt,
)
from smilfit.structures import (
    BodyOutput as BodyOutput,
    BodyParams as BodyParams,
    Cameras as Cameras,
    FitResult as FitResult,
    Keypoints2d as Keypoints2d,
    Keypoints3d as Keypoints3d,
    ParameterSpec as ParameterSpec,
    register_parameter as register_parameter,
)
from smilfit.version import __version__ as __version__
