"""smilfit: fit any rigged animal to what the cameras saw.

The public names below are imported when they are first used, so `import smilfit` stays light.
"""

from importlib import import_module

from smilfit.version import __version__

_PUBLIC = {
    'load_body_model': 'smilfit.body_models',
    'save_body_model': 'smilfit.body_models',
    'SMIL': 'smilfit.body_models',
    'SMPL': 'smilfit.body_models',
    'SMPLX': 'smilfit.body_models',
    'SMAL': 'smilfit.body_models',
    'BodyModelData': 'smilfit.body_models',
    'convert_keypoints': 'smilfit.body_models',
    'load_convention': 'smilfit.body_models',
    'BodyParams': 'smilfit.structures',
    'BodyOutput': 'smilfit.structures',
    'Cameras': 'smilfit.structures',
    'FitResult': 'smilfit.structures',
    'ParameterSpec': 'smilfit.structures',
    'register_parameter': 'smilfit.structures',
    'Keypoints2d': 'smilfit.structures',
    'Keypoints3d': 'smilfit.structures',
    'SleapSession': 'smilfit.io',
    'SMPLify': 'smilfit.registrants',
    'SMALify': 'smilfit.registrants',
    'Stage': 'smilfit.registrants',
    'LevenbergMarquardt': 'smilfit.solvers',
    'LBFGS': 'smilfit.solvers',
    'Adam': 'smilfit.solvers',
    'SilhouetteRenderer': 'smilfit.renderers',
    'ZBufferRenderer': 'smilfit.renderers',
    'SilhouetteInput': 'smilfit.handlers',
    'SilhouetteHandler': 'smilfit.handlers',
    'SilhouetteDistanceHandler': 'smilfit.handlers',
    'BetasPriorHandler': 'smilfit.handlers',
    'BodyPosePriorHandler': 'smilfit.handlers',
    'PointCloudInput': 'smilfit.handlers',
    'MeshInput': 'smilfit.handlers',
    'Keypoint2dHandler': 'smilfit.handlers',
    'Keypoint3dHandler': 'smilfit.handlers',
    'JointLimitHandler': 'smilfit.handlers',
    'open_dataset': 'smilfit.datasets',
}

__all__ = ['__version__', *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted(__all__)
