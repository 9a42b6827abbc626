"""What a calibration has come to, in words and numbers."""

import numpy as np

from smilfit.cameras.boards import Board
from smilfit.cameras.camera_repair import CameraRepair
from smilfit.cameras.rig import Rig, angle_between
from smilfit.cameras.rig_calibration import WRONG_SCALE, RigCalibration
from smilfit.geometry.consistency import LIMIT_OF_DIAGONAL, LIMIT_PX, LIMIT_RATIO
from smilfit.structures import Cameras

# Held-out keypoints that miss by this many times what the fitted ones miss by: the camera follows its labels.
_FOLLOWS = 1.5
# Corners of a sharp, flat board miss by a few tenths of a px.
_POOR_PX = 2.0
_LEAST_COVERED = 0.4
# Edges along and down that differ by this share are no squares: printers are better than that.
_STRETCHED = 0.01
_GOING_ON = 'The adjustment was still going on when its steps ran out.'


def spread_px(error: np.ndarray) -> tuple[float, float]:
    """Return the median and the 95th percentile of distances; NaN of none."""
    known = error[~np.isnan(error)]
    return (float(np.median(known)), float(np.percentile(known, 95))) if len(known) else (np.nan, np.nan)


def repair_sentences(repair: CameraRepair, cameras: Cameras, places: str) -> list[str]:
    """Return for a camera that was calibrated anew how well it agrees with `places`, and how well it is known."""
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
    result = [f'Camera {name!r}, median distance from {places}, of {len(repair.xy)}: {", ".join(shown)}.']
    if repair.edges is not None and len(repair.edges):
        result.append(
            f'The other cameras measure {len(repair.edges)} edges of the board: {np.median(repair.edges):.4g} {unit} '
            f'(sd {np.std(repair.edges):.2g}).'
        )
    uncertainty = repair.uncertainty
    sd = ', '.join(f'{value:.3g}' for value in uncertainty.place_sd)
    text = (
        f'Known to (standard deviations) {uncertainty.rotation_sd_deg:.2g} degrees of rotation and {sd} {unit} '
        'of place along three axes'
    )
    if uncertainty.focal_sd_share is not None:
        text += f', {100 * uncertainty.focal_sd_share:.2g} % of the focal length'
    result.append(text + f'; errors of one {uncertainty.grouped_by} taken to go together.')
    if uncertainty.ambiguous:
        things, advice = (
            ('boards', 'Tilt them more, nearer and farther.')
            if repair.observed_as == 'board'
            else (
                'labels',
                'Add frames in which the animal is elsewhere in the image, nearer and farther, or record a board.',
            )
        )
        share = uncertainty.share_of_labels
        by = ''
        if repair.mates and share is not None:
            mates = ', '.join(repr(cameras.names[m]) for m in repair.mates)
            by = f' {100 * (1 - share):.0f} % of what is known comes from {mates}, whose images have the same size.'
        result.append(
            f'Focal length and distance of {name!r} are hard to tell apart by these {things}.{by} {advice}'
        )
    after, held = spread_px(repair.after)[0], spread_px(repair.held_out_points)[0]
    if held > _FOLLOWS * after:
        result.append(
            f'Keypoints that took no part miss by {held:.1f} px and those that did by {after:.1f} px: the camera '
            'follows errors of its labels.'
        )
    return result


def repair_objections(repair: CameraRepair, cameras: Cameras) -> list[str]:
    """Return why a camera that was calibrated anew is not to be used; empty where nothing speaks against it."""
    c, result = repair.camera, []
    after = spread_px(repair.after)[0]
    others = [last for _, last in repair.others_px.values()]
    limit = max(
        LIMIT_OF_DIAGONAL * float(cameras.size[c].norm()), LIMIT_PX, LIMIT_RATIO * float(np.median(others))
    )
    limit = _POOR_PX if repair.observed_as == 'board' else limit
    if after > limit:
        result.append(
            f'Camera {cameras.names[c]!r} still contradicts the others: {after:.1f} px, at most {limit:.1f} px can '
            'be labelling. Is its video of the same moments, and not mirrored or of another camera?'
        )
    if not repair.converged:
        result.append(_GOING_ON)
    return result


