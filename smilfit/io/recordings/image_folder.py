"""A folder of images as one camera's recording."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from smilfit.io.annotations.image_files import ImageSizes, read_still
from smilfit.io.recordings.synchronised_videos import RecordedFrame
from smilfit.structures import Cameras

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
_DIGITS = re.compile(r'(\d+)')


class ImageFolder:
    """The images of a folder in the order of their names, numbers counted as numbers.

    Args:
        folder: holds images of one size; what is of another, or does not decode, is reported frame by frame.
        camera: the camera's name.
        cameras: a calibrated one of that name.
        files: of the folder, to take only these.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
        ValueError: a calibration of another size.
    """

    fps = None

    def __init__(
        self,
        folder: str | Path,
        camera: str = 'camera',
        cameras: Cameras | None = None,
        files: Sequence[Path] | None = None,
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f'{self.folder}: the images must be in a folder; there is no such folder.'
            )
        self.files = images_in(self.folder) if files is None else list(files)
        if not self.files:
            raise FileNotFoundError(
                f'{self.folder}: the folder must hold images ({", ".join(IMAGE_SUFFIXES)}); found none.'
            )
        self.camera_names = (camera,)
        self.cameras = None if cameras is None else cameras.select(self.camera_names)
        self.sizes = {camera: self._first_size()}
        self.n_frames = len(self.files)
        if self.cameras is not None and tuple(self.cameras.size[0].int().tolist()) != self.sizes[camera]:
            raise ValueError(
                f'{self.folder}: images must have the size that camera {camera!r} was calibrated with, '
                f'{tuple(self.cameras.size[0].int().tolist())} px; got {self.sizes[camera]}.'
            )

    def _first_size(self) -> tuple[int, int]:
        sizes, last = ImageSizes(), None
        for path in self.files:
            try:
                return sizes.find(path, None)
            except (OSError, ValueError) as error:
                last = error
        raise ValueError(f'{self.folder}: one image at least must open; none does. The last says: {last}')

    def frames(self, numbers: Sequence[int]) -> Iterator[RecordedFrame]:
        """Decode images; a fault says why there is none."""
        (camera,) = self.camera_names
        for number in numbers:
            result = self._read(self.files[int(number)])
            images = {} if isinstance(result, str) else {camera: result}
            yield RecordedFrame(int(number), images, {camera: result} if isinstance(result, str) else {})

    def _read(self, path: Path) -> np.ndarray | str:
        (size,) = self.sizes.values()
        try:
            image = read_still(path, None)
        except (OSError, ValueError):
            return 'the image does not decode'
        if image.shape[1::-1] != size:
            return f'the image is not of the size of the others, {size[0]}x{size[1]} px'
        return image


def images_by_size(folder: Path) -> dict[tuple[int, int], list[Path]]:
    """Part the images of a folder by width and height; those that do not open are with the first."""
    sizes, result, broken = ImageSizes(), dict[tuple[int, int], list[Path]](), []
    for path in images_in(folder):
        try:
            result.setdefault(sizes.find(path, None), []).append(path)
        except (OSError, ValueError):
            broken.append(path)
    if result and broken:
        first = next(iter(result))
        result[first] = sorted(result[first] + broken, key=_natural)
    return result


def images_in(folder: Path) -> list[Path]:
    """List the images of a folder: 2 comes before 10."""
    result = (
        p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.')
    )
    return sorted((p for p in result if p.is_file()), key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = _DIGITS.split(path.name)
    return [(1, int(part), '') if part.isdigit() else (0, 0, part.lower()) for part in parts]
