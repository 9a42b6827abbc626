"""What a fit says of its masks, in rows and words."""

from collections.abc import Mapping
from typing import Any

# How the overlaps of `report['masks']['iou']` are shown.
_COLUMNS = {'keypoints': 'keypoints alone', 'masks': 'with masks', 'another_frame': 'as another time'}


def mask_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a fit's IoU of silhouettes and masks by camera, frames that took no part in the shape first; none
    without.

    Args:
        report: of the fit.
    """
    iou = report.get('masks', {}).get('iou', {})
    return [
        {'camera': camera, 'frames': kind} | {text: values[name] for name, text in _COLUMNS.items()}
        for kind, cameras in iou.items()
        for camera, values in cameras.items()
    ]


def mask_sentences(report: Mapping[str, Any]) -> list[str]:
    """Return where the shape came from, and which masks were refused."""
    masks = report.get('masks')
    if masks is None:
        return []
    text = [
        f'Shape came from {masks["masks_used"]} masks of {len(masks["frames_used"])} frames '
        f'({masks["segmenter"]}); {len(masks["frames_checked"])} further frames judge it.'
    ]
    for camera, reasons in masks['masks_refused'].items():
        notes = '; '.join(f'{count}: {reason}' for reason, count in reasons.items())
        text.append(f'Camera {camera}: {sum(reasons.values())} masks were refused ({notes}).')
    return text
