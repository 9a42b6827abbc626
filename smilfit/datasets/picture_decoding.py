"""Decode annotated pictures one after the other; what does not decode says why."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from smilfit.datasets.crops import decode_picture
from smilfit.io import iterate_videos
from smilfit.structures import AnnotatedImage, VideoFrame


def place_in_video(image: AnnotatedImage) -> tuple[str, int]:
    """Give what sorts frames of one video together and in order; stills are all alike."""
    return (str(image.image.video), image.image.index) if isinstance(image.image, VideoFrame) else ('', 0)


def decode_pictures(images: Sequence[AnnotatedImage]) -> Iterator[tuple[np.ndarray | None, str]]:
    """Give each picture, or why there is none; a video is decoded once as long as its frames ascend."""
    ends = [
        i
        for i, (a, b) in enumerate(pairwise(images), start=1)
        if place_in_video(b) < place_in_video(a) or _video(a) != _video(b)
    ]
    for start, end in pairwise([0, *ends, len(images)]):
        video = _video(images[start]) if start < end else None
        if video is None:
            yield from map(_still, images[start:end])
        else:
            yield from _video_frames(video, [image.image.index for image in images[start:end]])


def _video(image: AnnotatedImage) -> Path | None:
    return image.image.video if isinstance(image.image, VideoFrame) else None


def _still(image: AnnotatedImage) -> tuple[np.ndarray | None, str]:
    try:
        return decode_picture(np.fromfile(image.image, np.uint8), str(image.image)), ''
    except (ValueError, OSError) as error:
        return None, str(error)


def _video_frames(video: Path, wanted: Sequence[int]) -> Iterator[tuple[np.ndarray | None, str]]:
    """Decode ascending frames, of which some may repeat; behind a broken one nothing can be decoded."""
    decoded = iterate_videos({'': video}, sorted(set(wanted)))
    at, picture, fault = -1, None, ''
    for index in wanted:
        if index != at and not fault:
            try:
                at, found = next(decoded)
                picture = found['']
            except (RuntimeError, ValueError, OSError) as error:
                picture, fault = None, str(error)
        yield picture, fault
