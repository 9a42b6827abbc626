"""What all backbones out of timm share, and the one that gives a single grid of tokens an image."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.files.tensor_files import check_weight_names, read_tensor_file
from smilfit.networks.backbones.feature_cache import FeatureCache, names_of_images
from smilfit.networks.backbones.lora import LoRA
from smilfit.registry import MODELS, UnknownNameError, did_you_mean

logger = logging.getLogger('smilfit')

# Keys under which training scripts wrap a network's weights in a file.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict')
_PROBE_PX = 64


class TimmNetwork(nn.Module):
    """A timm network that gives some of its feature maps; the base of backbones.

    Images come as RGB in [0, 1] and are normalised here by the mean and deviation that the network was made
    for. Parameters that the chosen maps do not depend on (later stages, classifier) are removed or frozen,
    so that distributed training waits for none of them.

    Args:
        name: a timm model name.
        indices: which of the network's feature maps, counted as timm counts them; -1 is the last.
        checkpoint: a file of weights, read without running code; the classifier in it is ignored.
        pretrained: let timm download its weights.
        norm_eval: keep batch normalisation at its stored statistics, as befits pretrained weights and
            small batches.
        frozen: train none of it.
        frozen_stages: do not train what the first so many feature maps are made by.
        grad_checkpointing: compute activations anew in the backward pass, which takes less memory and more time.
        patch_padding: zeros around an image before a ViT cuts it into patches, px; 2 of ViTPose and AniMer, whose
            patches of 16 px lie 2 px further up and left.
        lora: arguments of `LoRA`, such as `dict(rank=8)`: the network is frozen, and small matrices beside its linear
            layers are trained; `merge_lora` makes one layer of each again.
        options: further arguments of `timm.create_model`.
        cache: keeps what the frozen network says of training images on disk, so that it says it once.

    Raises:
        ValueError: a cache for a network that is trained, a padding for one without patches, or lora for one that is
            frozen or has no such layers.
    """

    # A timm model, whose further methods torch's type does not have.
    network: Any
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        indices: Sequence[int] | None = None,
        *,
        checkpoint: str | Path | None = None,
        pretrained: bool = False,
        norm_eval: bool = False,
        frozen: bool = False,
        frozen_stages: int = 0,
        grad_checkpointing: bool = False,
        patch_padding: int = 0,
        lora: Mapping[str, Any] | None = None,
        options: Mapping[str, object] | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if cache is not None and not frozen:
            raise ValueError(
                f'{where}: a network whose maps are kept on disk must be frozen as a whole; got cache without '
                'frozen=True. Freeze it, or leave the cache out.'
            )
        self.cache = cache
        if not timm.is_model(name.split('.')[0]):
            raise UnknownNameError(
                f'{where}: no timm model {name!r}. {did_you_mean(name, timm.list_models())}'
            )
        self.name = name
        self.network = create_network(where, name, pretrained, dict(options or {}))
        self.patch_padding = patch_padding
        if patch_padding:
            self._pad_patches(where)
        if checkpoint is not None:
            load_weights(self.network, Path(checkpoint))
        wanted = list(self.default_indices() if indices is None else indices)
        self.indices = list(self.network.prune_intermediate_layers(wanted, prune_norm=False, prune_head=True))
        if lora is not None:
            self._add_lora(where, LoRA(**lora), frozen or frozen_stages > 0)
        config = self.network.pretrained_cfg
        for key in ('mean', 'std'):
            value = torch.tensor(config[key], dtype=torch.float32).reshape(3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        self.norm_eval, self.frozen = norm_eval, frozen
        self.map_dims = tuple(self._freeze_what_is_not_reached())
        if lora is not None:
            self._check_lora(where)
        if frozen:
            self.network.requires_grad_(False)
        elif frozen_stages:
            self._freeze_stages(frozen_stages)
        if grad_checkpointing:
            self._checkpoint_gradients()

    def _add_lora(self, where: str, lora: LoRA, frozen: bool) -> None:
        if frozen:
            raise ValueError(
                f'{where}: lora freezes the network itself; got frozen or frozen_stages beside it. Leave them out.'
            )
        self.lora_counts = lora.add_to(where, self.network)
        logger.info(
            '%s %s: lora of rank %d trains %d of %d numbers.', where, self.name, lora.rank, *self.lora_counts
        )

    def _check_lora(self, where: str) -> None:
        names = [
            name for name, p in self.network.named_parameters() if '.lora.' in name and not p.requires_grad
        ]
        if names:
            # Some networks read a layer's weights and do not call it.
            raise ValueError(
                f'{where}: layers with lora must be called on the way to the maps; {len(names) // 2} of '
                f'{self.name!r} are not, such as {names[0].partition(".lora")[0]}. Name others by '
                'lora=dict(layers=[...]).'
            )

    def _pad_patches(self, where: str) -> None:
        patches = getattr(getattr(self.network, 'patch_embed', None), 'proj', None)
        if not isinstance(patches, nn.Conv2d) or not 0 < self.patch_padding < patches.kernel_size[0] / 2:
            raise ValueError(
                f'{where}: patch_padding must be 0, or px below half the side of patches in a network that has them; '
                f'got {self.patch_padding} for {self.name!r}. Leave it out.'
            )
        patches.padding = (self.patch_padding, self.patch_padding)

    def default_indices(self) -> Sequence[int]:
        """Return the feature maps to take where none are named: the last."""
        return (-1,)

    def feature_maps(
        self, images: Float[Tensor, 'N 3 H W'], indices: Sequence[int] | None = None
    ) -> list[Tensor]:
        """Compute feature maps (N, D, h, w) of images in [0, 1], in the order of the network."""
        normalised = (images - self.mean) / self.std
        return self.network.forward_intermediates(
            normalised,
            indices=list(self.indices if indices is None else indices),
            norm=True,
            output_fmt='NCHW',
            intermediates_only=True,
        )

    def map_and_prefix(self, images: Float[Tensor, 'N 3 H W']) -> tuple[Tensor, Tensor]:
        """Compute the last map (N, D, h, w) of images in [0, 1] and the tokens (N, P, D) before its patches.

        The network must be a transformer with such tokens, as is a class token.
        """
        ((features, prefix),) = self.network.forward_intermediates(
            (images - self.mean) / self.std,
            indices=list(self.indices[-1:]),
            norm=True,
            output_fmt='NCHW',
            intermediates_only=True,
            return_prefix_tokens=True,
        )
        return features, prefix

    def kept_maps(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Return feature maps of images in [0, 1]; in training those that the cache has, if there is one.

        Predictions are of other images every time, so theirs are not kept.
        """
        if self.cache is None or not self.training:
            return self.feature_maps(images)
        kind = images.device.type
        number = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype
        setup = {'size': list(images.shape[-2:]), 'number': str(number)}
        return self.cache.features(self, names_of_images(images), images, setup)

    def train(self, mode: bool = True) -> 'TimmNetwork':
        """Set the mode; what is frozen, and normalisation where it was asked for, stays in evaluation."""
        super().train(mode)
        self.network.train(mode and not self.frozen)
        for module in self.network.modules():
            if not isinstance(module, nn.modules.batchnorm._BatchNorm):
                continue
            still = module.weight is not None and not module.weight.requires_grad
            if self.norm_eval or still:
                module.eval()
        return self

    def _freeze_what_is_not_reached(self) -> list[int]:
        """Freeze parameters without influence on the maps; returns the maps' channels."""
        maps, reached = self._reached_by(self.indices)
        for name, parameter in self.network.named_parameters():
            if name not in reached:
                parameter.requires_grad_(False)
        return [result.shape[1] for result in maps]

    def _freeze_stages(self, count: int) -> None:
        most = max(self.indices) + 1
        if not 0 <= count <= most:
            raise ValueError(
                f'{type(self).__name__}: frozen_stages must be from 0 to {most}, the feature maps of {self.name!r} '
                f'that are computed; got {count}. Set frozen=True to freeze all.'
            )
        _, reached = self._reached_by([count - 1])
        names = [name for name, p in self.network.named_parameters() if name in reached and p.requires_grad]
        for name in names:
            self.network.get_parameter(name).requires_grad_(False)
        logger.info(
            '%s %s: %d parameters of the first %d stages are frozen.',
            *(type(self).__name__, self.name, len(names), count),
        )

    def _reached_by(self, indices: Sequence[int]) -> tuple[list[Tensor], set[str]]:
        """Compute maps of a small image, and find the parameters that they depend on."""
        training = self.network.training
        self.network.eval()
        maps = self.feature_maps(torch.full((1, 3, *self._probe_size()), 0.5), indices)
        torch.stack([result.square().sum() for result in maps]).sum().backward()
        reached = {name for name, p in self.network.named_parameters() if p.grad is not None}
        for parameter in self.network.parameters():
            parameter.grad = None
        self.network.train(training)
        return [result.detach() for result in maps], reached

    def _checkpoint_gradients(self) -> None:
        try:
            self.network.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise ValueError(
                f'{type(self).__name__}: grad_checkpointing must be something that the network can do; timm '
                f'{timm.__version__} does not for {self.name!r}. Leave it out.'
            ) from error

    def _probe_size(self) -> tuple[int, int]:
        """Choose a small image that the network takes."""
        patches = getattr(self.network, 'patch_embed', None)
        if not getattr(self.network, 'dynamic_img_size', False):
            fixed = self.network.pretrained_cfg.get('fixed_input_size', False)
            own = getattr(patches, 'img_size', None) or self.network.pretrained_cfg['input_size'][1:]
            return (int(own[0]), int(own[1])) if fixed else (_PROBE_PX, _PROBE_PX)
        rows, columns = self.network.patch_embed.patch_size
        return 4 * rows, 4 * columns


