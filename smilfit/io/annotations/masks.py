"""Silhouettes as annotation files write them: run lengths, polygons, images of labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from smilfit.files import reading, shorten
from smilfit.io.annotations.polygons import fill_polygons
from smilfit.io.annotations.run_lengths import fill_runs, read_runs
from smilfit.io.image_opening import check_image_size, open_image
from smilfit.structures import MaskSource


@dataclass(frozen=True)
class RleMask(MaskSource):
    """COCO's run lengths, column by column, background first: compressed text or a list of numbers.

    `size` is (width, height) px; COCO writes it as `[height, width]`.
    """

    counts: str | bytes | Sequence[int]
    size: tuple[int, int]

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Decode the run lengths.

        Raises:
            ValueError: text that is no run lengths, or runs that do not fill the image; a size over the limit.
        """
        check_image_size('mask', *self.size, 'the mask')
        return fill_runs(read_runs(self.counts, self.size), self.size)


@dataclass(frozen=True)
class PolygonMask(MaskSource):
    """A union of polygons `[x1, y1, x2, y2, ...]`, each filled by the even-odd rule.

    Coordinates are COCO's: px from the outer corner of the first pixel, whose centre is thus (0.5, 0.5). A pixel
    belongs to a polygon that its centre lies in. `size` is (width, height) px; `check_images` fills in that of the
    image where it is None.
    """

    polygons: Sequence[Sequence[float]]
    size: tuple[int, int] | None

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Fill the polygons.

        Raises:
            ValueError: a polygon of an odd count of numbers, of fewer than three corners or with no finite number; a
                size or a count of corners over the limit, or no size.
        """
        if self.size is None:
            raise ValueError(
                'mask: the size of its image must be known; it is not. Give the annotations to check_images first.'
            )
        check_image_size('mask', *self.size, 'the mask')
        return fill_polygons(self.polygons, self.size)


@dataclass(frozen=True)
class ImageMask(MaskSource):
    """An image of labels: what is not black (or not index 0), or what has given values.

    `values` are numbers (of a grey image, or indices of a palette) or (red, green, blue) colours. Transparency
    is not looked at.
    """

    path: Path
    values: tuple[int | tuple[int, int, int], ...] | None = None

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Open the image and pick the values.

        Raises:
            OSError: it is not there.
            ValueError: it is no image, or the values are colours and it has none, or the reverse.
        """
        labels = _read_labels(self.path, any(np.ndim(value) for value in self.values or ()))
        if self.values is None:
            return labels.astype(bool) if labels.ndim == 2 else np.any(labels, axis=-1)
        mask = np.zeros(labels.shape[:2], dtype=bool)
        for value in self.values:
            if np.ndim(value) != labels.ndim - 2:
                kind = 'numbers' if labels.ndim == 2 else 'colours'
                raise ValueError(f'{self.path}: values of this mask must be {kind}; got {value}.')
            same = labels == np.asarray(value)
            mask |= same if labels.ndim == 2 else same.all(-1)
        return mask


def _read_labels(path: Path, colours: bool) -> np.ndarray:
    """Read numbers (H, W) or colours (H, W, 3); a palette's image has both."""
    from PIL import UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: the mask must exist; there is no such file. Check the path, or give the folder.'
        )
    with reading(path, 'the mask'):
        try:
            with open_image(path, path, 'the mask') as image:
                if image.mode in ('RGBA', 'CMYK', 'YCbCr') or (image.mode == 'P' and colours):
                    return np.asarray(image.convert('RGB'))
                return np.asarray(image.convert('L') if image.mode in ('LA', 'La') else image)
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ValueError(
                f'{path}: the mask must be an image that opens; got: {shorten(error)}. Copy it again.'
            ) from None