def rig_sentences(calibration: RigCalibration, board: Board) -> list[str]:
    """Return for a rig how well its corners agree, what scale the cameras measure, and what was not seen."""
    median, high = spread_px(calibration.error_px)
    names = calibration.cameras.names
    parts = [
        f'{name} {spread_px(calibration.error_px[calibration.observed.camera == c])[0]:.2f} px'
        for c, name in enumerate(names)
    ]
    result = [
        f'{len(names)} cameras, {len(calibration.frames)} frames, {len(calibration.error_px)} corners: median '
        f'distance {median:.2f} px (95 %: {high:.2f}); {", ".join(parts)}.'
    ]
    if len(calibration.edges_mm):
        centre, spread = float(np.median(calibration.edges_mm)), float(np.std(calibration.edges_mm))
        result.append(
            f'{len(calibration.edges_mm)} edges of the board, placed by two cameras and more: {centre:.3f} mm '
            f'(sd {spread:.2g}) of the stated {board.edge_mm:g}. The size of the world is that of --square-mm, which '
            'no image can tell: measure ten squares by a ruler.'
        )
    for name, count in calibration.left_out.items():
        if count:
            result.append(f'Camera {name!r}: {count} views fit nowhere and are left out.')
    for c, name in enumerate(names):
        share = covered_share(
            calibration.observed.xy[calibration.observed.camera == c], calibration.cameras.size[c].tolist()
        )
        if share < _LEAST_COVERED:
            result.append(
                f'Camera {name!r} saw the board in {100 * share:.0f} % of its image: its lens is not known '
                'elsewhere. Hold the board to the edges, too.'
            )
    return result


def rig_objections(calibration: RigCalibration, board: Board) -> list[str]:
    """Return why a rig is not to be used as it is; empty where nothing speaks against it."""
    result = []
    along, down = (calibration.edges_mm[calibration.edges_along == way] for way in (True, False))
    if len(along) and len(down):
        lengths = [float(np.median(edges)) for edges in (along, down)]
        if abs(lengths[0] / lengths[1] - 1) > _STRETCHED:
            result.append(
                f"The board's edges are {lengths[0]:.4g} mm along and {lengths[1]:.4g} mm down, as far as cameras "
                'tell: the print is stretched. Print it at 100 %, and measure it both ways.'
            )
    if (
        len(calibration.edges_mm)
        and abs(float(np.median(calibration.edges_mm)) / board.edge_mm - 1) > WRONG_SCALE
    ):
        result.append(
            'The edges differ from the stated ones: the board is not flat, or views contradict each other.'
        )
    for c, name in enumerate(calibration.cameras.names):
        error = spread_px(calibration.error_px[calibration.observed.camera == c])[0]
        if error > _POOR_PX:
            result.append(
                f'Camera {name!r} misses by {error:.1f} px: is --squares right, are the recordings of one moment, '
                'and was the board held still?'
            )
    if not calibration.converged:
        result.append(_GOING_ON)
    return result


def covered_share(xy: np.ndarray, size: list[float], cells: int = 8) -> float:
    """Return the share of an image's cells (8 along the longer side) that have a corner."""
    cell = max(size) / cells
    counts = [int(np.ceil(s / cell)) for s in size]
    at = np.clip((xy / cell).astype(int), 0, np.array(counts) - 1)
    return len(np.unique(at, axis=0)) / (counts[0] * counts[1])


def comparison_sentences(new: Cameras, old: Cameras) -> tuple[list[str], list[str]]:
    """Compare two calibrations of a rig by what does not depend on the world's frame.

    Distances between cameras tell units and a wrong square; angles between them tell which camera was moved.

    Returns:
        What was found, and what speaks against one of them.
    """
    shared = [name for name in new.names if name in old.names]
    if len(shared) < 2:
        return ['Fewer than two cameras are in both calibrations: nothing to compare.'], []
    a, b = Rig.of(new.select(shared)), Rig.of(old.select(shared))
    pairs = [(i, j) for i in range(len(shared)) for j in range(i)]
    ratios = [
        float(np.linalg.norm(a.centres[i] - a.centres[j]))
        / max(float(np.linalg.norm(b.centres[i] - b.centres[j])), 1e-12)
        for i, j in pairs
    ]
    ratio = float(np.median(ratios))
    result = [f'Distances between cameras are {ratio:.4g} times those of the other calibration (the median).']
    doubts = []
    if abs(ratio - 1) > WRONG_SCALE:
        doubts.append(
            f'Distances between cameras are {ratio:.4g} times those of the other calibration: one of them has '
            'another unit or another size of squares; check --square-mm, in millimetres.'
        )
    rotated = angle_between(
        a.R[:, None] @ np.swapaxes(a.R, -1, -2)[None], b.R[:, None] @ np.swapaxes(b.R, -1, -2)[None]
    )
    worst = [float(np.degrees(np.median(np.delete(rotated[i], i)))) for i in range(len(shared))]
    shown = ', '.join(f'{name} {value:.2f}' for name, value in zip(shared, worst))
    result.append(f'Angles to the other cameras differ by (degrees, the median): {shown}.')
    return result, doubts
