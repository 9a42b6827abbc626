"""Networks that turn an image into a grid of tokens, or into maps of several strides."""

from smilfit.networks.backbones.pyramids import SmallUNet, TimmPyramid, ViTPyramid
from smilfit.networks.backbones.timm_network import TimmBackbone

__all__ = ['SmallUNet', 'TimmBackbone', 'TimmPyramid', 'ViTPyramid']
