"""Turn a checkpoint of SMILify's regressors into one of ours, with a config to test and train on."""

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smilfit.apis.network_options import CheckpointOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.shipped_configs import configs_folder
from smilfit.body_models import SMIL
from smilfit.engine import build_regressor
from smilfit.engine.checkpoint_loader import ENTRY, FORMAT_VERSION, check_weights, names_entry
from smilfit.engine.config_text import config_text
from smilfit.engine.model_building import load_body_for
from smilfit.engine.smilify_checkpoint import SmilifyCheckpoint, read_smilify_checkpoint
from smilfit.files import write_bytes, write_text
from smilfit.models.statistics import DatasetNames, TrainingStatistics
from smilfit.registry import read_config
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

# What scales joints there also scales what hangs on them.
BODY = {'type': 'SMIL', 'joint_scale_mode': 'inherited'}


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """What was written, and what of the file was not used."""

    checkpoint: Path
    config: Path
    camera_names: tuple[str, ...]
    left_out: tuple[str, ...]


@with_options(CheckpointOptions)
def convert_smilify_checkpoint(
    checkpoint: str | Path, out: str | Path, body_model: str | Path, options: CheckpointOptions
) -> ConvertedCheckpoint:
    """Convert a checkpoint, and write a config of the same name (.py) beside it.

    Args:
        checkpoint: SMILify's .pth; nothing in it is run.
        out: the checkpoint to write.
        body_model: the body model file of its training.

    Raises:
        FileExistsError: an output is there already.
        ValueError: another body model, or cameras that are not said.
    """
    out = check_output_file(out, 'OUT')
    config = out.with_suffix('.py')
    for path in (out, config):
        check_not_an_input(path, (checkpoint, body_model), 'OUT')
        if path.exists() and not options.force:
            raise FileExistsError(f'{path}: is there already. Give --force to replace it, or another name.')
    body, reference = load_body_for(DatasetNames(), {'body_model': dict(BODY)}, body_model)
    body_file = Path(reference.absolute or reference.given)
    found = read_smilify_checkpoint(checkpoint, body)
    names = DatasetNames(
        camera_names=_camera_names(checkpoint, found, options.camera_names),
        body_model_file=str(body_file),
        body_model_hash=body.data.hash_without_landmarks(),
        body_model=reference,
    )
    model_cfg = _model_cfg(found, names.camera_names, options.frame, options.unit)
    state = _converted_weights(str(checkpoint), found, model_cfg, body, names)
    entry = {
        'format_version': FORMAT_VERSION,
        'version': __version__,
        'summaries': {},
        'loss_weights': {},
        'model': json.dumps(model_cfg, sort_keys=True),
        **names_entry(names, out.parent),
    }
    buffer = io.BytesIO()
    torch.save(
        {'state_dict': state, 'meta': {'converted_from': 'SMILify', 'epoch': found.epoch}, ENTRY: entry},
        buffer,
    )
    write_bytes(out, buffer.getvalue())
    write_text(config, _test_config(model_cfg, body_file))
    logger.info(
        '%s: %d weights of %s; %d take no part and were left out: %s',
        out, len(found.weights), Path(checkpoint).name, len(found.left_out), ', '.join(found.left_out) or 'none',
    )  # fmt: skip
    return ConvertedCheckpoint(out, config, names.camera_names, found.left_out)


def _camera_names(
    checkpoint: str | Path, found: SmilifyCheckpoint, given: Sequence[str] | None
) -> tuple[str, ...]:
    names = tuple(given) if given is not None else found.camera_names
    if len(names) != found.n_cameras or len(set(names)) != len(names):
        said = f'the file says {found.camera_names}' if found.camera_names else 'the file does not say them'
        raise ValueError(
            f'{checkpoint}: the {found.n_cameras} cameras of the training must be named, each once; got {names}, and '
            f'{said}. Give --cameras NAME ... in alphabetical order, as SMILify numbers them.'
        )
    return names


def _model_cfg(
    found: SmilifyCheckpoint, camera_names: tuple[str, ...], frame: str | None, unit: float
) -> dict[str, Any]:
    said = found.regressor if frame is None else {**found.regressor, 'frame': frame}
    return {
        'type': 'SmilifyRegressor',
        'network': {'type': 'SmilifyNetwork', **found.network},
        'body_model': dict(BODY),
        'camera_names': list(camera_names),
        **said,
        'unit': unit,
    }


def _converted_weights(
    where: str, found: SmilifyCheckpoint, model_cfg: dict[str, Any], body: SMIL, names: DatasetNames
) -> dict[str, torch.Tensor]:
    """Give a whole state dict; every weight of the file must have its place."""
    model = build_regressor(model_cfg, body, TrainingStatistics.neutral(body.n_joints, names))
    check_weights(where, model.network, found.weights)
    model.network.load_state_dict(found.weights)
    return model.state_dict()


def _test_config(model_cfg: dict[str, Any], body_file: Path) -> str:
    base = configs_folder() / '_base_'
    cfg = read_config(base / 'datasets' / 'multiview.py').to_dict()
    runtime = read_config(base / 'default_runtime.py').to_dict()
    model = {**model_cfg, 'body_model': {**BODY, 'model_path': str(body_file)}}
    header = (
        'Written from a checkpoint of SMILify: tests it on a dataset file.',
        'test_dataloader.dataset.data_path names the file; --cfg-options can.',
        "Cameras of other names: model.cameras={'name in the data': 'name in the network'}.",
    )
    values = {
        **runtime,
        'model': model,
        'test_dataloader': cfg['test_dataloader'],
        'test_cfg': {'type': 'TestLoop'},
        'test_evaluator': [{'type': 'MultiViewPoseMetric'}],
    }
    return config_text(values, header)
