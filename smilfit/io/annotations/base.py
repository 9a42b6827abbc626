"""What every reader of annotations takes and gives."""

from abc import ABC, abstractmethod
from pathlib import Path

from smilfit.structures import AnnotationSet


class AnnotationReader(ABC):
    """Reads one annotation format. A subclass is registered in `ANNOTATIONS` under the format's name.

    Args:
        images: the folder that picture paths are relative to; where the format itself says if None.
    """

    def __init__(self, images: str | Path | None = None) -> None:
        self.images = None if images is None else Path(images)

    @abstractmethod
    def read(self, path: str | Path) -> AnnotationSet:
        """Read a file, or a folder where the format is one.

        An entry that breaks a rule is left out and named in `skipped`; pictures are not opened here.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file as a whole is not of this format; names key and rule.
        """
