"""Read SMILify's regressor checkpoints, and turn one into ours, with a config to test and train on."""

import io
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from smilfit.apis.network_options import CheckpointOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.shipped_configs import configs_folder
from smilfit.body_models import SMIL
from smilfit.files import BadFileError, shorten, write_bytes, write_text
from smilfit.files.tensor_files import check_weight_names, read_tensor_file
from smilfit.networks.engine.checkpoint_loader import ENTRY, FORMAT_VERSION, check_weights, names_entry
from smilfit.networks.engine.model_building import build_regressor, load_body_for
from smilfit.networks.training_set import DatasetNames, TrainingStatistics
from smilfit.registry import did_you_mean, read_config
from smilfit.smilify.config_text import Plain, Stated, config_text
from smilfit.smilify.dataset_files import LARGEST_MM, MILLIMETRES, SMALLEST_MM, unit_by_size
from smilfit.smilify.layers import BACKBONES, VITS
from smilfit.smilify.regressor import SmilifyRegressor
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

_WHAT = 'a SMILify checkpoint'
# The optimisation fitter from which SMILify's networks are derived; no part of the forward pass.
_FITTER = ('betas', 'log_beta_scales', 'betas_trans', 'global_rotation', 'trans', 'joint_rotations', 'fov')
_ROTATIONS = {'6d': 'rot6d', 'axis_angle': 'axis_angle'}
_MLP = re.compile(r'(fc|ln)([123])\.(.*)')


@dataclass(frozen=True)
class SmilifyCheckpoint:
    """A file of SMILify's training.

    `network` and `regressor` are arguments of `SmilifyNetwork` (but for the body's sizes) and `SmilifyRegressor`.
    `camera_names` is empty where the file does not say them; `left_out` are weights that take no part.
    """

    network: Plain
    regressor: Plain
    camera_names: tuple[str, ...]
    weights: dict[str, Tensor]
    left_out: tuple[str, ...]
    smal_file: str | None
    epoch: int | None

    @property
    def n_cameras(self) -> int:
        """How many cameras the network knows; 0 of a single view."""
        return self.network.get('n_cameras', 0)


def read_smilify_checkpoint(path: str | Path, body: SMIL) -> SmilifyCheckpoint:
    """Read a checkpoint of `train_multiview_regressor` or `train_smil_regressor`, without running code.

    Args:
        path: the .pth file.
        body: the body model of its training; the file names only a path.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another kind of file.
        ValueError: the network is for another number of joints or betas.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint. SMILify writes them to its checkpoint_dir.')
    loaded = read_tensor_file(path, _WHAT)
    if not isinstance(loaded, Mapping) or not isinstance(loaded.get('model_state_dict'), Mapping):
        raise BadFileError(
            f'{path}: {_WHAT} must hold "model_state_dict"; got {shorten(loaded)}. A checkpoint of smilfit needs no '
            'conversion.'
        )
    state, config = loaded['model_state_dict'], loaded.get('config')
    check_weight_names(path, _WHAT, state)
    if not isinstance(config, Mapping):
        raise BadFileError(
            f'{path}: {_WHAT} must hold "config"; got {shorten(config)}. Older ones do not say '
            'what their network is: save it again by a newer SMILify.'
        )
    model = {**config, **(config.get('model_config') or {})}
    weights, left_out = _weights(state)
    epoch = loaded.get('epoch')
    return SmilifyCheckpoint(
        network=_network(path, weights, model, body),
        regressor=_regressor(weights, model),
        camera_names=tuple(str(name) for name in model.get('canonical_camera_order') or ()),
        weights=weights,
        left_out=left_out,
        smal_file=config.get('smal_file'),
        epoch=epoch if isinstance(epoch, int) else None,
    )


def _weights(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Rename the fully connected head's weights, and leave out what is not used."""
    weights, left_out = {}, []
    decoding = any(key.startswith('transformer_head.') for key in state)
    for key, value in state.items():
        if key in _FITTER or (decoding and key.startswith('body_aggregator.')):
            left_out.append(key)
            continue
        result = _MLP.fullmatch(key)
        if result is not None:
            kind = 'linears' if result[1] == 'fc' else 'norms'
            key = f'trunk.{kind}.{int(result[2]) - 1}.{result[3]}'
        weights[key] = value
    return weights, tuple(left_out)


