"""Readers of annotation formats, one a file."""

from smilfit.io.annotations.animalpose import AnimalPoseReader
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.masks import ImageMask, PolygonMask, RleMask
from smilfit.io.annotations.pictures import check_pictures, mask_box, read_picture, read_pictures
from smilfit.io.annotations.stanfordextra import StanfordExtraReader

__all__ = [
    'AnimalPoseReader',
    'AnnotationReader',
    'ImageMask',
    'PolygonMask',
    'RleMask',
    'StanfordExtraReader',
    'check_pictures',
    'mask_box',
    'read_picture',
    'read_pictures',
]
