"""Networks that turn an image into a grid of tokens, or into maps of several strides."""

from smilfit.models.backbones.small_unet import SmallUNet
from smilfit.models.backbones.timm_backbone import TimmBackbone
from smilfit.models.backbones.timm_pyramid import TimmPyramid
from smilfit.models.backbones.vit_pyramid import ViTPyramid

__all__ = ['SmallUNet', 'TimmBackbone', 'TimmPyramid', 'ViTPyramid']
