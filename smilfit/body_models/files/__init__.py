"""Body model files: readers by the file's ending, and the writer."""

import logging
from collections.abc import Callable
from pathlib import Path

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.smal_file import read_smal_file
from smilfit.body_models.files.smil_json import read_smil_json, write_smil_json
from smilfit.body_models.shipped_models import find_body_model
from smilfit.files import reading
from smilfit.registry import BODY_MODEL_READERS

logger = logging.getLogger('smilfit')

BodyModelReader = Callable[[Path], BodyModelData]


def body_model_reader(*endings: str) -> Callable[[BodyModelReader], BodyModelReader]:
    """Register a function that reads body model files of these endings, such as `'.rig'`.

    Where several endings fit a file's name, the longest decides. Whatever the function raises becomes an error that
    names the file.

    Raises:
        ValueError: an ending without a full stop in front, or none.
        KeyError: an ending that has a reader already.
    """
    for ending in endings or ('',):
        if not ending.startswith('.') or len(ending) < 2:
            raise ValueError(
                f'body_model_reader: an ending must be a full stop and letters, such as ".rig"; got {ending!r}.'
            )
    return BODY_MODEL_READERS.register_module(name=list(endings))


@body_model_reader('.json')
def _read_json(path: Path) -> BodyModelData:
    return read_smil_json(path)


@body_model_reader('.npz', '.pkl')
def _read_arrays(path: Path) -> BodyModelData:
    return read_smal_file(path)


def load_body_model_data(path: str | Path) -> BodyModelData:
    """Read a body model file: `*.json`, a SMIL, SMAL or SMPL `*.pkl` or `*.npz`, or what has a registered reader.

    Args:
        path: the file, or the name of a shipped model: `quadruped` or `insect`.

    Raises:
        FileNotFoundError: no such file or model.
        ValueError: another ending, or a file that breaks a rule.
        TypeError: a registered reader that gives something else.
    """
    path = find_body_model(path)
    known = BODY_MODEL_READERS.module_dict
    fitting = [ending for ending in known if path.name.endswith(ending)]
    if not fitting:
        raise ValueError(
            f'{path}: a body model must end in .smil.json, .pkl or .npz{_registered()}; got {path.suffix!r}. '
            'A reader of your own needs its file: --import FILE.'
        )
    reader = known[max(fitting, key=len)]
    with reading(path, 'a body model'):
        data = reader(path)
    if not isinstance(data, BodyModelData):
        name = f'{reader.__module__}.{reader.__qualname__}'
        raise TypeError(f'{path}: its reader {name} must give a BodyModelData; got {type(data).__name__}.')
    return data


def _registered() -> str:
    """List the endings that plugins have readers for."""
    others = sorted(set(BODY_MODEL_READERS.module_dict) - {'.json', '.npz', '.pkl'})
    return ''.join(f' or {ending}' for ending in others)


def save_body_model(data: BodyModelData, path: str | Path) -> Path:
    """Write a body model as `*.smil.json`.

    Raises:
        ValueError: another ending.
    """
    path = Path(path)
    if not path.name.endswith('.smil.json'):
        raise ValueError(f'{path}: a body model is written as *.smil.json; got {path.name!r}.')
    return write_smil_json(data, path)
