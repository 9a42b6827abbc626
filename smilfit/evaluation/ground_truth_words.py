"""What the figures of a dataset's ground truth mean, in words: one warning for each thing that training would learn
wrong."""

import math
from collections.abc import Mapping

from smilfit.evaluation.ground_truth import CameraFigures, SessionFigures

# Shares from which a thing is told.
OUTSIDE, SWAPPED, RARE, MIRRORED = 0.02, 0.02, 0.02, 0.5
# Distances that are told, in shares of the animal's size: an ear's worth, not a limb's.
PARAMS_OFF = 0.1


def warnings_of(figures: Mapping[str, SessionFigures], unit: str | None) -> list[str]:
    """Return what is wrong or doubtful, session by session; none where all is well."""
    result = []
    for name, session in figures.items():
        result += [f'{name}: {text}' for text in _of_session(session, unit)]
    return result


def _of_session(session: SessionFigures, unit: str | None) -> list[str]:
    result = []
    if session.samples_without_view:
        result.append(f'{session.samples_without_view} of {session.samples} samples have no image.')
    if session.samples_labelled_twice:
        result.append(
            f'{session.samples_labelled_twice} samples have the labels of another one to the last digit: are frames '
            'there twice, or labels copied on?'
        )
    if session.repeated_frames:
        result.append(f'{session.repeated_frames} frame numbers are there more than once.')
    if not session.calibration_ok:
        result.append(session.calibration)
    for camera, figures in session.cameras.items():
        result += [f'camera {camera}: {text}' for text in _of_camera(figures, session)]
    result += _of_keypoints(session)
    if session.pairs_swapped > SWAPPED * session.pairs_looked_at:
        result.append(
            f'left and right are exchanged in {session.pairs_swapped} of {session.pairs_looked_at} pairs of labels, '
            'by their 3D points.'
        )
    if session.mirrored_share > MIRRORED:
        result.append(
            f'3D points look like the mirrored animal in {100 * session.mirrored_share:.0f} % of the samples: are '
            'left and right exchanged, or is an axis flipped?'
        )
    if session.shape is not None and session.shape.is_chance:
        result.append(
            f'distances between 3D points go with those of the body by {session.shape.correlation:.2f}, and joints '
            f'drawn at random reach {session.shape.chance:.2f}: keypoints have the names of others.'
        )
    if session.params_to_point > PARAMS_OFF * session.extent:
        result.append(
            f"the parameters' keypoints lie {session.params_to_point:.3g} {unit or 'units'} (median) from the 3D "
            f'points of an animal of {session.extent:.3g}: another body model, unit or joint order?'
        )
    return result


def _of_camera(figures: CameraFigures, session: SessionFigures) -> list[str]:
    result = []
    if figures.labels == 0 and session.points_by_keypoint and not any(session.points_by_keypoint.values()):
        result.append('none of its views has a label.')
    if figures.labels_outside_image > OUTSIDE * figures.labels:
        share = 100 * figures.labels_outside_image / figures.labels
        result.append(f'{share:.0f} % of its labels lie outside the stored image: boxes cut the animal.')
    elif figures.points_outside_image > OUTSIDE * figures.points_seen and figures.label_to_point_px < _near(
        figures
    ):
        share = 100 * figures.points_outside_image / figures.points_seen
        result.append(
            f'{share:.0f} % of the 3D points lie outside the stored image: boxes cut unlabelled parts of the animal.'
        )
    if figures.label_to_params_px > PARAMS_OFF * figures.extent_px:
        result.append(
            f"labels lie {figures.label_to_params_px:.1f} px (median) from the parameters' keypoints; the animal is "
            f'{figures.extent_px:.0f} px.'
        )
    if figures.label_to_point_px > _near(figures):
        result.append(
            f'labels lie {figures.label_to_point_px:.1f} px (median) from the 3D points; the animal is '
            f'{figures.extent_px:.0f} px.'
        )
    return result


def _near(figures: CameraFigures) -> float:
    return PARAMS_OFF * figures.extent_px if math.isfinite(figures.extent_px) else math.inf


def _of_keypoints(session: SessionFigures) -> list[str]:
    most = max(session.labels_by_keypoint.values(), default=0)
    never = [
        n
        for n, count in session.labels_by_keypoint.items()
        if count == 0 and not session.points_by_keypoint[n]
    ]
    rare = [n for n, count in session.labels_by_keypoint.items() if 0 < count < RARE * most]
    result = []
    if most == 0:
        return ['there is no label at all.']
    if never:
        result.append(f'never labelled: {", ".join(never)}.')
    if rare:
        result.append(
            f'labelled in less than {100 * RARE:.0f} % of what the most frequent one is: {", ".join(rare)}.'
        )
    return result
