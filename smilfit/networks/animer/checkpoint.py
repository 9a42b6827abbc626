"""Read AniMer's checkpoints, and ViTPose's backbones, and turn them into ours.

Names and shapes are those of AniMer's released network (arXiv 2412.00837). Its backbone is timm's ViT, but for the
padding of patches, the name of the last normalisation, and a position of the class token that is added to all
patches and not to the token.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smilfit.apis.network_options import AnimerOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.files import BadFileError, shorten
from smilfit.files.atomic import replacing
from smilfit.files.tensor_files import check_weight_names, read_tensor_file
from smilfit.networks.engine.checkpoint_loader import ENTRY, FORMAT_VERSION, check_weights
from smilfit.networks.engine.mmengine_scope import declare_scope
from smilfit.registry import MODELS, build
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

_WHAT = 'a checkpoint of AniMer or ViTPose'
Weights = Mapping[str, Tensor]
Plain = dict[str, Any]

# px, of AniMer and ViTPose alike.
IMAGE_SIZE = (256, 192)
PATCH_PADDING = 2
# Heads of attention, which shapes do not tell, by the width of ViTPose's four backbones.
BACKBONE_HEADS = {384: 12, 768: 12, 1024: 16, 1280: 16}
DECODER_HEADS = 8
# ImageNet's; timm's ViT of this name is for images about 0.5.
NORMALISATION = {'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}

_BACKBONE, _HEAD = 'backbone.', 'smal_head.'
# What a checkpoint of AniMer holds beside the network: what training compares with, and SMAL itself.
_OTHER_PARTS = (
    'class_token_head', 'discriminator', 'smal', 'shape_prior_loss', 'pose_prior_loss', 'initialized',
    'keypoint_head', 'associate_keypoint_heads',
)  # fmt: skip
_QUERY = ('transformer.to_token_embedding.bias', 'transformer.pos_embedding')
# The query is zero before this layer, so that its bias alone counts.
_IDLE = 'transformer.to_token_embedding.weight'
_RENAMED = (
    (r'transformer\.transformer\.layers\.(\d+)\.0\.norm\.(\w+)', r'layers.\1.norm_self.\2'),
    (r'transformer\.transformer\.layers\.(\d+)\.0\.fn\.(to_out\.0\.\w+)', r'layers.\1.self_attention.\2'),
    (r'transformer\.transformer\.layers\.(\d+)\.1\.norm\.(\w+)', r'layers.\1.norm_cross.\2'),
    (r'transformer\.transformer\.layers\.(\d+)\.1\.fn\.(to_kv\.weight|to_q\.weight|to_out\.0\.\w+)',
     r'layers.\1.cross_attention.\2'),
    (r'transformer\.transformer\.layers\.(\d+)\.2\.norm\.(\w+)', r'layers.\1.norm_feed.\2'),
    (r'transformer\.transformer\.layers\.(\d+)\.2\.fn\.net\.([03]\.\w+)', r'layers.\1.feed.\2'),
    (r'decpose\.(\w+)', r'pose.\1'),
    (r'decshape\.(\w+)', r'betas.\1'),
    (r'deccam\.(\w+)', r'camera.\1'),
    (r'init_pose', 'start_pose'),
    (r'init_betas', 'start_betas'),
    (r'init_cam', 'start_camera'),
)  # fmt: skip
_QKV = re.compile(r'transformer\.transformer\.layers\.(\d+)\.0\.fn\.to_qkv\.weight')


@dataclass(frozen=True)
class AnimerWeights:
    """A network's config and its weights by our names.

    `left_out` are tensors of known parts that take no part in it; `unknown` are names that no such file has.
    """

    model: Plain
    weights: dict[str, Tensor]
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]


def backbone_weights(weights: Weights) -> dict[str, Tensor]:
    """Rename a backbone's weights as timm has them, without a prefix.

    The first position is added to those of all patches, and the class token, if there is one, gets zero.
    """
    result = {}
    for name, value in weights.items():
        if name == 'pos_embed' and value.ndim == 3 and value.shape[1] > 1:
            grid = value[:, 1:] + value[:, :1]
            has_token = 'cls_token' in weights
            value = torch.cat((torch.zeros_like(grid[:, :1]), grid), 1) if has_token else grid
        result[re.sub(r'^last_norm\.', 'norm.', name)] = value
    return result


def head_weights(weights: Weights) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Rename a SMAL head's weights, without a prefix; return also what takes no part, and unknown names."""
    result, idle, unknown = {}, [], []
    bias, place = (weights.get(name) for name in _QUERY)
    if bias is not None and place is not None and place.numel() == bias.numel():
        result['query'] = bias + place.reshape(-1)
    for name, value in weights.items():
        if (match := _QKV.fullmatch(name)) is not None and len(value) % 3 == 0:
            query, rest = value.split((len(value) // 3, len(value) // 3 * 2))
            at = f'layers.{match[1]}.self_attention.'
            # A copy: a part of a tensor is written with the whole of it.
            result |= {f'{at}to_q.weight': query.clone(), f'{at}to_kv.weight': rest.clone()}
            continue
        new = next((re.sub(old, to, name) for old, to in _RENAMED if re.fullmatch(old, name)), None)
        if new is not None:
            result[new] = value
        elif name == _IDLE:
            idle.append(name)
        elif name not in _QUERY:
            unknown.append(name)
    return result, idle, unknown


def converted_weights(
    where: str, state: Weights, heads: int | None = None, n_iters: int = 1, backbone_only: bool = False
) -> AnimerWeights:
    """Find the network that a file's weights are of, and rename them; they must be whole and of the right shapes.

    Args:
        where: the file, for messages.
        state: its weights; the tensors may be without data (`meta`).
        heads: of the backbone's attention; by its width if None.
        n_iters: steps of the head.
        backbone_only: leave the head out.

    Raises:
        ValueError: names that are missing, or shapes of another network; lists them.
    """
    prefixed = any(name.startswith(_BACKBONE) for name in state)
    own = _under(state, _BACKBONE) if prefixed else dict(state)
    head = {} if backbone_only else _under(state, _HEAD)
    bare = backbone_weights(own)
    backbone = _backbone_cfg(where, bare, heads)
    weights, model = {f'network.{name}': value for name, value in bare.items()}, backbone
    left_out: list[str] = []
    unknown: list[str] = []
    if head:
        renamed, idle, unknown = head_weights(head)
        left_out, unknown = ([_HEAD + name for name in names] for names in (idle, unknown))
        weights = {f'backbone.{name}': value for name, value in weights.items()}
        weights |= {f'head.{name}': value for name, value in renamed.items()}
        model = {'type': 'AnimerNetwork', 'backbone': backbone, 'head': _head_cfg(where, renamed, n_iters)}
    taken = (_BACKBONE, _HEAD) if head else (_BACKBONE,)
    for name in state if prefixed else ():
        if not name.startswith(taken):
            known = name.split('.')[0] in _OTHER_PARTS or name.startswith(_HEAD)
            (left_out if known else unknown).append(name)
    network = _without_data(model)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    unknown += [name for name in weights if name not in shapes]
    weights = {name: value for name, value in weights.items() if name in shapes}
    _check_whole(where, shapes, weights, unknown)
    if not any(value.is_meta for value in weights.values()):
        check_weights(where, network, weights)
    return AnimerWeights(model, weights, tuple(sorted(left_out)), tuple(sorted(unknown)))


def _under(state: Weights, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _count(weights: Weights, pattern: str) -> int:
    return len({match[1] for name in weights if (match := re.match(pattern, name))})


def _sized(where: str, weights: Weights, name: str, n_dims: int) -> Tensor:
    """Return a tensor that says a size.

    Raises:
        BadFileError: it is not there, or of another number of dimensions.
    """
    value = weights.get(name)
    if value is None or value.ndim != n_dims:
        got = 'none' if value is None else str(tuple(value.shape))
        raise BadFileError(
            f'{where}: {_WHAT} must hold a tensor of {n_dims} dimensions that becomes {name!r}; got {got}. Take '
            "AniMer's checkpoint.ckpt, or ViTPose's backbone."
        )
    return value


def _backbone_cfg(where: str, weights: Weights, heads: int | None) -> Plain:
    patches = _sized(where, weights, 'patch_embed.proj.weight', 4)
    hidden = _sized(where, weights, 'blocks.0.mlp.fc1.weight', 2)
    width = len(patches)
    heads = BACKBONE_HEADS.get(width) if heads is None else heads
    if heads is None or heads < 1 or width % heads:
        raise ValueError(
            f'{where}: the heads of the backbone must be known by its width, one of {tuple(BACKBONE_HEADS)}, or '
            f'given; got {width} channels and heads={heads}. Give --heads N, a divisor of the width.'
        )
    return {
        'type': 'TimmBackbone',
        'name': 'vit_base_patch16_224',
        'patch_padding': PATCH_PADDING,
        'options': {
            'img_size': list(IMAGE_SIZE),
            'patch_size': int(patches.shape[-1]),
            'embed_dim': width,
            'depth': _count(weights, r'blocks\.(\d+)\.'),
            'num_heads': heads,
            'mlp_ratio': len(hidden) / width,
            'class_token': 'cls_token' in weights,
            'global_pool': '',
            'pretrained_cfg_overlay': dict(NORMALISATION),
        },
    }


def _head_cfg(where: str, weights: Weights, n_iters: int) -> Plain:
    n_pose, n_betas = (len(_sized(where, weights, f'{name}.weight', 2)) for name in ('pose', 'betas'))
    inner = _sized(where, weights, 'layers.0.cross_attention.to_q.weight', 2)
    return {
        'type': 'SmalDecoderHead',
        'n_joints': n_pose // 6,
        'n_betas': n_betas,
        'context_dim': _sized(where, weights, 'layers.0.cross_attention.to_kv.weight', 2).shape[1],
        'dim': inner.shape[1],
        'n_layers': _count(weights, r'layers\.(\d+)\.'),
        'n_heads': DECODER_HEADS,
        'dim_head': len(inner) // DECODER_HEADS,
        'mlp_dim': len(_sized(where, weights, 'layers.0.feed.0.weight', 2)),
        'n_iters': n_iters,
    }


def _without_data(model: Plain) -> nn.Module:
    """Build a network that takes no memory."""
    declare_scope()
    with torch.random.fork_rng(devices=()), torch.device('meta'):
        return build(model, MODELS)


def _check_whole(
    where: str, shapes: Mapping[str, tuple[int, ...]], weights: Weights, unknown: Sequence[str]
) -> None:
    missing = sorted(shapes.keys() - weights.keys())
    other = [
        f'{name} {tuple(value.shape)} instead of {shapes[name]}'
        for name, value in sorted(weights.items())
        if tuple(value.shape) != shapes[name]
    ]
    parts = [
        f'{len(names)} {what}: {", ".join(map(shorten, names))}'
        for what, names in (('missing', missing), ('of another shape', other), ('left over', unknown))
        if names
    ]
    if missing or other:
        raise ValueError(
            f"{where}: the weights must be those of AniMer's network, by our names; {'; '.join(parts)}. Take a whole "
            'checkpoint.'
        )


@dataclass(frozen=True)
class ConvertedAnimer:
    """What was written: the network's class, how many tensors, and what of the file was not used."""

    checkpoint: Path
    type: str
    n_tensors: int
    n_numbers: int
    left_out: Mapping[str, int]
    unknown: tuple[str, ...]


@with_options(AnimerOptions)
def convert_animer_checkpoint(
    checkpoint: str | Path, out: str | Path, options: AnimerOptions
) -> ConvertedAnimer:
    """Convert AniMer's checkpoint, or a ViTPose backbone, without running code.

    Of AniMer's the result is read by `load_animer`; of a backbone it is the `checkpoint` of a `TimmBackbone` or
    `ViTPyramid` whose other arguments the result holds under `backbone`.

    Args:
        checkpoint: AniMer's .ckpt, or ViTPose's .pth; nothing in it is run, and no more than its weights is read.
        out: the checkpoint to write.

    Raises:
        FileNotFoundError: no such file.
        FileExistsError: the output is there already.
        BadFileError: another kind of file.
        ValueError: weights that are missing or of other shapes; lists them.
    """
    out, path = check_output_file(out, 'OUT'), Path(checkpoint).expanduser()
    check_not_an_input(out, (path,), 'OUT')
    if out.exists() and not options.force:
        raise FileExistsError(f'{out}: is there already. Give --force to replace it, or another name.')
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such checkpoint. AniMer's is data/AniMer/checkpoints/checkpoint.ckpt."
        )
    loaded = read_tensor_file(path, _WHAT, only=('state_dict', 'model'))
    state = loaded.get('state_dict', loaded.get('model')) if isinstance(loaded, Mapping) else None
    if state is None:
        raise BadFileError(f'{path}: {_WHAT} must hold "state_dict"; it does not. Take another one.')
    check_weight_names(path, _WHAT, state)
    result = converted_weights(str(path), state, options.heads, options.n_iters, options.backbone_only)
    _write(out, result)
    for name in result.unknown:
        logger.warning('%s: left over, of a name that no such network has: %s', path, shorten(name))
    parts = Counter(name.split('.')[0] for name in result.left_out)
    n_numbers = sum(value.numel() for value in result.weights.values())
    kind = str(result.model['type'])
    return ConvertedAnimer(out, kind, len(result.weights), n_numbers, dict(parts), result.unknown)


def _write(out: Path, result: AnimerWeights) -> None:
    content: dict[str, object] = {'meta': {'converted_from': 'AniMer'}}
    if result.model['type'] == 'AnimerNetwork':
        model = json.dumps(result.model, sort_keys=True)
        content |= {'state_dict': result.weights}
        content[ENTRY] = {'format_version': FORMAT_VERSION, 'version': __version__, 'model': model}
    else:
        # As timm has them: read by a backbone's `checkpoint`.
        bare = {name.removeprefix('network.'): value for name, value in result.weights.items()}
        content |= {'state_dict': bare, 'backbone': json.dumps(result.model, sort_keys=True)}
    size = sum(value.numel() * value.element_size() for value in result.weights.values())
    with replacing(out, size) as temporary:
        torch.save(content, temporary)
