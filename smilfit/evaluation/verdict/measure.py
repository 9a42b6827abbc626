"""A number that a fit is judged by, what it is held against, and the word that follows."""

import math
from dataclasses import dataclass

GOOD, DOUBTFUL, NOT_BELIEVABLE = 'good', 'doubtful', 'not believable'
# Of a frame that has no fit, and so no number.
NOT_FITTED = 'not fitted'
# From best to worst.
WORDS = (GOOD, DOUBTFUL, NOT_BELIEVABLE)


@dataclass(frozen=True)
class Measure:
    """A number with the two values at which it makes a fit doubtful, and not believable.

    Where the second threshold is the larger one, large numbers are bad, else small ones. `where` names the bone,
    camera or parameter that the number is of, and `reason` says in words why it is not good; empty where it is.
    """

    name: str
    value: float
    threshold_doubtful: float
    threshold_not_believable: float
    unit: str
    where: str = ''
    reason: str = ''

    @property
    def severity(self) -> float:
        """How bad the value is: 0 at the first threshold, 1 at the second, and on along the same line."""
        span = self.threshold_not_believable - self.threshold_doubtful
        share = (self.value - self.threshold_doubtful) / span
        return math.inf if math.isnan(share) else share

    @property
    def word(self) -> str:
        """Return what the number makes of the fit; one that is not a number is not believable."""
        severity = self.severity
        return NOT_BELIEVABLE if severity >= 1 else DOUBTFUL if severity >= 0 else GOOD


def worst(words: list[str] | tuple[str, ...]) -> str:
    """Return the worst of some words; good if there are none."""
    return max(words, key=WORDS.index, default=GOOD)
