"""Labels of a recording left out by turns: how far an adapted network misses what it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.evaluation.verdict import GOOD, Threshold, Verdict
from smilfit.evaluation.verdict.judge import worst
from smilfit.networks.video.adaptation import FrameLabels

# Labels are left out in so many turns.
FOLDS = 4
# A label is missed that lies farther than this from where it is predicted, in sizes of the animal.
FAR = 0.2
_MISSED = Threshold(
    0.5,
    0.7,
    'share of labels',
    '{value} of the labels that were left out lie far from where the adapted network sees them: are they of this '
    'video and of these frames? Are they enough?',
    'made videos, ten labelled frames: .25 and .29; labels of another video or of other frames .83-.98',
)
_EXCHANGED = Threshold(
    0.3,
    0.4,
    'share of frames',
    'in {value} of the labelled frames that tell, the network sees left and right the other way round: look at which '
    'side is which',
    'eight cameras of made videos: 0-.29, mean .05; about half with the sides of half of the frames exchanged',
)
# In sizes of the animal: sides that are nearer to one another cannot be told apart; a network sees a label that is
# nearer than the second; by the third a side must be the nearer one.
_ONE_PLACE, _REACH, _CLEAR = 0.1, 0.3, 0.04
# So many frames must tell.
_FEWEST_FRAMES = 4


@dataclass(frozen=True)
class HeldOut:
    """What was said of labels that were left out, N frames; all places are in sizes of the animal.

    Args:
        labels: given ones.
        known: which there are.
        predicted: by a network that was adapted without them, and its path; NaN where there is no place.
    """

    labels: Float[np.ndarray, 'N K 2']
    known: Bool[np.ndarray, 'N K']
    predicted: Float[np.ndarray, 'N K 2']

    @classmethod
    def of(
        cls, labels: FrameLabels, frames: Int[np.ndarray, ' n'], predicted: Float[np.ndarray, 'T K 2']
    ) -> 'HeldOut':
        """Take the frames of a recording that were left out."""
        size = labels.size_px
        return cls(labels.xy[frames] / size, labels.known[frames], predicted[frames] / size)

    def errors(self) -> Float[np.ndarray, ' n']:
        """Return by how much the labels are missed; inf where there is no place."""
        off = np.linalg.norm(self.predicted - self.labels, axis=-1)
        return np.where(np.isfinite(off), off, np.inf)[self.known]


def sides_exchanged(
    sights: Float[np.ndarray, 'N K 2'],
    labels: Float[np.ndarray, 'N K 2'],
    known: Bool[np.ndarray, 'N K'],
    swap: Sequence[int],
) -> tuple[int, int]:
    """Count labelled frames in which a network sees left where right is labelled, and those that tell at all.

    The network is the one that came: an adapted one has learned the exchanged labels. A frame tells where two labels
    or more lie near what it saw of them or of their other side, and these are apart.

    Args:
        sights: where the network sees keypoints in the labelled frames, in sizes of the animal.
        labels: given ones, likewise.
        known: which there are.
        swap: the keypoint on the other side of each.
    """
    other = list(swap)
    own, opposite = (np.linalg.norm(places - labels, axis=-1) for places in (sights, sights[:, other]))
    apart = np.linalg.norm(sights - sights[:, other], axis=-1) > _ONE_PLACE
    tells = known & apart & (np.minimum(own, opposite) < _REACH)
    margin = np.where(tells, (opposite - own).clip(-_REACH, _REACH), 0.0).sum(1) / tells.sum(1).clip(1)
    clear = (tells.sum(1) >= 2) & (np.abs(margin) > _CLEAR)
    return int((clear & (margin < 0)).sum()), int(clear.sum())


def folds(frames: Int[np.ndarray, ' n']) -> list[np.ndarray]:
    """Divide labelled frames: every fourth one is left out in a fold; none where there are too few to learn from."""
    count = min(FOLDS, len(frames))
    return [frames[fold::count] for fold in range(count)] if count > 1 else []


def judged_labels(parts: Sequence[HeldOut], exchanged: int, of: int) -> Verdict:
    """Judge a recording's labels, and what was learned from them, by those that were left out.

    Args:
        parts: of all folds and cameras.
        exchanged: frames in which the network sees the sides the other way round; see `sides_exchanged`.
        of: frames that tell.
    """
    errors = np.concatenate([part.errors() for part in parts])
    measures = [_MISSED.measure('labels_missed', float((errors > FAR).mean()))]
    if of >= _FEWEST_FRAMES:
        measures.append(_EXCHANGED.measure('sides_exchanged', exchanged / of))
    word = worst([measure.word for measure in measures])
    bad = sorted((m for m in measures if m.word != GOOD), key=lambda m: -m.severity)
    return Verdict(word, tuple(m.reason for m in bad), tuple(measures))
