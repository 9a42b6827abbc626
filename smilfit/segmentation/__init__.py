"""Which pixels of an image show the animal: masks out of files, or found beside a fitted body."""

from smilfit.segmentation.background import BackgroundSubtraction
from smilfit.segmentation.base import Frame, Segmentation, Segmenter
from smilfit.segmentation.grab_cut import GrabCutSegmenter
from smilfit.segmentation.mask_files import MaskFiles
from smilfit.segmentation.plausibility import MaskLimits, contrast, joined_parts, why_implausible

__all__ = [
    'BackgroundSubtraction',
    'Frame',
    'GrabCutSegmenter',
    'MaskFiles',
    'MaskLimits',
    'Segmentation',
    'Segmenter',
    'contrast',
    'joined_parts',
    'why_implausible',
]
