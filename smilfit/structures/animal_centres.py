"""Where all animals of a recording are, whichever of them its samples are of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class AnimalCentres:
    """The centres of A animals in T frames of C views: the mean of an animal's keypoints, or the middle of its box.

    Args:
        xy: px of the original image; zeros where there is none.
        known: whether the animal is labelled there.
        complete: whether these are all animals that the view shows. Where they are not, nothing is said of the rest
            of the image.
    """

    xy: Float[np.ndarray, 'T C A 2']
    known: Bool[np.ndarray, 'T C A']
    complete: Bool[np.ndarray, 'T C']

    @classmethod
    def of_keypoints(
        cls, points: Sequence[Float[np.ndarray, 'T C K 2']], n_animals: int | None = None
    ) -> 'AnimalCentres':
        """Take the mean of each animal's labelled points; NaN is no label.

        A view is complete if as many animals are labelled in it as there are: `n_animals`, or those that are given.
        """
        xy = np.stack(points, 2)
        there = np.isfinite(xy).all(-1)
        count = there.sum(-1, keepdims=True)
        mean = np.where(there[..., None], xy, 0.0).sum(-2) / np.maximum(count, 1)
        known = count[..., 0] > 0
        return cls(mean, known, known.sum(-1) >= (n_animals or len(points)))
