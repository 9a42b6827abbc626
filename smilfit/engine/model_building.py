"""Build a regressor from a config, its parts' sizes taken from each other and from the body."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from smilfit.body_models import SMIL, load_body_model
from smilfit.body_models.json_values import JsonValues
from smilfit.body_models.smil_json_parts import landmarks
from smilfit.engine.training_statistics import find_body_model_file
from smilfit.models.statistics import DatasetNames, TrainingStatistics
from smilfit.registry import BODY_MODELS, MODELS, build
from smilfit.registry.build import find_class


def load_body_for(
    names: DatasetNames, model_cfg: Mapping[str, Any], override: str | Path | None = None
) -> tuple[SMIL, Path]:
    """Load the body model of a training: the override, else the config's, else the dataset file's.

    Raises:
        ValueError: the file is not the one that the dataset was made with.
    """
    cfg = model_cfg.get('body_model')
    cfg = {'type': 'SMIL', 'model_path': cfg} if isinstance(cfg, (str, Path)) else dict(cfg or {})
    named = (override, cfg.get('model_path'), names.body_model_file)
    path = find_body_model_file(named, names.data_path)
    if cfg.get('type'):
        body = build({**cfg, 'model_path': path}, BODY_MODELS)
    else:
        body = load_body_model(path, **{key: value for key, value in cfg.items() if key != 'model_path'})
    found = body.data.hash_without_landmarks()
    if override is None and names.body_model_hash and found != names.body_model_hash:
        raise ValueError(
            f'body model: {path} must be the model that the dataset was made with (hash '
            f'{names.body_model_hash}); got hash {found}. Give the right file by --body-model, or preprocess '
            f'again with this one.'
        )
    return _with_landmarks(body, names), path


def _with_landmarks(body: SMIL, names: DatasetNames) -> SMIL:
    """Give a body the landmarks that the dataset's lookup described."""
    if not names.landmarks or names.landmarks == '{}':
        return body
    values = JsonValues(Path(names.data_path or 'the dataset'), 'Preprocess again.')
    return body.with_landmarks(landmarks(json.loads(names.landmarks), values))


def build_regressor(cfg: Mapping[str, Any], body: SMIL, statistics: TrainingStatistics) -> nn.Module:
    """Build the model of a config for a body and a training set.

    A class with `build_parts(cfg, body, statistics)` builds its own parts, whose sizes follow from each other; of any
    other class the parts are built as they stand.
    """
    cfg = copy.deepcopy(dict(cfg))
    cls = find_class(cfg['type'], MODELS) if 'type' in cfg else None
    if hasattr(cls, 'build_parts'):
        cfg = cls.build_parts(cfg, body, statistics)
    cfg['body_model'] = body
    return build(cfg, MODELS, statistics=statistics)