def _network(path: Path, weights: Mapping[str, Tensor], config: Stated, body: SMIL) -> Plain:
    """Return what the network is: sizes from its weights, the rest from the config."""
    backbone = config.get('backbone_name')
    if backbone not in BACKBONES:
        raise BadFileError(
            f"{path}: backbone_name must be one of SMILify's; got {shorten(backbone)}. "
            f'{did_you_mean(str(backbone), BACKBONES)}'
        )
    rotation = config.get('rotation_representation')
    rotation = (
        (config.get('training_params') or {}).get('rotation_representation') if rotation is None else rotation
    )
    if rotation not in _ROTATIONS:
        raise BadFileError(
            f'{path}: rotation_representation must be one of {sorted(_ROTATIONS)}; got {shorten(rotation)}. Take '
            'another checkpoint.'
        )
    n_cameras = _count(weights, 'camera_heads')
    result: Plain = {'backbone': backbone, 'n_cameras': n_cameras, 'rotation': _ROTATIONS[rotation]}
    per_rotation = 6 if rotation == '6d' else 3
    decoding = 'transformer_head.pose_head.weight' in weights
    if decoding:
        result |= _decoder(weights, config)
        pose, betas = (len(weights[f'transformer_head.{n}_head.weight']) for n in ('pose', 'betas'))
        n_sizes = len(weights.get('transformer_head.scales_head.weight', ()))
    elif 'regressor.weight' in weights:
        result |= {'head': 'mlp', 'dim': len(weights['trunk.linears.0.weight'])}
        pose, betas = per_rotation * body.n_joints, body.n_betas
        # All outputs of one layer: what is neither pose, betas, translation nor camera is scales and offsets.
        n_sizes, odd = divmod(len(weights['regressor.weight']) - pose - betas - 16, 2)
        pose = -1 if odd or n_sizes < 0 else pose
    else:
        raise BadFileError(
            f'{path}: {_WHAT} must hold a regression head; it does not. Take another checkpoint.'
        )
    kinds = {0: 'none', 3 * body.n_joints: 'joints', body.n_betas: 'betas'}
    if pose != per_rotation * body.n_joints or betas != body.n_betas or n_sizes not in kinds:
        of = f'{pose // per_rotation} joints, {betas} betas' if pose > 0 else 'another number of joints'
        raise ValueError(
            f'{path}: the body model must be that of the training ({config.get("smal_file")!r}; {of}); got '
            f'{body.data.name!r} with {body.n_joints} joints, {body.n_betas} betas. Give its file by --body-model.'
        )
    result['joint_sizes'] = kinds[n_sizes]
    if n_cameras:
        heads = int(config.get('cross_attention_heads', 8))
        result |= {'fusion_layers': _count(weights, 'view_fusion.layers'), 'fusion_heads': heads}
        result['fusion_dropout'] = float(config.get('cross_attention_dropout', 0.1))
    return result


def _decoder(weights: Mapping[str, Tensor], config: Stated) -> Plain:
    stated = config.get('transformer_config') or {}
    first = 'transformer_head.layers.0.'
    heads = int(stated.get('heads', 8))
    return {
        'head': 'transformer_decoder',
        'mesh_scale': 'transformer_head.mesh_scale_head.weight' in weights,
        'dim': len(weights['transformer_head.token_embedding.weight']),
        'depth': _count(weights, 'transformer_head.layers'),
        'heads': heads,
        'dim_head': len(weights[first + 'cross_attn.to_q.weight']) // heads,
        'mlp_dim': len(weights[first + 'ff.net.0.weight']),
        'dropout': float(stated.get('dropout', 0.0)),
        'n_iters': int(stated.get('ief_iters', 3)),
        'scale_step': float(stated.get('scales_scale_factor', 1)),
        'offset_step': float(stated.get('trans_scale_factor', 0.01)),
    }


def _regressor(weights: Mapping[str, Tensor], config: Stated) -> Plain:
    """Return where the network's numbers live, as SMILify's own inference decides it."""
    single = not _count(weights, 'camera_heads')
    camera_frame = bool(config.get('fixed_camera', config.get('frame_convention') == 'camera_centric'))
    by_ten = bool(config.get('use_ue_scaling', single and not camera_frame))
    scaled = 'transformer_head.mesh_scale_head.weight' in weights
    mode = config.get('scale_trans_mode')
    separate = (config.get('scale_trans_config') or {}).get('separate') or {}
    by_weights = mode == 'separate' and bool(separate.get('use_pca_transformation', True))
    result = {
        'placement': 'root_by_ten' if by_ten else 'root_scaled' if scaled else 'as_posed',
        'by_directions': mode == 'entangled_with_betas' or by_weights,
        'resolution': _resolution(config),
    }
    if single:
        own = {'frame': 'own', 'camera_use': 'predicted'}
        return result | ({'frame': 'first_camera', 'camera_use': 'given'} if camera_frame else own)
    corrected = bool(config.get('use_gt_camera_init', True))
    return result | {'frame': 'world', 'camera_use': 'corrected' if corrected else 'predicted'}


