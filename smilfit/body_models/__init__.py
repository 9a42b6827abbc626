"""From a model file to BodyModelData (numpy) to an nn.Module."""

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.files import load_body_model, load_body_model_data, save_body_model
from smilfit.body_models.keypoint_rows import KeypointRows
from smilfit.body_models.pickle_reader import UnsafePickleError, read_pickle
from smilfit.body_models.smil import SMAL, SMIL, RestShape
from smilfit.body_models.smpl import SMPL

__all__ = [
    'SMAL',
    'SMIL',
    'SMPL',
    'BodyModelData',
    'KeypointRows',
    'RestShape',
    'SparseMatrix',
    'UnsafePickleError',
    'check_body_model',
    'load_body_model',
    'load_body_model_data',
    'read_pickle',
    'save_body_model',
]
