"""What every reader of annotations takes and gives."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError, folder_name, reading, shorten
from smilfit.files.names import Fence
from smilfit.io.annotations.entries import BadEntry
from smilfit.io.image_opening import check_image_size
from smilfit.io.keypoint_names import check_keypoint_names
from smilfit.registry import UnknownNameError
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation

# Frames of ten years at 30 a second.
MOST_FRAMES = 10**10
MOST_COORDINATE_PX = 1e7


def sound_set(path: Path, annotations: AnnotationSet, fence: Fence | None) -> AnnotationSet:
    """Leave out entries that break a rule, and make names of sequences such as can name folders.

    Rules: keypoints, boxes and 3D points are finite, a size is within limits, a frame is a number that a recording
    can have, and images and masks lie where they may. Videos may lie anywhere: labels name them by absolute paths.

    Args:
        path: the annotations, for messages.
        annotations: as read.
        fence: where images and masks must lie; anywhere if None.

    Raises:
        BadFileError: keypoint names that are no different short words.
    """
    check_keypoint_names(path, annotations.keypoint_names)
    images: list[AnnotatedImage] = []
    skipped: list[SkippedAnnotation] = []
    safe = {name: folder_name(name) if name else '' for name in {i.sequence for i in annotations.images}}
    for image in annotations.images:
        try:
            _check_numbers(image)
            _check_place(image, fence)
        except (ValueError, TypeError, OverflowError) as error:
            skipped.append(SkippedAnnotation(image.where, shorten(error, 600)))
            continue
        same = safe[image.sequence] == image.sequence
        images.append(image if same else replace(image, sequence=safe[image.sequence]))
    return replace(
        annotations,
        name=folder_name(annotations.name),
        images=tuple(images),
        skipped=(*annotations.skipped, *skipped),
        fps={safe.get(name, name): rate for name, rate in annotations.fps.items() if _is_rate(rate)},
    )


def _check_numbers(image: AnnotatedImage) -> None:
    if image.size is not None:
        check_image_size('image', *image.size)
    if not isinstance(image.frame, Integral) or not 0 <= image.frame < MOST_FRAMES:
        raise BadEntry(
            f'the frame must be a number from 0 to {MOST_FRAMES}; got {shorten(image.frame)}. Correct it.'
        )
    visible = image.confidence > 0
    if not np.isfinite(image.confidence).all() or not np.isfinite(image.keypoints[visible]).all():
        raise BadEntry('keypoints must be finite; got a number that is not. Correct it.')
    if image.box is not None:
        box = np.asarray(image.box, dtype=np.float64)
        if not (np.abs(box) <= MOST_COORDINATE_PX).all() or not (box[2:] > 0).all():
            raise BadEntry(f'the box must be px of the image; got {shorten(str(box.tolist()))}. Correct it.')
    if image.keypoints3d is not None and not np.isfinite(image.keypoints3d).all():
        raise BadEntry('3D keypoints must be finite; got a number that is not. Correct it.')


def _check_place(image: AnnotatedImage, fence: Fence | None) -> None:
    if fence is None:
        return
    for what, file in (('image', image.image), ('mask', getattr(image.mask, 'path', None))):
        if isinstance(file, Path) and not fence.holds(file):
            folders = ' or '.join(map(str, fence.folders))
            raise BadEntry(
                f'the {what} must lie in {folders}; {shorten(str(file))} does not, by its path or by a link. Move it '
                'there, or read it where it is by --allow-outside-images.'
            )


def _is_rate(rate: object) -> bool:
    return isinstance(rate, Real) and math.isfinite(rate) and float(rate) > 0


class AnnotationReader(ABC):
    """Reads one annotation format. A subclass is registered in `ANNOTATIONS` under the format's name.

    A file may be anybody's. `read` of every subclass is therefore held to this: what fails is an error that names the
    file; an entry whose image or mask lies outside the folder of the images is left out and reported, as are entries
    with numbers that no image has; sequences have names that can name folders.

    Args:
        images: the folder that image paths are relative to; where the format itself says if None.
        allow_outside_images: read images and masks that the annotations name outside that folder, too.
    """

    images: Path | None = None
    allow_outside_images: bool = False

    def __init__(self, images: str | Path | None = None, allow_outside_images: bool = False) -> None:
        self.images = None if images is None else Path(images)
        self.allow_outside_images = allow_outside_images

    def __init_subclass__(cls, **arguments: object) -> None:
        """Hold the subclass's `read` to the rules."""
        super().__init_subclass__(**arguments)
        if 'read' in cls.__dict__:
            # By name: a checker takes a method for fixed.
            setattr(cls, 'read', _guarded(cls.read))  # noqa: B010

    @abstractmethod
    def read(self, path: str | Path) -> AnnotationSet:
        """Read a file, or a folder where the format is one.

        An entry that breaks a rule is left out and named in `skipped`; images are not opened here.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file as a whole is not of this format; names key and rule.
        """

    def image_folders(self, path: Path) -> tuple[Path, ...]:
        """Return the folders in which images and masks of a file must lie: `images`, else that of the file."""
        if self.images is not None:
            return (self.images,)
        return (path if path.is_dir() else path.parent,)


def _guarded(read: Callable[..., AnnotationSet]) -> Callable[..., AnnotationSet]:
    @wraps(read)
    def guarded(self: AnnotationReader, path: str | Path, *args: object, **kwargs: object) -> AnnotationSet:
        path = Path(path)
        with _naming(path):
            result = read(self, path, *args, **kwargs)
            if not isinstance(result, AnnotationSet):
                return result
            fence = None if self.allow_outside_images else Fence(self.image_folders(path))
            return sound_set(path, result, fence)

    return guarded


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the annotations in whatever fails; an error that names another file, or an option, is passed on."""
    failure: Exception | None = None
    with reading(path, 'annotations'):
        try:
            yield
        except (BadFileError, UnknownNameError) as error:
            failure = error
        except FileNotFoundError as error:
            if error.errno is not None:
                raise
            failure = error
    if failure is not None:
        raise failure