def _resolution(config: Stated) -> int | None:
    """Return the side of the images that the network was trained on, px; None where it is not said."""
    stated = config.get('input_resolution')
    return 224 if config.get('backbone_name') in VITS else int(stated) if stated else None


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    start = len(prefix) + 1
    result = {key[start:].split('.')[0] for key in weights if key.startswith(prefix + '.')}
    return len(result)


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
    result = read_smilify_checkpoint(checkpoint, body)
    names = DatasetNames(
        camera_names=_camera_names(checkpoint, result, options.camera_names),
        body_model_file=str(body_file),
        body_model_hash=body.data.hash_without_landmarks(),
        body_model=reference,
    )
    model_cfg = _model_cfg(result, names.camera_names, options.frame)
    model = _converted_model(str(checkpoint), result, model_cfg, body, names)
    model_cfg['unit'] = _unit(checkpoint, _animal_size(model), options.unit)
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
        {
            'state_dict': model.state_dict(),
            'meta': {'converted_from': 'SMILify', 'epoch': result.epoch},
            ENTRY: entry,
        },
        buffer,
    )
    write_bytes(out, buffer.getvalue())
    write_text(config, _test_config(model_cfg, body_file))
    logger.info(
        '%s: %d weights of %s; %d take no part and were left out: %s',
        out, len(result.weights), Path(checkpoint).name, len(result.left_out), ', '.join(result.left_out) or 'none',
    )  # fmt: skip
    return ConvertedCheckpoint(out, config, names.camera_names, result.left_out)


def _camera_names(
    checkpoint: str | Path, source: SmilifyCheckpoint, given: Sequence[str] | None
) -> tuple[str, ...]:
    names = tuple(given) if given is not None else source.camera_names
    if len(names) != source.n_cameras or len(set(names)) != len(names):
        stated = (
            f'the file says {source.camera_names}' if source.camera_names else 'the file does not say them'
        )
        raise ValueError(
            f'{checkpoint}: the {source.n_cameras} cameras of the training must be named, each once; got {names}, '
            f'and {stated}. Give --cameras NAME ... in alphabetical order, as SMILify numbers them.'
        )
    return names


def _model_cfg(source: SmilifyCheckpoint, camera_names: tuple[str, ...], frame: str | None) -> Plain:
    stated = source.regressor if frame is None else {**source.regressor, 'frame': frame}
    return {
        'type': 'SmilifyRegressor',
        'network': {'type': 'SmilifyNetwork', **source.network},
        'body_model': dict(BODY),
        'camera_names': list(camera_names),
        **stated,
    }


def _unit(checkpoint: str | Path, size: float, given: float | None) -> float:
    """Choose how many of the data's units are one of the network's: the user's, else by the animal's size.

    SMILify brings lengths to m; its data, and files that smilfit makes of them, are in mm (`unit_by_size`).
    """
    unit = given or (MILLIMETRES['m'] if unit_by_size(size) == 'm' else 1.0)
    what = f'{checkpoint}: the network predicts an animal of {size:.4g} units'
    if given is None:
        known = {'m': 'as in m; data are taken to be in mm', 'mm': 'as in mm, in which data are taken to be'}
        words = known.get(
            unit_by_size(size) or '', 'which do not tell one, and are taken for those of the data'
        )
        logger.warning('%s, %s: --unit %g (--unit says otherwise).', what, words, unit)
    elif not any(SMALLEST_MM < size * unit * factor < LARGEST_MM for factor in MILLIMETRES.values()):
        logger.warning(
            'SUSPECTED: %s, with --unit %g of %.4g of the data: no animal has that size in mm, cm or m.',
            *(what, unit, size * unit),
        )
    return unit


@torch.no_grad()
def _animal_size(model: SmilifyRegressor) -> float:
    """Return the largest side of the joints' box of what a network predicts of grey images, its own unit."""
    views, side = max(1, model.network.n_cameras), model.resolution or 224
    eye = torch.eye(3).expand(1, views, 3, 3)
    inputs = {
        'image': torch.full((1, views, 3, side, side), 0.5),
        'view_mask': torch.ones(1, views, dtype=torch.bool),
        'K': torch.tensor([[side, 0, side / 2], [0, side, side / 2], [0, 0, 1.0]]).expand(1, views, 3, 3),
        'R': eye,
        't': torch.tensor([0.0, 0, 1]).expand(1, views, 3),
        'dist': torch.zeros(1, views, 5),
        'size': torch.full((1, views, 2), float(side)),
    }
    model.use_cameras(model.cameras.known)
    joints = model.body_model(model.eval().predict_parameters(inputs).steps[-1]).joints[0]
    return float((joints.amax(0) - joints.amin(0)).max())


def _converted_model(
    where: str, source: SmilifyCheckpoint, model_cfg: Plain, body: SMIL, names: DatasetNames
) -> SmilifyRegressor:
    """Build the model of the file; every weight of it must have its place."""
    model = build_regressor(model_cfg, body, TrainingStatistics.neutral(body.n_joints, names))
    check_weights(where, model.network, source.weights)
    model.network.load_state_dict(source.weights)
    return model


def _test_config(model_cfg: Plain, body_file: Path) -> str:
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
