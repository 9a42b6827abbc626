"""The animals that ship as body models, with numbers rounded to be short."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models import (
    BodyModelData,
    ShapeMixture,
    SparseMatrix,
    check_body_model,
    save_body_model,
)
from smilfit.body_models.shipped_models import ENDING, FOLDER
from smilfit.synthetic.insect import make_insect
from smilfit.synthetic.quadruped_family import make_quadruped_family

# Of lengths in body lengths and of shares: a hundredth of a millimetre on a metre.
DIGITS = 5


def shipped_bodies() -> dict[str, BodyModelData]:
    """Make the animals by name, with numbers rounded to be short."""
    return {data.name: _rounded(data) for data in (make_quadruped_family(), make_insect())}


def write_shipped_models(folder: str | Path = FOLDER) -> list[Path]:
    """Write the files of the animals."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [
        save_body_model(data, Path(folder) / f'{name}{ENDING}') for name, data in shipped_bodies().items()
    ]


def _rounded(data: BodyModelData) -> BodyModelData:
    arrays = ('v_template', 'joints', 'shapedirs', 'shape_mean', 'shape_cov', 'joint_limits')
    changes: dict[str, Any] = {name: _short(getattr(data, name)) for name in arrays}
    mixture, weights, regressor = data.shape_mixture, data.weights, data.joint_regressor
    if mixture is not None:
        mixture = ShapeMixture(mixture.names, mixture.weights, _short(mixture.means), _short(mixture.covs))
    if regressor is not None:
        # Rows over many vertices must still sum to 1.
        regressor = replace(regressor, values=np.round(regressor.values, 9))
    weights = SparseMatrix(weights.rows, weights.cols, _short(weights.values), weights.shape)
    shorter = replace(data, **changes, shape_mixture=mixture, weights=weights, joint_regressor=regressor)
    return check_body_model(shorter, data.name)


def _short(array: np.ndarray) -> np.ndarray:
    # Adding 0 turns -0.0 into 0.0.
    return np.round(array, DIGITS) + 0.0
