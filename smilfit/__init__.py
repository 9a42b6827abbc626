"""smilfit: fit any rigged animal to what the cameras saw.

The public names below are imported when they are first used, so `import smilfit` stays light.
"""

from importlib import import_module

from smilfit.version import __version__

# A name -> its room. `__init__.pyi` has the same for editors.
_PUBLIC = {
    'build_registrant': 'smilfit.registry',
    'read_config': 'smilfit.registry',
    'BodyOutput': 'smilfit.structures',
    'BodyParams': 'smilfit.structures',
    'Cameras': 'smilfit.structures',
    'FitResult': 'smilfit.structures',
    'ParameterSpec': 'smilfit.structures',
    'register_parameter': 'smilfit.structures',
    'Keypoints2d': 'smilfit.structures',
    'Keypoints3d': 'smilfit.structures',
    'BodyModelData': 'smilfit.body_models',
    'SMAL': 'smilfit.body_models',
    'SMIL': 'smilfit.body_models',
    'SMPL': 'smilfit.body_models',
    'SMPLX': 'smilfit.body_models',
    'convert_keypoints': 'smilfit.body_models',
    'load_body_model': 'smilfit.body_models',
    'load_convention': 'smilfit.body_models',
    'save_body_model': 'smilfit.body_models',
    'SleapSession': 'smilfit.io',
    'triangulate_keypoints': 'smilfit.io',
    'write_mesh': 'smilfit.io',
    'DatasetFile': 'smilfit.datasets',
    'MultiViewDataset': 'smilfit.datasets',
    'PreprocessOptions': 'smilfit.datasets',
    'open_dataset': 'smilfit.datasets',
    'preprocess': 'smilfit.datasets',
    'BaseLoss': 'smilfit.losses',
    'FocalPriorLoss': 'smilfit.losses',
    'GroundContactLoss': 'smilfit.losses',
    'JointLimitLoss': 'smilfit.losses',
    'JointOffsetPriorLoss': 'smilfit.losses',
    'JointPriorLoss': 'smilfit.losses',
    'JointScalePriorLoss': 'smilfit.losses',
    'KeypointMSELoss': 'smilfit.losses',
    'LimbLengthLoss': 'smilfit.losses',
    'MahalanobisPosePriorLoss': 'smilfit.losses',
    'MaxMixturePriorLoss': 'smilfit.losses',
    'PointDistanceLoss': 'smilfit.losses',
    'PoseGaussian': 'smilfit.losses',
    'PoseMixture': 'smilfit.losses',
    'PoseRegLoss': 'smilfit.losses',
    'SelfPenetrationLoss': 'smilfit.losses',
    'ShapePriorLoss': 'smilfit.losses',
    'SilhouetteBCELoss': 'smilfit.losses',
    'SilhouetteDistanceTransformLoss': 'smilfit.losses',
    'SilhouetteIoULoss': 'smilfit.losses',
    'SilhouetteL1Loss': 'smilfit.losses',
    'SilhouetteL2Loss': 'smilfit.losses',
    'SmoothJointLoss': 'smilfit.losses',
    'SmoothPointsLoss': 'smilfit.losses',
    'SplayPriorLoss': 'smilfit.losses',
    'TiedJointScalePriorLoss': 'smilfit.losses',
    'fit_pose_gaussian': 'smilfit.losses',
    'fit_pose_mixture': 'smilfit.losses',
    'read_pose_gaussian': 'smilfit.losses',
    'read_pose_mixture': 'smilfit.losses',
    'BaseHandler': 'smilfit.handlers',
    'BaseInput': 'smilfit.handlers',
    'BetasPriorHandler': 'smilfit.handlers',
    'BodyPosePriorHandler': 'smilfit.handlers',
    'FocalPriorHandler': 'smilfit.handlers',
    'GroundContactHandler': 'smilfit.handlers',
    'GroundContactInput': 'smilfit.handlers',
    'GroundHandler': 'smilfit.handlers',
    'InPictureHandler': 'smilfit.handlers',
    'JointLimitHandler': 'smilfit.handlers',
    'JointOffsetPriorHandler': 'smilfit.handlers',
    'JointScalePriorHandler': 'smilfit.handlers',
    'Keypoint2dHandler': 'smilfit.handlers',
    'Keypoint2dInput': 'smilfit.handlers',
    'Keypoint3dHandler': 'smilfit.handlers',
    'Keypoint3dLimbLenHandler': 'smilfit.handlers',
    'Keypoint3dLimbLenInput': 'smilfit.handlers',
    'Keypoint3dMSEHandler': 'smilfit.handlers',
    'Keypoint3dMSEInput': 'smilfit.handlers',
    'MeshInput': 'smilfit.handlers',
    'MeshSurfaceHandler': 'smilfit.handlers',
    'MeshVertexHandler': 'smilfit.handlers',
    'MultiviewKeypoint2dMSEHandler': 'smilfit.handlers',
    'MultiviewKeypoint2dMSEInput': 'smilfit.handlers',
    'PointCloudHandler': 'smilfit.handlers',
    'PointCloudInput': 'smilfit.handlers',
    'SelfPenetrationHandler': 'smilfit.handlers',
    'SilhouetteDistanceHandler': 'smilfit.handlers',
    'SilhouetteHandler': 'smilfit.handlers',
    'SilhouetteInput': 'smilfit.handlers',
    'SmoothMotionHandler': 'smilfit.handlers',
    'SmoothPoseHandler': 'smilfit.handlers',
    'SplayPriorHandler': 'smilfit.handlers',
    'Adam': 'smilfit.solvers',
    'LBFGS': 'smilfit.solvers',
    'LevenbergMarquardt': 'smilfit.solvers',
    'SilhouetteRenderer': 'smilfit.renderers',
    'ZBufferRenderer': 'smilfit.renderers',
    'SMALify': 'smilfit.registrants',
    'SMPLify': 'smilfit.registrants',
    'SMPLifyX': 'smilfit.registrants',
    'Stage': 'smilfit.registrants',
    'MultiViewRegressor': 'smilfit.models',
}

__all__ = ['__version__', *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted(__all__)
