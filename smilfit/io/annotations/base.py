"""What every reader of annotations takes and gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from smilfit.files import BadFileError, reading
from smilfit.io.annotations.fence import Fence
from smilfit.io.annotations.set_checks import sound_set
from smilfit.registry import UnknownNameError
from smilfit.structures import AnnotationSet


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

    def __init_subclass__(cls, **arguments: Any) -> None:
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
        """Give the folders in which images and masks of a file must lie: `images`, else that of the file."""
        if self.images is not None:
            return (self.images,)
        return (path if path.is_dir() else path.parent,)


def _guarded(read: Callable[..., AnnotationSet]) -> Callable[..., AnnotationSet]:
    @wraps(read)
    def guarded(self: AnnotationReader, path: str | Path, *args: Any, **kwargs: Any) -> AnnotationSet:
        path = Path(path)
        with _naming(path):
            found = read(self, path, *args, **kwargs)
            if not isinstance(found, AnnotationSet):
                return found
            fence = None if self.allow_outside_images else Fence(self.image_folders(path))
            return sound_set(path, found, fence)

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
