"""What a calibration has come to, in words and numbers."""

import numpy as np

from smilfit.calibration.camera_repair import CameraRepair
from smilfit.structures import Cameras

# Held-out keypoints that miss by this many times what the fitted ones miss by: the camera follows its labels.
_FOLLOWS = 1.5


def spread_px(error: np.ndarray) -> tuple[float, float]:
    """Give the median and the 95th percentile of distances; NaN of none."""
    known = error[~np.isnan(error)]
    return (float(np.median(known)), float(np.percentile(known, 95))) if len(known) else (np.nan, np.nan)


def repair_sentences(repair: CameraRepair, cameras: Cameras, given_points: bool) -> list[str]:
    """Say of a camera that was calibrated anew how well it agrees, and how well it is known."""
    name, unit = cameras.names[repair.camera], cameras.unit or 'world units'
    figures = {
        'before': repair.before,
        'after': repair.after,
        'of frames held out': repair.held_out_frames,
        'of keypoints held out': repair.held_out_points,
    }
    shown = [
        f'{what} {median:.1f} px (95 %: {high:.1f})'
        for what, e in figures.items()
        for median, high in [spread_px(e)]
        if not np.isnan(median)
    ]
    places = 'the given 3D points' if given_points else 'the points that the other cameras place'
    found = [f'Camera {name!r}, median distance from {places}, of {len(repair.xy)}: {", ".join(shown)}.']
    doubt = repair.doubt
    sd = ', '.join(f'{value:.3g}' for value in doubt.place_sd)
    text = (
        f'Known to (standard deviations) {doubt.turn_sd_deg:.2g} degrees of rotation and {sd} {unit} of place along '
        'three axes'
    )
    if doubt.focal_sd_share is not None:
        text += f', {100 * doubt.focal_sd_share:.2g} % of the focal length'
    found.append(text + f'; errors of one {doubt.grouped_by} taken to go together.')
    if doubt.ambiguous:
        share = doubt.share_of_labels
        by = ''
        if repair.mates and share is not None:
            mates = ', '.join(repr(cameras.names[m]) for m in repair.mates)
            by = f' {100 * (1 - share):.0f} % of what is known comes from {mates}, whose images have the same size.'
        found.append(
            f'Focal length and distance of {name!r} are hard to tell apart by these labels.{by} Add frames in which '
            'the animal is elsewhere in the image, nearer and farther, or record a board.'
        )
    after, held = spread_px(repair.after)[0], spread_px(repair.held_out_points)[0]
    if held > _FOLLOWS * after:
        found.append(
            f'Keypoints that took no part miss by {held:.1f} px and those that did by {after:.1f} px: the camera '
            'follows errors of its labels.'
        )
    if not repair.converged:
        found.append('The adjustment was still going on when its steps ran out.')
    return found
