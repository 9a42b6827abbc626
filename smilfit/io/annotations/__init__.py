"""Readers of annotation formats, one a file."""

from smilfit.io.annotations.animalpose import AnimalPoseReader
from smilfit.io.annotations.badja import BadjaReader
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.coco import CocoReader
from smilfit.io.annotations.masks import ImageMask, PolygonMask, RleMask
from smilfit.io.annotations.pictures import check_pictures, mask_box, read_picture, read_pictures
from smilfit.io.annotations.replicant import ReplicantReader
from smilfit.io.annotations.sleap import SleapReader
from smilfit.io.annotations.stanfordextra import StanfordExtraReader

__all__ = [
    'AnimalPoseReader',
    'AnnotationReader',
    'BadjaReader',
    'CocoReader',
    'ImageMask',
    'PolygonMask',
    'ReplicantReader',
    'RleMask',
    'SleapReader',
    'StanfordExtraReader',
    'check_pictures',
    'mask_box',
    'read_picture',
    'read_pictures',
]
