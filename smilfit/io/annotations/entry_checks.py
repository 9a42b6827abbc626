"""What is wrong with entries whose numbers are fine each: a box of nothing, a mask elsewhere, an entry twice."""

import numpy as np
from jaxtyping import Bool

from smilfit.io.annotations.entries import BadEntry
from smilfit.structures import AnnotatedImage, MaskSource

# An animal of fewer pixels on the longer side shows nothing that could be fitted.
_LEAST_SIDE_PX = 4
# A box is that of its mask where at least this part of the mask's pixels is inside.
_MASK_IN_BOX = 0.1


def check_box(image: AnnotatedImage, size: tuple[int, int], mask: Bool[np.ndarray, 'H W'] | None) -> None:
    """Check that an entry's box shows a part of its image that is not tiny, and what its mask shows.

    Args:
        image: the entry.
        size: (width, height) px of its image.
        mask: its mask.

    Raises:
        BadEntry: it does not.
    """
    if image.box is None:
        return
    x, y, width, height = (float(value) for value in image.box)
    shown = f'{width:g}x{height:g} px at ({x:g}, {y:g})'
    left, top = max(x, -0.5), max(y, -0.5)
    right, bottom = min(x + width, size[0] - 0.5), min(y + height, size[1] - 0.5)
    if right <= left or bottom <= top:
        raise BadEntry(
            f'{image.image}: the box must be within the image of {size[0]}x{size[1]} px; got {shown}, which is '
            'outside. Was it made for another image?'
        )
    if max(right - left, bottom - top) < _LEAST_SIDE_PX:
        raise BadEntry(
            f'{image.image}: the box must have a side of {_LEAST_SIDE_PX} px or more within the image; got {shown}. '
            'Are its numbers shares of the image? They must be px.'
        )
    if mask is None or not mask.any():
        return
    # Pixels whose centres are inside.
    rows, columns = (slice(int(np.ceil(a)), int(np.floor(b)) + 1) for a, b in ((top, bottom), (left, right)))
    if mask[rows, columns].sum() < _MASK_IN_BOX * mask.sum():
        raise BadEntry(
            f'{image.image}: the mask must be that of the animal in the box; {mask[rows, columns].sum()} of its '
            f'{mask.sum()} px are in the box of {shown}. Correct the box or the mask, or leave one of them out.'
        )


class Repetitions:
    """The entries of a set that were seen so far, to find one that is there again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], list[AnnotatedImage]] = {}

    def reject(self, image: AnnotatedImage) -> None:
        """Take note of an entry.

        Raises:
            BadEntry: one with the same image, keypoints, box and mask was there before.
        """
        box = b'' if image.box is None else np.asarray(image.box, np.float64).tobytes()
        # Animals that are followed apart are two, wherever they are.
        place = (image.image, image.sequence, image.frame)
        key = (*place, image.keypoints.tobytes(), image.confidence.tobytes(), box)
        alike = self._seen.setdefault(key, [])
        for other in alike:
            if _same_mask(image.mask, other.mask):
                raise BadEntry(
                    f'{image.image}: an animal must be annotated once; this entry is {other.where} again. Remove one.'
                )
        alike.append(image)


def _same_mask(one: MaskSource | None, other: MaskSource | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one.read(), other.read())
