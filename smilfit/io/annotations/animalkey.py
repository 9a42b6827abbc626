"""AnimalKey (SMAL4V): folders of frames, with a pickled array of keypoints, a mask and a box a frame."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from smilfit.body_models.files.model_arrays import as_array, read_pickle
from smilfit.files import BadFileError
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, numbers, read_json, read_valid_entries
from smilfit.io.annotations.grevyzebra import IMAGE_SUFFIXES, KEYPOINTS
from smilfit.io.annotations.masks import ImageMask
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet


@ANNOTATIONS.register_module(name='animalkey')
class AnimalKeyReader(AnnotationReader):
    """Reads a folder of frames, or a folder of such folders, each a sequence in time.

    Beside the images: `<frame>.pkl` (K x 3: x, y, visible), read by the allow-list reader, so that nothing runs;
    `masks/<frame>.png`; `bboxes.json` ({name: [x, y, width, height]}). Keypoints are px of the image that is
    beside them. Where a folder has `full_size/`, the images are crops of those, and `bboxes.json` says where
    the crops lie, which no crop needs to know. A frame without keypoints is there with its mask alone.

    Args:
        images: the folder of the images, with the same folders in it; the one that is read if None.
        names: the keypoints' names. If None, those of SMALST where there are 28, else `keypoint_0`, ...
        category: the species, which the format does not say.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        names: Sequence[str] | None = None,
        category: str = '',
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.names = None if names is None else tuple(names)
        self.category = category

    def read(self, path: str | Path) -> AnnotationSet:
        """Read the folder.

        Raises:
            FileNotFoundError: no folder, no image or no keypoints in it.
            ValueError: `bboxes.json` is malformed, or no array of keypoints can be read.
        """
        path = Path(path)
        inner = [path] if any(path.glob('*.pkl')) else sorted(path.glob('*/'))
        folders = [folder for folder in inner if any(folder.glob('*.pkl'))]
        if not folders:
            raise FileNotFoundError(
                f'{path}: the folder must hold <frame>.pkl, itself or in folders; there is none.'
            )
        names = self.names or _default_names(folders)
        entries = []
        for folder in folders:
            source = folder if self.images is None else self.images / folder.relative_to(path)
            frames = [p for p in sorted(source.iterdir()) if p.suffix in IMAGE_SUFFIXES]
            if not frames:
                raise FileNotFoundError(f'{source}: the folder must hold the frames; there is no image.')
            boxes = _boxes(folder)
            for order, frame in enumerate(frames):
                read = partial(self._read_frame, folder, frame, order, boxes, names)
                entries.append((str(folder / f'{frame.stem}.pkl'), read))
        images, skipped = read_valid_entries(entries)
        return AnnotationSet(path.name, names, images, skipped, temporal=True, flip=mirror_pairs(names))

    def image_folders(self, path: Path) -> tuple[Path, ...]:
        """Return `images`, and the folder that is read, in which the masks are."""
        return (path,) if self.images is None else (self.images, path)

    def _read_frame(
        self, folder: Path, image: Path, order: int, boxes: dict[str, np.ndarray], names: tuple[str, ...]
    ) -> AnnotatedImage:
        file, mask = folder / f'{image.stem}.pkl', folder / 'masks' / f'{image.stem}.png'
        points = np.zeros((len(names), 3))
        if file.is_file():
            points = numbers(as_array(read_pickle(file), f'{file}: keypoints'), (len(names), 3), 'keypoints')
        elif not mask.is_file():
            raise BadEntry('a frame must have keypoints or a mask; got neither.')
        confidence = (points[:, 2] > 0).astype(np.float64)
        digits = re.search(r'\d{1,15}$', image.stem)
        return AnnotatedImage(
            where=str(file),
            image=image,
            keypoints=np.where(confidence[:, None] > 0, points[:, :2], 0.0),
            confidence=confidence,
            box=boxes.get(image.name, boxes.get(image.stem)),
            mask=ImageMask(mask) if mask.is_file() else None,
            sequence=folder.name,
            frame=int(digits.group()) if digits else order,
            category=self.category,
        )


def _default_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Name the keypoints by the count of the first array that can be read."""
    for file in (file for folder in folders for file in sorted(folder.glob('*.pkl'))):
        try:
            count = len(numbers(as_array(read_pickle(file), f'{file}: keypoints'), (None, 3), 'keypoints'))
        except (ValueError, OSError):
            # It is reported when its frame is read.
            continue
        return KEYPOINTS if count == len(KEYPOINTS) else tuple(f'keypoint_{k}' for k in range(count))
    raise BadFileError(f'{folders[0]}: one <frame>.pkl at least must be an array of K x 3 numbers; got none.')


def _boxes(folder: Path) -> dict[str, np.ndarray]:
    """Return the boxes by image, where they are px of the images beside them."""
    file = folder / 'bboxes.json'
    if not file.is_file() or (folder / 'full_size').is_dir():
        return {}
    try:
        return {name: numbers(box, (4,), name) for name, box in read_json(file, dict, 'AnimalKey').items()}
    except BadEntry as error:
        raise BadFileError(f'{file}: {error}') from None
