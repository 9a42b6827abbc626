"""Where the masks of a fit come from: a word, or a folder of files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smilfit.registry import REGISTRANTS, ConfigError
from smilfit.registry.build import find_class
from smilfit.segmentation import MaskSMPLify

FOUND_BY = {'grabcut': 'GrabCutSegmenter', 'background': 'BackgroundSubtraction'}
# Of files of several sessions in one folder.
FILES = '{session}/{camera}/{frame:06d}.png'


def with_masks(config: Mapping[str, Any], masks: str | Path | None) -> dict[str, Any]:
    """Give a fit's config with the segmenter that is asked for; as it is if None.

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
