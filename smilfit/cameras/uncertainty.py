"""How well a camera is known: its covariance, from errors that come in groups."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilfit.cameras.bundle_adjustment import CAUCHY, Adjustment
from smilfit.cameras.rig import FOCAL, N_COLUMNS, SHIFT, TURN

# Fewer groups than this say nothing of the scatter between them.
_LEAST_GROUPS = 6
# Directions of less information than this share are not known at all.
_LEAST_KNOWN = 1e-13
# A focal length that is known no better than this says too little: the camera may stand nearer or farther.
AMBIGUOUS_SHARE = 0.05


@dataclass(frozen=True)
class CameraUncertainty:
    """Standard deviations of one camera.

    `covariance` is of the 14 columns (zeros of those that did not move); `place_sd` of the camera's place along
    three axes (rows of `place_axes`, world), the largest first. `share_of_labels` is which part of what is known
    of the focal length comes from the labels; the rest is what was expected of it. `grouped_by` says which labels
    were taken to err alike.
    """

    covariance: Float[np.ndarray, '14 14']
    rotation_sd_deg: float
    place_sd: Float[np.ndarray, '3']
    place_axes: Float[np.ndarray, '3 3']
    along_view: float
    focal_sd_share: float | None
    share_of_labels: float | None
    grouped_by: str

    @property
    def ambiguous(self) -> bool:
        """Whether focal length and distance cannot be told apart well."""
        return self.focal_sd_share is not None and self.focal_sd_share > AMBIGUOUS_SHARE


def camera_uncertainty(
    end: Adjustment,
    camera: int,
    groups: Int[np.ndarray, 'M'],
    grouped_by: str,
    prior_sd: Float[np.ndarray, '14'],
    effect: float = 1.0,
) -> CameraUncertainty:
    """Find the covariance of the one camera that moved.

    Labels of one keypoint err alike in all frames (an annotator's habit, a point on the far side of the body). So
    scores are summed by group before they are squared (the sandwich with clusters, Liang and Zeger 1986).

    Args:
        end: where the adjustment ended; the camera's columns are all that is free.
        grouped_by: what the groups are, in words.
        prior_sd: what was expected of the columns.
        effect: by how much the prior was multiplied; see `design_effect`.
    """
    free = end.free[camera]
    tight = effect / np.square(prior_sd[free])
    inverse, scatter = _parts(end, groups)
    if scatter is None:
        grouped_by, covariance = 'nothing: too few', inverse
    else:
        covariance = inverse @ (scatter + np.diag(effect * tight)) @ inverse
    whole = np.zeros((N_COLUMNS, N_COLUMNS))
    whole[np.ix_(free, free)] = covariance
    R = end.rig.R[camera]
    # The place -R^T t under x_cam' = exp(w) x_cam + s: turns about the camera's own place cancel.
    of_place = np.zeros((3, N_COLUMNS))
    of_place[:, SHIFT] = -R.T
    variance, axes = np.linalg.eigh(of_place @ whole @ of_place.T)
    focal = float(np.sqrt(whole[FOCAL, FOCAL][0, 0])) if free[FOCAL][0] else None
    share = None
    if focal is not None:
        column = int(np.flatnonzero(np.flatnonzero(free) == FOCAL.start)[0])
        share = float(np.clip(1 - inverse[column, column] * tight[column], 0.0, 1.0))
    return CameraUncertainty(
        covariance=whole,
        rotation_sd_deg=float(np.degrees(np.sqrt(np.trace(whole[TURN, TURN])))),
        place_sd=np.sqrt(np.maximum(variance[::-1], 0.0)),
        place_axes=axes.T[::-1],
        along_view=float(abs(axes[:, -1] @ R[2])),
        focal_sd_share=focal,
        share_of_labels=share,
        grouped_by=grouped_by,
    )


def design_effect(end: Adjustment, groups: Int[np.ndarray, 'M']) -> float:
    """Return how many times larger the variance is than if all labels erred by themselves (Kish 1965).

    What is expected beforehand must count so many times as much as one would think.
    """
    inverse, scatter = _parts(end, groups)
    if scatter is None:
        return 1.0
    naive, grouped = np.diagonal(inverse), np.diagonal(inverse @ scatter @ inverse)
    return max(float(np.median(grouped / np.maximum(naive, 1e-300))), 1.0)


def _parts(end: Adjustment, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inverse of the information, and the scatter of the groups' scores; None of too few groups."""
    inverse = inverse_information(end.information)
    sums = np.stack([end.scores[groups == g].sum(0) for g in np.unique(groups)]) * CAUCHY**2
    informative = sums[np.abs(sums).max(1) > 0]
    if len(informative) < _LEAST_GROUPS:
        return inverse, None
    return inverse, len(informative) / (len(informative) - 1) * informative.T @ informative


def inverse_information(information: Float[np.ndarray, 'p p']) -> Float[np.ndarray, 'p p']:
    """Invert an adjustment's information, which its loss divides by CAUCHY's square.

    By a unit diagonal, so that units do not matter; what is not known at all gets a large variance.
    """
    information = information * CAUCHY**2
    scale = 1 / np.sqrt(np.maximum(np.diagonal(information), 1e-300))
    values, vectors = np.linalg.eigh(scale[:, None] * information * scale)
    inverse = (vectors / np.maximum(values, _LEAST_KNOWN)) @ vectors.T
    return scale[:, None] * inverse * scale
