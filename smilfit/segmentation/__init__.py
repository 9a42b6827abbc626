"""Which pixels show the animal: masks out of files, or found beside a fitted body; and fits of shape to them."""

from smilfit.segmentation.background import BackgroundSubtraction
from smilfit.segmentation.base import Frame, Segmentation, Segmenter
from smilfit.segmentation.frame_choice import spread_frames
from smilfit.segmentation.grab_cut import GrabCutSegmenter
from smilfit.segmentation.mask_files import MaskFiles
from smilfit.segmentation.mask_smplify import MASK_ARGUMENTS, MaskSMPLify
from smilfit.segmentation.plausibility import MaskLimits, contrast, joined_parts, why_implausible
from smilfit.segmentation.recorded_masks import RecordedMasks, Recording, recorded_masks

__all__ = [
    'MASK_ARGUMENTS',
    'BackgroundSubtraction',
    'Frame',
    'GrabCutSegmenter',
    'MaskFiles',
    'MaskLimits',
    'MaskSMPLify',
    'RecordedMasks',
    'Recording',
    'Segmentation',
    'Segmenter',
    'contrast',
    'joined_parts',
    'recorded_masks',
    'spread_frames',
    'why_implausible',
]
