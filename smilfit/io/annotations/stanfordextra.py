"""Animal Pose in WLDO's JSON form: the schema and keypoint order of StanfordExtra, Animal Pose's names."""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.budget import check_budget
from smilfit.files.numpy_files import read_header
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import (
    BadEntry,
    given,
    image_path,
    image_size,
    numbers,
    one_of,
    place,
    read_listed_entries,
    read_valid_entries,
    require,
)
from smilfit.io.annotations.masks import RleMask
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet


@ANNOTATIONS.register_module(name='stanfordextra')
class StanfordExtraReader(AnnotationReader):
    """Read StanfordExtra's JSON: a list of dogs, with images relative to Stanford Dogs' folder `Images`.

    Keypoints are means of clicked pixels, so pixel centres are at integers already. An entry's category is the
    breed, from the name of its folder.

    Args:
        images: the folder that image paths are relative to; the file's own if None.
        multiple: what becomes of entries marked as several dogs: 'skip' (and tell) or 'keep'.
        split: `.npy` file of the indices of a split; all entries if None.
    """

    form = 'StanfordExtra'
    # Order and places: keypoint_definitions.csv of the data set.
    keypoint_names: tuple[str, ...] = (
        'left_front_paw', 'left_front_middle', 'left_front_top',
        'left_rear_paw', 'left_rear_middle', 'left_rear_top',
        'right_front_paw', 'right_front_middle', 'right_front_top',
        'right_rear_paw', 'right_rear_middle', 'right_rear_top',
        'tail_start', 'tail_end', 'left_ear_base', 'right_ear_base', 'nose', 'chin',
        'left_ear_tip', 'right_ear_tip', 'left_eye', 'right_eye', 'withers', 'throat',
    )  # fmt: skip

    def __init__(
        self,
        images: str | Path | None = None,
        multiple: str = 'skip',
        split: str | Path | None = None,
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.multiple = one_of(type(self).__name__, 'multiple', multiple, ('skip', 'keep'))
        self.split = split

    def read(self, path: str | Path) -> AnnotationSet:
        """Read the file; entries that break a rule are in `skipped`.

        Raises:
            FileNotFoundError: no such file, or no file of the split.
            ValueError: no list of entries with `img_path` and `joints`, or a split of other indices.
        """
        path = Path(path)
        entries = read_listed_entries(path, self.form, 'img_path', 'joints')
        folder = path.parent if self.images is None else self.images
        chosen = range(len(entries)) if self.split is None else _read_split(self.split, len(entries))
        images, skipped = read_valid_entries(
            (where, partial(self._entry, where, folder, entries[index]))
            for index in chosen
            for where in (place(path, index, given(entries[index], 'img_path')),)
        )
        return AnnotationSet(
            name=path.stem,
            keypoint_names=self.keypoint_names,
            images=images,
            skipped=skipped,
            flip=mirror_pairs(self.keypoint_names),
        )

    def _entry(self, where: str, folder: Path, entry: object) -> AnnotatedImage:
        name = require(entry, 'img_path', str)
        if self.multiple == 'skip' and given(entry, 'is_multiple_dogs'):
            raise BadEntry(
                "is_multiple_dogs must be false: this annotation is of several animals. multiple='keep' takes it."
            )
        size = image_size(entry, 'img_width', 'img_height')
        joints = numbers(require(entry, 'joints', list), (len(self.keypoint_names), 3), 'joints')
        confidence = joints[:, 2]
        if ((confidence < 0) | (confidence > 1)).any():
            raise BadEntry(
                f'joints must have a visibility in [0, 1]; got {confidence.min()} to {confidence.max()}.'
            )
        text, box = given(entry, 'seg'), given(entry, 'img_bbox')
        if text is not None and not isinstance(text, str):
            raise BadEntry(f'seg must be text of run lengths; got {type(text).__name__}.')
        breed = PurePosixPath(name).parent.name
        return AnnotatedImage(
            where=where,
            image=image_path(folder, name),
            keypoints=np.where(confidence[:, None] > 0, joints[:, :2], 0.0),
            confidence=confidence,
            size=size,
            box=numbers(box, (4,), 'img_bbox') if box else None,
            mask=RleMask(text, size) if text else None,
            category=breed.split('-', 1)[-1],
        )


def _read_split(path: str | Path, count: int) -> list[int]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the split must exist; there is no such file.')
    with reading(path, 'the split'):
        indices = _read_numbers(path)
    if indices.ndim != 1 or indices.dtype.kind not in 'iu' or not ((indices >= 0) & (indices < count)).all():
        raise BadFileError(
            f'{path}: the split must be whole numbers below {count}; got {indices.dtype} of shape {indices.shape}. '
            'Does it belong to another version of the annotations?'
        )
    return indices.tolist()


def _read_numbers(path: Path) -> np.ndarray:
    """Read a .npy file whose stated size is that of its data."""
    with path.open('rb') as file:
        try:
            shape, _, dtype = read_header(file)
        except ValueError as error:
            raise BadFileError(
                f'{path}: the split must be a .npy file of numbers; got: {shorten(error)}. Save it by numpy.save.'
            ) from None
        if dtype.kind not in 'biuf':
            raise BadFileError(
                f'{path}: the split must be a .npy file of numbers; got {shorten(str(dtype))}. Nothing was run.'
            )
        count = int(np.prod(shape, dtype=object))
        check_budget(path, 'the split', count * dtype.itemsize, path.stat().st_size)
        return np.frombuffer(file.read(), dtype).reshape(shape)


@ANNOTATIONS.register_module(name='animalpose')
class AnimalPoseReader(StanfordExtraReader):
    """Read `animal_pose_data.json`; images are those of PASCAL VOC.

    Places are named as Animal Pose (Cao et al., ICCV 2019) names them. TailEnd, Chin and the ears' tips are in
    the order of StanfordExtra only; Animal Pose does not label them.
    """

    form = 'Animal Pose'
    keypoint_names = (
        'L_F_Paw', 'L_F_Knee', 'L_F_Elbow', 'L_B_Paw', 'L_B_Knee', 'L_B_Elbow',
        'R_F_Paw', 'R_F_Knee', 'R_F_Elbow', 'R_B_Paw', 'R_B_Knee', 'R_B_Elbow',
        'TailBase', 'TailEnd', 'L_EarBase', 'R_EarBase', 'Nose', 'Chin',
        'L_EarTip', 'R_EarTip', 'L_Eye', 'R_Eye', 'Withers', 'Throat',
    )  # fmt: skip
