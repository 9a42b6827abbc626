"""A trained regressor out of its checkpoint: no config needed, no code run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from smilfit.body_models import SMIL
from smilfit.files import BadFileError, reading, shorten
from smilfit.networks.engine.checkpoint_loader import (
    Entry,
    body_model_of_entry,
    check_body_model,
    check_weights,
    read_checkpoint,
    smilfit_entry,
)
from smilfit.networks.engine.configs import PartConfig, building, load_experiment, require_keys
from smilfit.networks.engine.mmengine_scope import declare_scope
from smilfit.networks.engine.model_building import build_regressor, load_body_for, names_with_body
from smilfit.networks.engine.plain_values import model_of_checkpoint, without_fetching
from smilfit.networks.regressors.modal_regressor import ModalRegressor
from smilfit.networks.training_set import DatasetNames, TrainingStatistics


@dataclass(frozen=True)
class TrainedRegressor:
    """A regressor with its weights, ready to predict.

    `names` say what it was trained on: keypoints, cameras, unit, how images were cut. `cfg` is the model's config.
    """

    model: ModalRegressor
    names: DatasetNames
    path: Path
    body_model_file: Path
    cfg: PartConfig

    @property
    def body(self) -> SMIL:
        """The body model."""
        return self.model.body_model

    def describe(self) -> dict[str, str]:
        """Return what it is, as JSON has it."""
        return {'type': self.cfg['type'], 'checkpoint': self.path.name, 'body_model': self.body.data.name}


def load_trained_regressor(
    checkpoint: str | Path,
    config: str | Path | None = None,
    body_model: str | Path | None = None,
    device: str | torch.device = 'cpu',
) -> TrainedRegressor:
    """Build the model that a checkpoint holds the weights of.

    Args:
        checkpoint: of a training by smilfit.
        config: the training's config, for checkpoints that do not hold the model's.
        body_model: a body model file or a shipped model's name, instead of the training's.
        device: where to compute.

    Raises:
        FileNotFoundError: no such checkpoint, config or body model.
        BadFileError: not such a file.
        ValueError: a checkpoint without the model's config where none is given, or of another body or model.
    """
    declare_scope()
    path = Path(checkpoint).expanduser()
    stored = read_checkpoint(path)
    entry = smilfit_entry(path, stored)
    names = names_of(path, entry)
    cfg = _model_cfg(path, entry, config)
    # Weights are checked below, so drawing them must not change anybody's random numbers.
    with torch.random.fork_rng(devices=()):
        body, reference = load_body_for(names, cfg, body_model, names.body_model, path)
        body_file = Path(reference.absolute or reference.given)
        result = body.data.hash_without_landmarks()
        check_body_model(str(path), entry, result, str(body_file))
        names = names_with_body(names, body, reference)
        model = build_regressor(cfg, body, TrainingStatistics.neutral(body.n_joints, names))
    check_weights(str(path), model, stored['state_dict'])
    model.load_state_dict(stored['state_dict'])
    model.statistics.calibration = entry.get('calibration') or {}
    return TrainedRegressor(model.to(device).eval(), names, path, body_file, cfg)


def names_of(path: str | Path, entry: Entry) -> DatasetNames:
    """Read what a checkpoint says of the data that it was trained on.

    Raises:
        BadFileError: values of a wrong kind.
    """
    result = {
        field.name: entry[field.name]
        for field in fields(DatasetNames)
        if field.name != 'body_model' and entry.get(field.name) is not None
    }
    kinds: dict[str, type | tuple[type, ...]] = {
        'target_resolution': int,
        'undistorted': bool,
        'bbox_margin': (int, float),
    }
    for name, value in result.items():
        if name.endswith('_names'):
            right = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
            result[name] = tuple(value) if right else value
        else:
            right = isinstance(value, kinds.get(name, str))
        if not right:
            raise BadFileError(
                f'{path}: {name} in a checkpoint must be of its kind; got {shorten(value)}. Take another checkpoint.'
            )
    if result.get('landmarks'):
        with reading(Path(path), 'landmarks in a checkpoint'):
            json.loads(result['landmarks'])
    return DatasetNames(**result, body_model=body_model_of_entry(path, entry))


def _model_cfg(path: Path, entry: Mapping[str, object], config: str | Path | None) -> PartConfig:
    if config is not None:
        cfg = load_experiment(config)
        with building(cfg):
            require_keys(cfg, ('model',), 'inference')
        return without_fetching(cfg.model.to_dict())
    kept = entry.get('config')
    # Checkpoints of before, and converted ones, have the model's alone, as text.
    stored = entry.get('model') or (kept.get('model') if isinstance(kept, Mapping) else None)
    result = model_of_checkpoint(str(path), stored)
    if result is None:
        raise ValueError(
            f"{path}: a checkpoint must hold its model's config to be used without one; this one does not (an older "
            'one, or a config with objects in it). Give the config of its training by --config FILE.'
        )
    return result
