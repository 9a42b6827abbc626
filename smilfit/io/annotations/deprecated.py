"""Old names of functions of this folder; each calls the one that took its place."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from smilfit.io.annotations.images import check_images, read_image, read_images
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation


def check_pictures(annotations: AnnotationSet) -> AnnotationSet:
    """Deprecated name of `check_images`."""
    return check_images(annotations)


def read_picture(image: AnnotatedImage) -> UInt8[np.ndarray, 'H W 3']:
    """Deprecated name of `read_image`."""
    return read_image(image)


def read_pictures(
    images: Sequence[AnnotatedImage],
) -> Iterator[tuple[int, UInt8[np.ndarray, 'H W 3'] | SkippedAnnotation]]:
    """Deprecated name of `read_images`."""
    return read_images(images)
