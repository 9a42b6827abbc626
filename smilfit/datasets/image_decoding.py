"""Decode annotated images in their own order; what does not decode says why."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from smilfit.io.annotations import read_images
from smilfit.structures import AnnotatedImage, SkippedAnnotation, VideoFrame


def place_in_video(image: AnnotatedImage) -> tuple[str, int]:
    """Give what sorts frames of one video together and in order; stills are all alike."""
    return (str(image.image.video), image.image.index) if isinstance(image.image, VideoFrame) else ('', 0)


def decode_images(images: Sequence[AnnotatedImage]) -> Iterator[tuple[np.ndarray | None, str]]:
    """Give each image, or why there is none; a video is decoded once as long as its frames ascend."""
    pairs = enumerate(pairwise(map(place_in_video, images)), start=1)
    # Within such a run `read_images` keeps the order.
    ends = [i for i, (before, after) in pairs if before[0] != after[0] or after[1] < before[1]]
    for start, end in pairwise([0, *ends, len(images)]):
        for _, found in read_images(images[start:end]):
            yield (None, found.reason) if isinstance(found, SkippedAnnotation) else (found, '')