def create_network(where: str, name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Make the network without a classifier; a ViT is asked to take images of any size."""
    network = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    known = inspect.signature(type(network).__init__).parameters
    if 'dynamic_img_size' in known and not {'dynamic_img_size', 'img_size'} & options.keys():
        network = timm.create_model(
            name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **options
        )
    if not hasattr(network, 'forward_intermediates'):
        raise TypeError(
            f'{where}: the network must give intermediate feature maps; timm {timm.__version__} '
            f'does not for {name!r}. Choose another, such as resnet50, convnext_tiny or vit_small_patch16_224.'
        )
    return network


def load_weights(network: Any, path: Path, advice: str = 'Give the file of this very timm model.') -> None:
    """Load a file of weights into the network, without running code; only the classifier may be left over."""
    what = 'a file of weights'
    loaded = read_tensor_file(path, what)
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    check_weight_names(path, what, loaded)
    classifier = getattr(network, 'pretrained_cfg', {}).get('classifier', ()) or ()
    classifier = (classifier,) if isinstance(classifier, str) else classifier
    weights = {
        key: value for key, value in loaded.items() if not key.startswith(tuple(f'{c}.' for c in classifier))
    }
    own = network.state_dict()
    wrong = sorted(own.keys() ^ weights.keys()) + sorted(
        key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape
    )
    if wrong:
        raise ValueError(
            f'{path}: the weights must be those of the network; {len(wrong)} of {len(own)} do not match, '
            f'such as {", ".join(wrong[:3])}. {advice}'
        )
    network.load_state_dict(weights)
    logger.info('backbone weights: %s (%d tensors)', path, len(weights))


@MODELS.register_module()
class TimmBackbone(TimmNetwork):
    """Compute the tokens of one feature map of a timm network: a CNN's cells, or a ViT's patches.

    Args:
        name: a timm model name.
        out_index: which of the network's feature maps, counted as timm counts them; -1 is the last.
        network: further arguments of `TimmNetwork`.
    """

    def __init__(
        self,
        name: str = 'resnet50',
        out_index: int = -1,
        **network: Any,
    ) -> None:
        super().__init__(name, [out_index], **network)
        (self.out_index,), (self.dim,) = self.indices, self.map_dims

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> Float[Tensor, 'N D h w']:
        """Compute the feature map of images in [0, 1]."""
        (features,) = self.kept_maps(images)
        return features
