"""Which pixels show the animal: masks out of files, or found beside a fitted body; and fits of shape to them."""

from smilfit.registrants.segmentation.mask_smplify import MASK_ARGUMENTS, MaskSMPLify
from smilfit.registrants.segmentation.recorded_masks import (
    RecordedMasks,
    Recording,
    recorded_masks,
    spread_frames,
)
from smilfit.registrants.segmentation.segmenters import (
    BackgroundSubtraction,
    Frame,
    GrabCutSegmenter,
    MaskFiles,
    MaskLimits,
    Segmentation,
    Segmenter,
    contrast,
    joined_parts,
    why_implausible,
)

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
