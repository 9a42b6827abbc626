"""The backbones of SMILify's networks: one vector an image, and tokens where a backbone has any.

Attributes are called as in SMILify's weight files, so that names of weights are the same.
"""

from collections.abc import Mapping
from typing import NamedTuple

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.registry import UnknownNameError, did_you_mean

# Encoder and widths of the decoder, coarse to fine, by SMILify's name of a UNet.
UNETS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    'unet_efficientnet_b0': ('efficientnet_b0', (128, 64, 32)),
    'unet_efficientnet_b3': ('efficientnet_b3', (256, 128, 64)),
    'unet_efficientnet_b5': ('efficientnet_b5', (256, 128, 64)),
    'unet_resnet34': ('resnet34', (256, 128, 64)),
    'unet_resnet50': ('resnet50', (256, 128, 64)),
    'unet_convnext_base': ('convnext_base', (512, 256, 128)),
    'unet_mobilenet_v3': ('mobilenetv3_large_100', (128, 64, 32)),
}
RESNETS = ('resnet50', 'resnet101', 'resnet152')
VITS = ('vit_base_patch16_224', 'vit_large_patch16_224')
BACKBONES = (*RESNETS, *VITS, *UNETS)
# Of the UNet's maps, coarse to fine, the decoder head reads this one.
_LEVEL = 1
_PROBE_PX = 64


class Features(NamedTuple):
    """What a backbone sees in each image: a vector, and tokens (None of a ResNet)."""

    vector: Float[Tensor, 'N D']
    tokens: Float[Tensor, 'N P E'] | None


class SmilifyBackbone(nn.Module):
    """Normalise images, and see them.

    Args:
        name: one of `BACKBONES`.
        pretrained: let timm download its weights.
        with_tokens: whether anybody reads them; else a UNet's way up is neither run nor trained.
    """

    def __init__(self, name: str, pretrained: bool = False, with_tokens: bool = True) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise UnknownNameError(f'SmilifyBackbone: no backbone {name!r}. {did_you_mean(name, BACKBONES)}')
        self.name = name
        if name in UNETS:
            self.backbone: nn.Module = _UNet(*UNETS[name], pretrained, with_tokens)
            self.dim, self.token_dim = self.backbone.dim, UNETS[name][1][_LEVEL]
            config = timm.get_pretrained_cfg(UNETS[name][0])
        elif name in VITS:
            self.backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool='')
            self.dim = self.token_dim = self.backbone.num_features
            config = timm.get_pretrained_cfg(name)
        else:
            network = timm.create_model(name, pretrained=pretrained)
            # Numbered, as the parts of a ResNet are in the files; the classifier is left out.
            self.backbone = nn.Sequential(*list(network.children())[:-1])
            self.dim, self.token_dim = network.num_features, None
            config = timm.get_pretrained_cfg(name)
        for key in ('mean', 'std'):
            value = torch.tensor(getattr(config, key)).reshape(1, 3, 1, 1)
            self.register_buffer(f'pixel_{key}', value)

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> Features:
        """See images in [0, 1]."""
        x = (images - self.pixel_mean) / self.pixel_std
        if self.name in UNETS:
            return self.backbone(x)
        if self.name in VITS:
            tokens = self.backbone.forward_features(x)
            return Features(tokens[:, 0], tokens[:, 1:])
        return Features(self.backbone(x).flatten(1), None)


class _UNet(nn.Module):
    """A timm encoder, and three blocks that bring its last map up to finer ones."""

    def __init__(
        self, encoder: str, widths: tuple[int, int, int], pretrained: bool, with_tokens: bool
    ) -> None:
        super().__init__()
        self.encoder = timm.create_model(encoder, pretrained=pretrained, features_only=True)
        self.encoder.eval()
        with torch.no_grad():
            channels = [m.shape[1] for m in self.encoder(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX))]
        self.encoder.train()
        self.dim = channels[-1]
        below = channels[-2::-1]
        ins = (self.dim, *widths[:-1])
        self.decode_blocks = nn.ModuleList(
            _DecodeBlock(a + (below[i] if i < len(below) else 0), b)
            for i, (a, b) in enumerate(zip(ins, widths))
        )
        # What nobody reads is kept so that files are whole.
        self.n_read = _LEVEL + 1 if with_tokens else 0
        self.decode_blocks[self.n_read :].requires_grad_(False)

    def forward(self, x: Tensor) -> Features:
        maps = self.encoder(x)
        vector = maps[-1].mean((2, 3))
        if not self.n_read:
            return Features(vector, None)
        finer = maps[-2::-1]
        seen = maps[-1]
        for i in range(self.n_read):
            seen = self.decode_blocks[i](seen, finer[i] if i < len(finer) else None)
        return Features(vector, seen.flatten(2).transpose(1, 2))


class _DecodeBlock(nn.Module):
    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_dim, dim):
            layers += [nn.Conv2d(channels, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=False)
        return self.conv(x if finer is None else torch.cat((x, finer), 1))
