"""TigDog: landmarks of horses, tigers and dogs in video shots, in MATLAB files."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, read_valid_entries, reason_of
from smilfit.io.annotations.masks import RleMask
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.io.mat_files import read_mat
from smilfit.io.sequence_names import sequence_name
from smilfit.registry import ANNOTATIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation

# Knees are the upper joints of a leg (elbow, stifle), ankles the middle ones (wrist, hock); some loaders of this
# set call the ankles elbows. Other sets begin with the same landmarks.
LANDMARKS = (
    'left_eye',
    'right_eye',
    'chin',
    'left_front_foot',
    'right_front_foot',
    'left_back_foot',
    'right_back_foot',
    'tail_start',
    'left_front_knee',
    'right_front_knee',
    'left_back_knee',
    'right_back_knee',
    'left_shoulder',
    'right_shoulder',
    'left_front_ankle',
    'right_front_ankle',
    'left_back_ankle',
    'right_back_ankle',
    'neck',
)
N_USED = 18
# Shots and frames have smaller numbers.
_MOST_NUMBER = 1e9


@ANNOTATIONS.register_module(name='tigdog')
class TigDogReader(AnnotationReader):
    """Reads a folder `behaviorDiscovery2.0`: `ranges/<animal>/ranges.mat` and `landmarks/<animal>/<shot>.mat`.

    A shot is a sequence in time, `<animal>+<shot>`. Images are `<animal>/%08d.jpg` in the folder; masks come from
    `<animal>Seg/seg<shot>.mat` where they are. A shot without a file of landmarks is left out and reported.

    Args:
        images: the folder of the animals' folders of images; the one that is read if None.
        animals: which to read, such as ('horse',); all if None.
        with_neck: read the 19th landmark too, which published evaluations leave out.
        first_pixel: the coordinate of the first pixel's centre; MATLAB's tools, in which the landmarks were
            clicked, say 1.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        animals: tuple[str, ...] | list[str] | None = None,
        with_neck: bool = False,
        first_pixel: float = 1.0,
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.animals = animals
        self.names = LANDMARKS if with_neck else LANDMARKS[:N_USED]
        self.first_pixel = first_pixel

    def read(self, path: str | Path) -> AnnotationSet:
        """Read the folder.

        Raises:
            KeyError: an animal that is not there.
        """
        path = Path(path)
        root = path if (path / 'ranges').is_dir() else path / 'behaviorDiscovery2.0'
        valid = sorted(file.parent.name for file in root.glob('ranges/*/ranges.mat'))
        if not valid:
            raise FileNotFoundError(
                f'{path}: the folder must hold ranges/<animal>/ranges.mat; there is none.'
            )
        images: list[AnnotatedImage] = []
        skipped: list[SkippedAnnotation] = []
        for animal in valid if self.animals is None else self.animals:
            if animal not in valid:
                raise UnknownNameError(f'{path}: no animal {animal!r}. {did_you_mean(animal, valid)}')
            for shot in _ranges(root / 'ranges' / animal / 'ranges.mat'):
                file = root / 'landmarks' / animal / f'{shot[0]}.mat'
                try:
                    result, left_out = read_valid_entries(self._shot(root, animal, shot, file))
                except Exception as error:  # The file chose what happened here.
                    skipped.append(SkippedAnnotation(f'{file} (shot {shot[0]})', reason_of(error)))
                    continue
                images += result
                skipped += left_out
        return AnnotationSet(
            'tigdog', self.names, tuple(images), tuple(skipped), temporal=True, flip=mirror_pairs(self.names)
        )

    def _shot(
        self, root: Path, animal: str, shot: tuple[int, int, int], file: Path
    ) -> list[tuple[str, Callable[[], AnnotatedImage]]]:
        """Return the entries of a shot, unread."""
        number, first, last = shot
        frames = _cells(file, 'landmarks', last - first + 1)
        seg = root / f'{animal}Seg' / f'seg{number}.mat'
        masks = _cells(seg, 'segments', len(frames)) if seg.is_file() else [None] * len(frames)
        folder = (self.images or root) / animal
        entries: list[tuple[str, Callable[[], AnnotatedImage]]] = []
        for offset, (landmarks, mask) in enumerate(zip(frames, masks)):
            where = f'{file}, frame {offset + 1} of {len(frames)}'
            blank = AnnotatedImage(
                where=where,
                image=folder / f'{first + offset:08d}.jpg',
                keypoints=np.zeros((len(self.names), 2)),
                confidence=np.zeros(len(self.names)),
                sequence=sequence_name(animal, str(number)),
                frame=offset,
                category=animal,
            )
            entries.append((where, partial(self._filled, blank, landmarks, mask)))
        return entries

    def _filled(self, blank: AnnotatedImage, landmarks: object, mask: object) -> AnnotatedImage:
        keypoints, confidence = _points(landmarks, len(self.names))
        return replace(
            blank,
            keypoints=np.where(confidence[:, None] > 0, keypoints - self.first_pixel, 0.0),
            confidence=confidence,
            mask=None if mask is None or not np.asarray(mask).size else _run_lengths(np.asarray(mask) > 0),
        )


def _ranges(file: Path) -> list[tuple[int, int, int]]:
    table = read_mat(file).get('ranges')
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != 3:
        raise BadFileError(
            f'{file}: ranges must be N x 3 (shot, first and last frame); got {_shape(table)}. Copy it again.'
        )
    if not (np.abs(table) < _MOST_NUMBER).all() or (table[:, 2] < table[:, 1]).any():
        raise BadFileError(
            f'{file}: ranges must be whole numbers, the first frame before the last; some are not. Copy the file '
            'again.'
        )
    return [(int(shot), int(first), int(last)) for shot, first, last in table]


def _cells(file: Path, variable: str, count: int) -> list[object]:
    """Return one cell a frame of the shot."""
    cells = read_mat(file).get(variable)
    cells = [cells] if isinstance(cells, dict) else cells
    if not isinstance(cells, list) or len(cells) != count:
        got = len(cells) if isinstance(cells, list) else type(cells).__name__
        raise BadFileError(
            f'{file}: {variable} must be {count} cells, one a frame of the range; got {got}. Copy it again.'
        )
    return cells


def _points(landmarks: object, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates and confidence of a struct, whose two fields are positions and visibility."""
    fields = list(landmarks.values()) if isinstance(landmarks, dict) else []
    if len(fields) < 2 or np.shape(fields[0]) != (len(LANDMARKS), 2) or np.size(fields[1]) != len(LANDMARKS):
        raise BadEntry(
            f'landmarks must be a struct of positions ({len(LANDMARKS)} x 2) and visibility; got '
            f'{[_shape(field) for field in fields]}.'
        )
    xy = np.asarray(fields[0], dtype=np.float64)[:count]
    visible = (np.asarray(fields[1]).ravel()[:count] > 0) & np.isfinite(xy).all(-1)
    return xy, visible.astype(np.float64)


def _run_lengths(mask: np.ndarray) -> RleMask:
    """Keep a mask small: whole videos of masks do not fit into memory."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate((changes, [flat.size]))
    runs = np.diff(ends, prepend=0).tolist()
    return RleMask([0, *runs] if flat[0] else runs, (mask.shape[1], mask.shape[0]))


def _shape(value: object) -> object:
    return np.shape(value) if isinstance(value, np.ndarray) else type(value).__name__
