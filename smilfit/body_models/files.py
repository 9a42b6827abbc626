"""Choose the reader by the file's ending."""

import logging
from pathlib import Path
from typing import Any

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.smal import SMAL
from smilfit.body_models.smal_file import read_smal_file
from smilfit.body_models.smil import SMIL
from smilfit.body_models.smil_json import read_smil_json, write_smil_json
from smilfit.files import reading

logger = logging.getLogger('smilfit')

# What belongs to a SMAL model and stands in files of its own.
SMAL_KEYWORDS = {'data_file', 'family', 'pose_prior_file', 'symmetry_file'}


def load_body_model_data(path: str | Path) -> BodyModelData:
    """Read a body model file: `*.json`, or a SMIL, SMAL or SMPL `*.pkl` or `*.npz`.

    Raises:
        ValueError: another ending, or a file that breaks a rule.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the body model file is not there. Check the path.')
    if path.suffix == '.json':
        return read_smil_json(path)
    if path.suffix == '.npz':
        with reading(path, 'a body model'):
            return read_smal_file(path)
    if path.suffix == '.pkl':
        return read_smal_file(path)
    raise ValueError(f'{path}: a body model must end in .smil.json, .pkl or .npz; got {path.suffix!r}.')


def load_body_model(path: str | Path, **kwargs: Any) -> SMIL:
    """Read a body model file and make the module; keyword arguments go to `SMIL`, or to `SMAL` where they are its."""
    kind = SMAL if SMAL_KEYWORDS & set(kwargs) else SMIL
    return kind(load_body_model_data(path), **kwargs)


def save_body_model(data: BodyModelData, path: str | Path) -> Path:
    """Write a body model as `*.smil.json`.

    Raises:
        ValueError: another ending.
    """
    path = Path(path)
    if not path.name.endswith('.smil.json'):
        raise ValueError(f'{path}: a body model is written as *.smil.json; got {path.name!r}.')
    return write_smil_json(data, path)
