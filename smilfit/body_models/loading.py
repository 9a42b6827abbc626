"""A body model's file made into a module."""

from pathlib import Path
from typing import Any

from smilfit.body_models.files import load_body_model_data
from smilfit.body_models.smal import SMAL
from smilfit.body_models.smil import SMIL

# What belongs to a SMAL model and stands in files of its own.
SMAL_KEYWORDS = {'data_file', 'family', 'pose_prior_file', 'shape_prior_file', 'symmetry_file'}


def load_body_model(path: str | Path, **kwargs: Any) -> SMIL:
    """Read a body model file, or a shipped model by name (`quadruped`, `insect`), and make the module.

    Args:
        path: as of `load_body_model_data`.
        kwargs: of `SMIL`, or of `SMAL` where they are its.
    """
    kind = SMAL if SMAL_KEYWORDS & set(kwargs) else SMIL
    return kind(load_body_model_data(path), **kwargs)
