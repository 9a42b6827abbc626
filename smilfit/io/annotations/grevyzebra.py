"""Grevy's zebras of SMALST: a MATLAB file an image, with the keypoints of TigDog and the face."""

from functools import partial
from pathlib import Path

import numpy as np

from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, given, read_valid_entries
from smilfit.io.annotations.masks import ImageMask
from smilfit.io.annotations.tigdog import LANDMARKS
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.io.mat_files import read_mat
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet

SUFFIX = '_ferrari-tail-face.mat'
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.JPG')
KEYPOINTS = (
    *LANDMARKS,
    'tail_tip',
    'left_ear',
    'right_ear',
    'left_nostril',
    'right_nostril',
    'left_mouth',
    'right_mouth',
    'left_cheek',
    'right_cheek',
)
FLIP = mirror_pairs(KEYPOINTS)


@ANNOTATIONS.register_module(name='grevyzebra')
class GrevyZebraReader(AnnotationReader):
    """Reads a folder of `<image>_ferrari-tail-face.mat` files: a struct `annotation` of `kp` and `invisible`.

    Args:
        images: the folder of the images; that of the annotations if None.
        masks: the folder of `<image>.png` silhouettes, where there is one.
        first_pixel: the coordinate of the first pixel's centre; MATLAB's tools, in which the points were clicked,
            say 1.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        masks: str | Path | None = None,
        first_pixel: float = 1.0,
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.masks = None if masks is None else Path(masks)
        self.first_pixel = first_pixel

    def read(self, path: str | Path) -> AnnotationSet:
        """Read a folder, or one file."""
        path = Path(path)
        files = sorted(path.glob(f'*{SUFFIX}')) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise FileNotFoundError(f'{path}: there must be files <image>{SUFFIX}; there is none.')
        images, skipped = read_valid_entries((str(file), partial(self._read_file, file)) for file in files)
        return AnnotationSet('grevyzebra', KEYPOINTS, images, skipped, flip=FLIP)

    def image_folders(self, path: Path) -> tuple[Path, ...]:
        """Return the folder of the images, and that of the masks."""
        folders = super().image_folders(path)
        return folders if self.masks is None else (*folders, self.masks)

    def _read_file(self, file: Path) -> AnnotatedImage:
        keypoints, confidence = _points(read_mat(file).get('annotation'))
        stem = file.name.removesuffix(SUFFIX)
        mask = None if self.masks is None else self.masks / f'{stem}.png'
        return AnnotatedImage(
            where=str(file),
            image=find_image(self.images or file.parent, stem),
            keypoints=np.where(confidence[:, None] > 0, keypoints - self.first_pixel, 0.0),
            confidence=confidence,
            mask=ImageMask(mask) if mask is not None else None,
            category='zebra',
        )


def find_image(folder: Path, stem: str) -> Path:
    """Return the image of that name, of any usual type; `.jpg` where there is none."""
    result = (folder / f'{stem}{suffix}' for suffix in IMAGE_SUFFIXES)
    return next((path for path in result if path.is_file()), folder / f'{stem}.jpg')


def _points(annotation: object) -> tuple[np.ndarray, np.ndarray]:
    kp, invisible = (np.asarray(given(annotation, key)) for key in ('kp', 'invisible'))
    if kp.shape != (len(KEYPOINTS), 2) or invisible.size != len(KEYPOINTS):
        raise BadEntry(
            f'annotation must be a struct of kp ({len(KEYPOINTS)} x 2) and invisible ({len(KEYPOINTS)}); got '
            f'{kp.shape} and {invisible.size}. Copy the file again.'
        )
    xy = kp.astype(np.float64)
    visible = ~invisible.ravel().astype(bool) & np.isfinite(xy).all(-1)
    return xy, visible.astype(np.float64)
