"""Masks out of a folder of images."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from smilfit.files import folder_name, inside
from smilfit.io import ImageMask
from smilfit.registry import SEGMENTERS
from smilfit.segmentation.base import Frame, Segmenter
from smilfit.segmentation.plausibility import MaskLimits

PATTERN = '{camera}/{frame:06d}.png'


@SEGMENTERS.register_module()
class MaskFiles(Segmenter):
    """Reads masks of an annotator, or of another program: images of the size of the recording, black for background.

    Args:
        folder: holds the files.
        pattern: of their names in it, by camera, frame number (the first frame is 0) and, if it likes, session.
        limits: what a mask must keep to beside the fitted body; `MaskLimits()` if None.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a pattern that does not name camera and frame.
    """

    def __init__(self, folder: str | Path, pattern: str = PATTERN, limits: MaskLimits | None = None) -> None:
        super().__init__(limits)
        self.folder, self.pattern = Path(folder), pattern
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{folder}: masks must be in a folder; there is no such folder.')
        try:
            names = {pattern.format(camera=c, frame=n, session='') for c in 'ab' for n in (0, 1)}
        except (KeyError, IndexError, ValueError):
            names = set()
        if len(names) != 4:
            raise ValueError(
                f"MaskFiles: the pattern must name camera and frame, such as '{PATTERN}'; got {pattern!r}."
            )

    def find_mask(self, frame: Frame) -> Bool[np.ndarray, 'H W'] | str:
        """Read the frame's file.

        Raises:
            ValueError: a file that is no image, or of another size than the recording.
        """
        path = self._path(frame.camera, frame.number, frame.session)
        if not path.is_file():
            return f'there is no file {self.pattern}'
        mask = ImageMask(path).read()
        if mask.shape != frame.silhouette.shape:
            height, width = frame.silhouette.shape
            raise ValueError(
                f'{path}: a mask must have the size of its image, {width} x {height} px; got {mask.shape[1]} x '
                f'{mask.shape[0]}. Write masks of the recording as it was annotated.'
            )
        return mask

    def may_find(self, camera: str, number: int, session: str = '') -> bool:
        """Say whether there is a file."""
        return self._path(camera, number, session).is_file()

    def where(self, session: str = '') -> str:
        """Name the folder and the pattern."""
        example = self.pattern.replace('{session}', folder_name(session) if session else '')
        return f' (as {self.folder / example})'

    def _path(self, camera: str, number: int, session: str) -> Path:
        session = folder_name(session) if session else ''
        name = self.pattern.format(camera=folder_name(camera), frame=number, session=session)
        return inside(self.folder, name, 'MaskFiles')

    def fingerprint(self) -> str:
        """Give a digest of names, sizes and times of the files."""
        files = sorted(path for path in self.folder.rglob('*') if path.is_file())
        facts = [(str(p.relative_to(self.folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def quality(self, frame: Frame, mask: Bool[np.ndarray, 'H W']) -> float:
        """Believe who drew it."""
        return 1.0
