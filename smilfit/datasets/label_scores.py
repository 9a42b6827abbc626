"""Which labels count by their score: what each camera's are held against, and how many fall below."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

logger = logging.getLogger('smilfit')

# For sessions that state none: scores that are probabilities.
USUAL_THRESHOLD = 0.5
# A camera that loses more than this share of its labels is named.
LARGE_SHARE = 0.2


def thresholds_of(session: Any, cameras: Sequence[str], asked: float | None) -> Float[Tensor, ' C']:
    """Return the score that each camera's labels must reach: the one asked for, else what the session states.

    A session states them as `confidence_thresholds`, camera -> score, as its labels' kind of score asks for.
    """
    own = getattr(session, 'confidence_thresholds', {})
    values = [own.get(name, USUAL_THRESHOLD) if asked is None else asked for name in cameras]
    return torch.tensor(values, dtype=torch.float64)


def counting_scores(
    confidence: Float[Tensor, 'B C K'], thresholds: Float[Tensor, ' C']
) -> Float[Tensor, 'B C K']:
    """Return labels below their camera's threshold confidence 0."""
    return torch.where(confidence >= thresholds[:, None], confidence, torch.zeros_like(confidence))


def camera_counts(
    cameras: Sequence[str],
    present: Bool[Tensor, 'n C K'],
    below: Bool[Tensor, 'n C K'],
    thresholds: Float[Tensor, ' C'],
) -> dict[str, dict[str, int | float]]:
    """Count each camera's labels and those below its threshold."""
    return {
        name: {
            'labels': int(present[:, c].sum()),
            'labels_below_threshold': int(below[:, c].sum()),
            'confidence_threshold': round(float(thresholds[c]), 6),
        }
        for c, name in enumerate(cameras)
    }


def tell_large_losses(session: str, counts: dict[str, dict[str, int | float]]) -> None:
    """Name cameras that lose many labels to the threshold."""
    for name, row in counts.items():
        lost, labels = row['labels_below_threshold'], row['labels']
        if lost > LARGE_SHARE * labels:
            logger.warning(
                '%s: camera %s loses %d of its %d labels to the confidence threshold %g. Where these labels are '
                'right (somebody looked at them), lower it: --confidence-threshold 0.',
                session,
                name,
                lost,
                labels,
                row['confidence_threshold'],
            )
