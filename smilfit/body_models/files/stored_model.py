"""A body model as its file has it, whatever rules it breaks: what a search for faults looks at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files import load_body_model_data
from smilfit.body_models.files.model_arrays import model_array, read_model_arrays
from smilfit.body_models.files.smal_file import READ, stored_body
from smilfit.body_models.files.smil_json_reader import read_stored_smil_json
from smilfit.body_models.shipped_models import find_body_model
from smilfit.files import reading

WHAT = 'a body model'


@dataclass(frozen=True)
class StoredModel:
    """What a file says of a body: nothing is checked, so its arrays may contradict each other.

    `joints` are the rest joints that the file states, where it states them beside a regressor.
    """

    data: BodyModelData
    joints: np.ndarray | None = None  # (J, 3)

    @property
    def size(self) -> float:
        """The longest side of the mesh's box, model unit."""
        vertices = self.data.v_template
        return float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0


def read_stored_model(path: str | Path) -> StoredModel:
    """Read a body model file, or a shipped model by name, without holding it to the rules of bodies.

    What a registered reader of a user's own gives is as that reader gives it.

    Raises:
        FileNotFoundError: no such file or model.
        ValueError: no body model at all: another format, keys that are missing, no numbers where there must be some.
    """
    path = find_body_model(path)
    if path.name.endswith('.json'):
        with reading(path, WHAT):
            data = read_stored_smil_json(path)
        return StoredModel(data, None if data.joint_regressor is None else data.joints)
    if path.suffix in ('.pkl', '.npz'):
        with reading(path, WHAT):
            raw = read_model_arrays(path, READ)
            data = stored_body(raw, path)
            stated = None if data.joint_regressor is None else model_array(raw, 'J', path, (2,))
        return StoredModel(data, stated)
    return StoredModel(load_body_model_data(path))
