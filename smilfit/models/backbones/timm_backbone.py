"""Any timm network as a backbone that gives one grid of tokens an image."""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.files.tensor_files import check_weight_names, read_tensor_file
from smilfit.registry import MODELS, UnknownNameError, did_you_mean

logger = logging.getLogger('smilfit')

# Keys under which training scripts wrap a network's weights in a file.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict')
_PROBE_PX = 64


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """Give the tokens of one feature map of a timm network: a CNN's cells, or a ViT's patches.

    Images come as RGB in [0, 1] and are normalised here by the mean and deviation that the network was made
    for. Parameters that the chosen map does not depend on (later stages, classifier) are removed or frozen,
    so that distributed training waits for none of them.

    Args:
        name: a timm model name.
        checkpoint: a file of weights, read without running code; the classifier in it is ignored.
        pretrained: let timm download its weights.
        out_index: which of the network's feature maps, counted as timm counts them; -1 is the last.
        norm_eval: keep batch normalisation at its stored statistics, as befits pretrained weights and
            small batches.
        frozen: train none of it.
        options: further arguments of `timm.create_model`.
    """

    def __init__(
        self,
        name: str = 'resnet50',
        checkpoint: str | Path | None = None,
        pretrained: bool = False,
        out_index: int = -1,
        norm_eval: bool = False,
        frozen: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(name.split('.')[0]):
            raise UnknownNameError(
                f'TimmBackbone: no timm model {name!r}. {did_you_mean(name, timm.list_models())}'
            )
        self.name = name
        self.network = _create(name, pretrained, dict(options or {}))
        if checkpoint is not None:
            _load_weights(self.network, Path(checkpoint))
        (self.out_index,) = self.network.prune_intermediate_layers(
            [out_index], prune_norm=False, prune_head=True
        )
        config = self.network.pretrained_cfg
        for key in ('mean', 'std'):
            value = torch.tensor(config[key], dtype=torch.float32).reshape(3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        self.norm_eval = norm_eval
        self.frozen = frozen
        self.dim = self._freeze_what_is_not_reached()
        if frozen:
            self.requires_grad_(False)

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> Float[Tensor, 'N D h w']:
        """Compute the feature map of images in [0, 1]."""
        normalised = (images - self.mean) / self.std
        (features,) = self.network.forward_intermediates(
            normalised, indices=[self.out_index], norm=True, output_fmt='NCHW', intermediates_only=True
        )
        return features

    def train(self, mode: bool = True) -> 'TimmBackbone':
        """Set the mode; normalisation layers stay in evaluation where they were asked to."""
        super().train(mode and not self.frozen)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _freeze_what_is_not_reached(self) -> int:
        """Freeze parameters without influence on the map; returns the map's channels."""
        training = self.network.training
        self.network.eval()
        features = self(torch.full((1, 3, *self._probe_size()), 0.5))
        features.square().sum().backward()
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.requires_grad_(False)
            parameter.grad = None
        self.network.train(training)
        return features.shape[1]

    def _probe_size(self) -> tuple[int, int]:
        """Choose a small image that the network takes."""
        patches = getattr(self.network, 'patch_embed', None)
        if not getattr(self.network, 'dynamic_img_size', False):
            fixed = self.network.pretrained_cfg.get('fixed_input_size', False)
            own = getattr(patches, 'img_size', None) or self.network.pretrained_cfg['input_size'][1:]
            return tuple(own) if fixed else (_PROBE_PX, _PROBE_PX)
        rows, columns = patches.patch_size
        return 4 * rows, 4 * columns


def _create(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Make the network without a classifier; a ViT is asked to take images of any size."""
    network = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    known = inspect.signature(type(network).__init__).parameters
    if 'dynamic_img_size' in known and not {'dynamic_img_size', 'img_size'} & options.keys():
        network = timm.create_model(
            name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **options
        )
    if not hasattr(network, 'forward_intermediates'):
        raise TypeError(
            f'TimmBackbone: the network must give intermediate feature maps; timm {timm.__version__} '
            f'does not for {name!r}. Choose another, such as resnet50, convnext_tiny or vit_small_patch16_224.'
        )
    return network


def _load_weights(network: nn.Module, path: Path) -> None:
    """Load a file of weights into the network, without running code; only the classifier may be left over."""
    what = 'a file of weights'
    loaded = read_tensor_file(path, what)
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    check_weight_names(path, what, loaded)
    classifier = network.pretrained_cfg.get('classifier', ()) or ()
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
            f'such as {", ".join(wrong[:3])}. Give the file of this very timm model.'
        )
    network.load_state_dict(weights)
    logger.info('backbone weights: %s (%d tensors)', path, len(weights))
