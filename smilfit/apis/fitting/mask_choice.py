"""Where the masks of a fit come from: a word, or a folder of files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smilfit.registrants import SMPLify
from smilfit.registrants.segmentation import MASK_ARGUMENTS, MaskSMPLify
from smilfit.registry import REGISTRANTS, ConfigError
from smilfit.registry.build import find_class

FOUND_BY = {'grabcut': 'GrabCutSegmenter', 'background': 'BackgroundSubtraction'}
# Of files of several sessions in one folder.
FILES = '{session}/{camera}/{frame:06d}.png'


def with_masks(config: Mapping[str, Any], masks: str | Path | None) -> dict[str, Any]:
    """Return a fit's config with the segmenter that is asked for; as it is if None.

    Args:
        config: the registrant's.
        masks: 'grabcut', 'background', or a folder that holds SESSION/CAMERA/000000.png and so on.

    Raises:
        ConfigError: a registrant that takes no masks.
    """
    if masks is None:
        return dict(config)
    kind = find_class(config['type'], REGISTRANTS)
    if not issubclass(kind, MaskSMPLify):
        raise ConfigError(
            f'--masks: the config must be of a fit with mask_stages (MaskSMPLify), such as fit/multiview_masks.py; '
            f'got {kind.__name__}. Take that config, or leave --masks out.'
        )
    if str(masks) in FOUND_BY:
        return {**config, 'segmenter': {'type': FOUND_BY[str(masks)]}}
    return {**config, 'segmenter': {'type': 'MaskFiles', 'folder': str(masks), 'pattern': FILES}}


def without_masks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a fit's config that keypoints alone need: a `MaskSMPLify` without what it does with
    masks."""
    if not issubclass(find_class(config['type'], REGISTRANTS), MaskSMPLify):
        return dict(config)
    own = {'type': SMPLify.__name__}
    return {k: v for k, v in config.items() if k not in MASK_ARGUMENTS} | own
