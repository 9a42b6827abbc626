"""The public names of the package, exactly, and that editors see those that are there."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import smilfit

PACKAGE = Path(smilfit.__file__).parent
# Whoever takes one away breaks programs of others: say so in CHANGELOG.md.
PUBLIC = [
    'build_registrant',
    'read_config',
    'BodyOutput',
    'BodyParams',
    'Cameras',
    'FitResult',
    'ParameterSpec',
    'register_parameter',
    'Keypoints2d',
    'Keypoints3d',
    'BodyModelData',
    'Landmark',
    'PartSize',
    'SMAL',
    'SMIL',
    'SMPL',
    'SMPLX',
    'convert_keypoints',
    'load_body_model',
    'load_convention',
    'save_body_model',
    'SleapSession',
    'triangulate_keypoints',
    'write_mesh',
    'DatasetFile',
    'MultiViewDataset',
    'PreprocessOptions',
    'open_dataset',
    'preprocess',
    'BaseLoss',
    'FocalPriorLoss',
    'GroundContactLoss',
    'JointLimitLoss',
    'LandmarkOffsetPriorLoss',
    'PartSizePriorLoss',
    'JointOffsetPriorLoss',
    'JointPriorLoss',
    'JointScalePriorLoss',
    'KeypointMSELoss',
    'LimbLengthLoss',
    'MahalanobisPosePriorLoss',
    'MaxMixturePriorLoss',
    'PointDistanceLoss',
    'PoseGaussian',
    'PoseMixture',
    'PoseRegLoss',
    'SelfPenetrationLoss',
    'ShapePriorLoss',
    'SilhouetteBCELoss',
    'SilhouetteDistanceTransformLoss',
    'SilhouetteIoULoss',
    'SilhouetteL1Loss',
    'SilhouetteL2Loss',
    'SmoothJointLoss',
    'SmoothPointsLoss',
    'SplayPriorLoss',
    'TiedJointScalePriorLoss',
    'TriangulationConsistencyLoss',
    'fit_pose_gaussian',
    'fit_pose_mixture',
    'read_pose_gaussian',
    'read_pose_mixture',
    'BaseHandler',
    'BaseInput',
    'BetasPriorHandler',
    'BodyPosePriorHandler',
    'FocalPriorHandler',
    'GroundContactHandler',
    'GroundContactInput',
    'GroundHandler',
    'InImageHandler',
    'JointLimitHandler',
    'JointOffsetPriorHandler',
    'LandmarkOffsetPriorHandler',
    'PartSizePriorHandler',
    'JointScalePriorHandler',
    'Keypoint2dHandler',
    'Keypoint2dInput',
    'Keypoint3dHandler',
    'Keypoint3dLimbLenHandler',
    'Keypoint3dLimbLenInput',
    'Keypoint3dMSEHandler',
    'Keypoint3dMSEInput',
    'MeshInput',
    'MeshSurfaceHandler',
    'MeshVertexHandler',
    'MultiviewKeypoint2dMSEHandler',
    'MultiviewKeypoint2dMSEInput',
    'PointCloudHandler',
    'PointCloudInput',
    'SelfPenetrationHandler',
    'SilhouetteDistanceHandler',
    'SilhouetteHandler',
    'SilhouetteInput',
    'SmoothMotionHandler',
    'SmoothPoseHandler',
    'SplayPriorHandler',
    'TriangulationConsistencyHandler',
    'Adam',
    'LBFGS',
    'LevenbergMarquardt',
    'SilhouetteRenderer',
    'ZBufferRenderer',
    'SMALify',
    'MeshRegistrant',
    'SMPLify',
    'SMPLifyX',
    'Stage',
    'MultiViewRegressor',
    'Tracker',
    'TrackedPose',
]


def test_the_public_names_are_these():
    assert sorted(smilfit.__all__) == sorted(['__version__', *PUBLIC])
    assert dir(smilfit) == sorted(smilfit.__all__)


def test_a_name_is_that_of_its_room():
    for name in PUBLIC:
        room = import_module(smilfit._PUBLIC[name])
        assert getattr(smilfit, name) is getattr(room, name), name
        assert name in room.__all__, name


def test_the_stub_agrees_with_the_lazy_table():
    result = {}
    for node in ast.parse((PACKAGE / '__init__.pyi').read_text(encoding='utf-8')).body:
        if isinstance(node, ast.ImportFrom):
            # `import x as x` is how a stub says that a name is public.
            assert all(alias.asname == alias.name for alias in node.names)
            result |= {alias.name: node.module for alias in node.names}
    assert result == smilfit._PUBLIC | {'__version__': 'smilfit.version'}


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / 'py.typed').is_file()


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match='no attribute'):
        smilfit.nothing  # noqa: B018
