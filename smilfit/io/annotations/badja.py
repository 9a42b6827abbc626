"""BADJA: joints of animals in videos, (row, column) in the file (Biggs et al., ACCV 2018)."""

from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import (
    BadEntry,
    frame_number,
    given,
    image_path,
    numbers,
    one_of,
    place,
    read_listed_entries,
    read_valid_entries,
    require,
)
from smilfit.io.annotations.masks import ImageMask
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation


@ANNOTATIONS.register_module(name='badja')
class BadjaReader(AnnotationReader):
    """Read one of BADJA's JSON files, which is one video, or a folder of them.

    The files count in rows and columns of pixels; keypoints come out as (x, y). Names are those of the data
    set's joint catalogue: joints of the SMAL model, then places on its surface.

    Args:
        images: the data set's root, which holds `DAVIS` and `extra_videos`; beside `joint_annotations` if None.
        masks: take the segmentations, too.
        occluded: what becomes of joints with a position that are marked invisible: 'drop' or 'keep'.
    """

    keypoint_names: tuple[str, ...] = (
        *(f'body_{i}' for i in range(7)),
        *(f'upper_right_{i}' for i in range(4)),
        *(f'upper_left_{i}' for i in range(4)),
        'neck_lower', 'neck_upper',
        *(f'lower_right_{i}' for i in range(4)),
        *(f'lower_left_{i}' for i in range(4)),
        *(f'tail_{i}' for i in range(7)),
        'jaw', 'nose', 'chin', 'right_ear', 'left_ear',
    )  # fmt: skip

    def __init__(
        self,
        images: str | Path | None = None,
        masks: bool = True,
        occluded: str = 'drop',
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.masks = masks
        self.occluded = one_of('BadjaReader', 'occluded', occluded, ('drop', 'keep'))

    def read(self, path: str | Path) -> AnnotationSet:
        """Read a file or all files of a folder; a sequence has the name of its file.

        Raises:
            FileNotFoundError: no such file, or a folder without any.
            ValueError: a file that is no list of entries with `image_path` and `joints`.
        """
        path = Path(path)
        files = sorted(path.glob('*.json')) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f'{path}: the folder must hold .json files; got none.')
        images: list[AnnotatedImage] = []
        skipped: list[SkippedAnnotation] = []
        for file in files:
            good, bad = self._read_file(file)
            images += sorted(good, key=lambda image: image.frame)
            skipped += bad
        return AnnotationSet(
            name=path.stem,
            keypoint_names=self.keypoint_names,
            images=tuple(images),
            skipped=tuple(skipped),
            temporal=True,
            flip=mirror_pairs(self.keypoint_names),
        )

    def image_folders(self, path: Path) -> tuple[Path, ...]:
        """Return `images`, else the folder beside `joint_annotations`, else that of the file."""
        if self.images is not None:
            return (self.images,)
        folder = path if path.is_dir() else path.parent
        return (folder.parent if folder.name == 'joint_annotations' else folder,)

    def _read_file(self, path: Path) -> tuple[tuple[AnnotatedImage, ...], tuple[SkippedAnnotation, ...]]:
        entries = read_listed_entries(path, 'BADJA', 'image_path', 'joints')
        (root,) = self.image_folders(path)
        images, skipped = read_valid_entries(
            (where, partial(self._entry, where, root, index, entry))
            for index, entry in enumerate(entries)
            for where in (place(path, index, given(entry, 'image_path')),)
        )
        return tuple(replace(image, sequence=path.stem) for image in images), skipped

    def _entry(self, where: str, root: Path, index: int, entry: object) -> AnnotatedImage:
        name = require(entry, 'image_path', str)
        count = len(self.keypoint_names)
        joints = numbers(require(entry, 'joints', list), (count, 2), 'joints')
        visible = numbers(require(entry, 'visibility', list), (count,), 'visibility') > 0
        valid = (joints != 0).any(-1)
        if (visible & ~valid).any():
            raise BadEntry('joints must have a position where they are visible; got (0, 0).')
        if self.occluded == 'keep':
            visible = valid
        segmentation = given(entry, 'segmentation_path')
        frame = PurePosixPath(name).stem
        return AnnotatedImage(
            where=where,
            image=image_path(root, name),
            keypoints=np.where(visible[:, None], joints[:, ::-1], 0.0),
            confidence=visible.astype(np.float64),
            mask=ImageMask(image_path(root, segmentation)) if self.masks and segmentation else None,
            frame=index if (number := frame_number(frame)) is None else number,
        )
