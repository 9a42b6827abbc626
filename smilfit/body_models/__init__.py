"""From a model file to BodyModelData (numpy) to an nn.Module."""

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, Landmark, PartSize, PoseSpace, SparseMatrix
from smilfit.body_models.files import (
    BodyModelReader,
    body_model_reader,
    load_body_model_data,
    save_body_model,
)
from smilfit.body_models.files.finding import (
    LocatedModel,
    ModelNotFoundError,
    OtherModelError,
    find_model,
    load_model,
    pack_model,
    reference_to,
    unpack_model,
)
from smilfit.body_models.files.model_arrays import UnsafePickleError, read_pickle
from smilfit.body_models.human_models import SMPL
from smilfit.body_models.keypoint_conventions import (
    KeypointConvention,
    available_conventions,
    convert_keypoints,
    load_convention,
)
from smilfit.body_models.keypoint_rows import KeypointRows, keypoint_definitions
from smilfit.body_models.loading import load_body_model
from smilfit.body_models.part_sizes import default_part_sizes, describe_parts
from smilfit.body_models.pose_sampling import GivenPoses, LimitPoses, MixedPoses, PoseSampler, PoseSource
from smilfit.body_models.rest_shape import RestShape
from smilfit.body_models.shape_mixture import ShapeMixture
from smilfit.body_models.shipped_models import find_body_model, is_shipped, shipped_models
from smilfit.body_models.smal import SMAL
from smilfit.body_models.smil import SMIL
from smilfit.body_models.smplx import SMPLX

__all__ = [
    'SMAL',
    'SMIL',
    'SMPL',
    'SMPLX',
    'BodyModelData',
    'BodyModelReader',
    'GivenPoses',
    'KeypointConvention',
    'KeypointRows',
    'Landmark',
    'LimitPoses',
    'LocatedModel',
    'MixedPoses',
    'ModelNotFoundError',
    'OtherModelError',
    'PartSize',
    'PoseSampler',
    'PoseSource',
    'PoseSpace',
    'RestShape',
    'ShapeMixture',
    'SparseMatrix',
    'UnsafePickleError',
    'available_conventions',
    'body_model_reader',
    'check_body_model',
    'convert_keypoints',
    'default_part_sizes',
    'describe_parts',
    'find_body_model',
    'find_model',
    'is_shipped',
    'keypoint_definitions',
    'load_body_model',
    'load_body_model_data',
    'load_convention',
    'load_model',
    'pack_model',
    'read_pickle',
    'reference_to',
    'save_body_model',
    'shipped_models',
    'unpack_model',
]
