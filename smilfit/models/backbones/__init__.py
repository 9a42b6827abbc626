"""Networks that turn an image into a grid of tokens."""

from smilfit.models.backbones.timm_backbone import TimmBackbone

__all__ = ['TimmBackbone']
