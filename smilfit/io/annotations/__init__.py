"""Readers of annotation formats, one a file."""

from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.masks import ImageMask, PolygonMask, RleMask
from smilfit.io.annotations.pictures import check_pictures, mask_box, read_picture, read_pictures

__all__ = [
    'AnnotationReader',
    'ImageMask',
    'PolygonMask',
    'RleMask',
    'check_pictures',
    'mask_box',
    'read_picture',
    'read_pictures',
]
