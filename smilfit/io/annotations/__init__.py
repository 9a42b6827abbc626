"""Readers of annotation formats, one a file."""

from smilfit.io.annotations.animal3d import Animal3DReader
from smilfit.io.annotations.animalkey import AnimalKeyReader
from smilfit.io.annotations.anipose import AniposeReader
from smilfit.io.annotations.badja import BadjaReader
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.coco import CocoReader
from smilfit.io.annotations.deeplabcut import DeepLabCutReader, LightningPoseReader
from smilfit.io.annotations.grevyzebra import GrevyZebraReader
from smilfit.io.annotations.image_checks import check_images, mask_box, read_image, read_images
from smilfit.io.annotations.masks import ImageMask, PolygonMask, RleMask
from smilfit.io.annotations.replicant import ReplicantReader
from smilfit.io.annotations.sleap import SleapReader
from smilfit.io.annotations.stanfordextra import AnimalPoseReader, StanfordExtraReader
from smilfit.io.annotations.tigdog import TigDogReader

__all__ = [
    'Animal3DReader',
    'AnimalKeyReader',
    'AnimalPoseReader',
    'AniposeReader',
    'AnnotationReader',
    'BadjaReader',
    'CocoReader',
    'DeepLabCutReader',
    'GrevyZebraReader',
    'ImageMask',
    'LightningPoseReader',
    'PolygonMask',
    'ReplicantReader',
    'RleMask',
    'SleapReader',
    'StanfordExtraReader',
    'TigDogReader',
    'check_images',
    'mask_box',
    'read_image',
    'read_images',
]
