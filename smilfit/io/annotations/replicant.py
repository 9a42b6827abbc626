"""replicAnt: rendered animals with keypoints in 2D and 3D, the camera, and an image of the subjects' ids."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from smilfit.files import BadFileError, shorten
from smilfit.files.names import Fence
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, given, numbers, one_of, read_json, reason_of, require
from smilfit.io.annotations.masks import ImageMask
from smilfit.io.image_opening import check_image_size
from smilfit.io.keypoint_names import check_keypoint_names, mirror_pairs
from smilfit.registry import ANNOTATIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotatedImage, AnnotationSet, Cameras, SkippedAnnotation

BATCH = '_BatchData_'
_IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.exr')


@dataclass(frozen=True)
class Batch:
    """What `_BatchData_<name>.json` says: the size of the images and the class of each subject."""

    size: tuple[int, int] | None = None
    classes: Mapping[str, str] | None = None


def list_files(path: Path) -> list[Path]:
    """Return the JSON files of the samples: a file itself, those of its batch, or those of a folder.

    Raises:
        FileNotFoundError: no such file, or no sample.
    """
    if not path.is_dir() and not path.name.startswith(BATCH):
        return [path]
    if not path.exists():
        raise FileNotFoundError(f'{path}: the annotations must exist; there is no such file.')
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.glob('*.json') if not file.name.startswith(BATCH))
    files = files if path.is_dir() else [file for file in files if batch_name(file) == path.name]
    if not files:
        raise FileNotFoundError(f'{path}: a batch must have a .json file for every image; got none.')
    return files


def batch_name(file: Path) -> str:
    """Name the batch file of a sample: `run_07.json` is of `_BatchData_run.json`."""
    return f'{BATCH}{file.stem.rpartition("_")[0]}.json'


def read_batch(path: Path) -> Batch:
    """Read a batch file; one that is not there leaves sizes to be found and classes unnamed."""
    if not path.is_file():
        return Batch()
    content = read_json(path, dict, 'replicAnt batch')
    try:
        resolution = require(content, 'Image Resolution', dict)
        width, height = (int(numbers(require(resolution, axis, (int, float)), (), axis)) for axis in 'xy')
        check_image_size('Image Resolution', width, height)
        subjects = require(content, 'Subject Variations', dict)
        classes = {number: require(subject, 'Class', str) for number, subject in subjects.items()}
    except ValueError as error:
        raise BadFileError(f'{path}: {error}') from None
    return Batch((width, height), classes)


def find_image(folder: Path, stem: str) -> Path:
    """Find the image of any kind and spelling; where there is none, name the one that replicAnt writes."""
    candidates = (folder / f'{stem}{spelt}' for suffix in _IMAGES for spelt in (suffix, suffix.upper()))
    return next((path for path in candidates if path.is_file()), folder / f'{stem}.JPG')


# From Unreal's world to ours.
MIRROR = np.array([1.0, -1.0, 1.0])
# Far beyond any scene's cm, and far from overflow.
_LARGEST = 1e30


def matrix_of(camera: Mapping[str, object], key: str) -> Float[np.ndarray, '4 4']:
    """Read a matrix that is written as four planes of x, y, z, w; it acts on row vectors from the right.

    Raises:
        BadEntry: no such matrix, or a number is missing.
    """
    matrix = require(camera, key, dict)
    rows = [
        [require(require(matrix, f'{row}Plane', dict), axis, (int, float)) for axis in 'xyzw']
        for row in 'xyzw'
    ]
    return numbers(rows, (4, 4), key)


def project_row_vectors(
    xyz: Float[np.ndarray, 'K 3'], projection: Float[np.ndarray, '4 4']
) -> tuple[Float[np.ndarray, 'K 2'], Float[np.ndarray, 'K']]:
    """Project points of Unreal's world by a View Projection Matrix.

    Returns:
        device coordinates, -1 to 1, x right and y up, and the depth, which is positive before the camera.
    """
    clip = np.concatenate((xyz, np.ones((len(xyz), 1))), axis=1) @ projection
    depth = clip[:, 3]
    # A depth of 0 has no image; the caller leaves it out.
    return clip[:, :2] / np.where(depth == 0, 1.0, depth)[:, None], depth


def camera_from_matrices(
    view: Float[np.ndarray, '4 4'], projection: Float[np.ndarray, '4 4'], size: tuple[int, int], unit: str
) -> Cameras:
    """Return the camera called 'picture' of a View and a View Projection Matrix, for points times `MIRROR`.

    Raises:
        BadEntry: a view that is no rotation, or a projection that is not that of a pinhole camera.
    """
    if max(np.abs(view).max(), np.abs(projection).max()) > _LARGEST:
        raise BadEntry(
            'View Matrix and View Projection Matrix must be of numbers that a scene has. Export it again.'
        )
    if abs(np.linalg.det(view)) < 0.5:
        raise BadEntry('View Matrix must be a rotation and a shift; got a singular matrix.')
    lens = np.linalg.inv(view) @ projection
    width, height = size
    # Width and height are seen by the forward direction alone, and x and y do not mix.
    absent = np.abs(lens[[0, 1, 3, 0, 1], [3, 3, 3, 1, 0]]).max()
    if not abs(lens[2, 3]) > 1e6 * absent:
        raise BadEntry(
            'View Projection Matrix must be the View Matrix with a perspective; got another projection.'
        )
    lens = lens / lens[2, 3]
    half = np.array([width, height]) / 2.0
    # Pixel centres are at integers: the viewport's outer corner is (-0.5, -0.5).
    centre = half * (1.0 + lens[2, :2] * (1.0, -1.0)) - 0.5
    focal = half * (lens[0, 0], lens[1, 1])
    K = np.array([[focal[0], 0.0, centre[0]], [0.0, focal[1], centre[1]], [0.0, 0.0, 1.0]])
    R = MIRROR[:, None] * view[:3, :3].T * MIRROR
    camera = Cameras(
        names=('picture',),
        K=torch.from_numpy(K)[None],
        R=torch.from_numpy(R)[None],
        t=torch.from_numpy(MIRROR * view[3, :3])[None],
        size=torch.tensor([[float(width), float(height)]], dtype=torch.float64),
        unit=unit,
    )
    try:
        camera.check('camera')
    except ValueError as error:
        raise BadEntry(str(error)) from None
    return camera


# How far a file's 2D points may be from the projection of its 3D points.
_AGREEMENT_PX = 0.1
# Unreal's unit of length.
_UNIT = 'cm'
_MOST_SIDE = 1e6
# A key of a shape coefficient: its principal component, counted from 1.
_COMPONENT = re.compile(r'PC_([0-9]{1,4})')


@ANNOTATIONS.register_module(name='replicant')
class ReplicantReader(AnnotationReader):
    """Read one JSON file, `_BatchData_<name>.json` for its whole batch, or a folder of batches.

    A subject in an image is an entry. 2D positions count from the outer corner of the first pixel, as Unreal's
    viewport does, and are shifted by half a pixel. Unreal's world is left-handed: y changes its sign, in points
    and cameras alike. Keypoints say where a joint is, seen or hidden; those behind the camera are missing.

    Args:
        images: the folder of images and id masks; that of the JSON files if None.
        masks: take `<name>_ID.png` where it is there; a subject's id is its red.
        category: read subjects of this class only; needed where classes have different keypoints.
        hidden: what becomes of subjects without a pixel in their id mask: 'skip' (and tell) or 'keep'.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        masks: bool = True,
        category: str | None = None,
        hidden: str = 'skip',
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.masks = masks
        self.category = category
        self.hidden = one_of('ReplicantReader', 'hidden', hidden, ('skip', 'keep'))

    def read(self, path: str | Path) -> AnnotationSet:
        """Read a file, a batch or a folder. In a batch, a file that is broken is in `skipped`.

        Raises:
            FileNotFoundError: no such file, or a folder without any.
            ValueError: a single file that is not replicAnt's, or one whose points and camera contradict each other.
            KeyError: no subject of the category; names the near ones.
        """
        path = Path(path)
        files = list_files(path)
        batches = {file.parent / batch_name(file): Batch() for file in files}
        batches = {name: read_batch(name) for name in batches}
        images: list[AnnotatedImage] = []
        skipped: list[SkippedAnnotation] = []
        names: tuple[str, ...] = ()
        classes: set[str] = set()
        for file in files:
            batch = batches[file.parent / batch_name(file)]
            try:
                content = require(read_json(file, dict, 'replicAnt'), 'iterationData', dict)
                subjects = _subjects(content)
            except (ValueError, OSError) as error:
                if file == path:
                    message = str(error)
                    raise BadFileError(
                        message if message.startswith(f'{file}') else f'{file}: {message}'
                    ) from None
                skipped.append(SkippedAnnotation(file.name, reason_of(error)))
                continue
            for number, subject in subjects:
                kind = (batch.classes or {}).get(number, '')
                classes.add(kind)
                if self.category not in (None, kind):
                    continue
                where = f'{file.name}, subject {shorten(number)}'
                try:
                    if not names:
                        result = tuple(require(subject, 'keypoints', dict))
                        check_keypoint_names(file, result)
                        names = result
                    images.append(self._entry(where, file, content, number, subject, names, batch.size, kind))
                except Exception as error:  # The file chose what happened here.
                    skipped.append(SkippedAnnotation(where, reason_of(error)))
        if self.category is not None and self.category not in classes:
            raise UnknownNameError(
                f'{path}: category must be a class of the subjects; {self.category!r} is none. '
                f'{did_you_mean(self.category, classes)}'
            )
        return AnnotationSet(
            name=path.stem.removeprefix(BATCH),
            keypoint_names=names,
            images=tuple(images),
            skipped=tuple(skipped),
            unit=_UNIT,
            flip=mirror_pairs(names),
        )

    def _entry(
        self,
        where: str,
        file: Path,
        content: Mapping[str, object],
        number: str,
        subject: object,
        names: tuple[str, ...],
        size: tuple[int, int] | None,
        kind: str,
    ) -> AnnotatedImage:
        points = require(subject, 'keypoints', dict)
        if set(points) != set(names):
            odd = [shorten(name, 40) for name in sorted(set(points) ^ set(names))[:5]]
            raise BadEntry(
                f'keypoints must be those of the first subject; {", ".join(odd)} differ. Choose one class with '
                'category.'
            )
        uv = _vectors(points, names, '2DPos', 'xy')
        xyz = _vectors(points, names, '3DPos', 'xyz')
        written = require(content, 'camera', dict)
        view, projection = matrix_of(written, 'View Matrix'), matrix_of(written, 'View Projection Matrix')
        device, depth = project_row_vectors(xyz, projection)
        visible = depth > 0
        size = size or _solve_size(device[visible], uv[visible])
        expected = (device * (0.5, -0.5) + 0.5) * size
        off = np.abs(expected - uv)[visible].max(initial=0.0)
        if not off < _AGREEMENT_PX:
            raise BadEntry(
                f'2DPos must be the projection of 3DPos in images of {size[0]}x{size[1]} px; '
                f'got {off:.2f} px beside it. Is the batch file of other images?'
            )
        folder = file.parent if self.images is None else self.images
        ids = folder / f'{file.stem}_ID.png'
        mask = ImageMask(ids, ((_red(number), 0, 0),)) if self.masks and ids.is_file() else None
        # It is opened here already; one that lies outside is left out as every other is.
        reachable = self.allow_outside_images or Fence([folder]).holds(ids)
        if mask is not None and reachable and self.hidden == 'skip' and not mask.read().any():
            raise BadEntry(
                f"{ids}: the mask must show the subject; it is hidden. hidden='keep' takes its keypoints."
            )
        betas = given(subject, 'shape betas')
        return AnnotatedImage(
            where=where,
            image=find_image(folder, file.stem),
            keypoints=np.where(visible[:, None], uv - 0.5, 0.0),
            confidence=visible.astype(np.float64),
            size=size,
            box=_box(given(subject, '2DBounds')),
            mask=mask,
            camera=camera_from_matrices(view, projection, size, _UNIT),
            keypoints3d=xyz * MIRROR,
            confidence3d=np.ones(len(names)),
            params=None if betas is None else {'betas': _betas(betas)},
            frame=int(numbers(content.get('iteration', 0), (), 'iteration')),
            category=kind,
        )


def _subjects(content: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return (id, subject): the file has a list of objects with one key each."""
    subjects = require(content, 'subject Data', list)
    if not all(isinstance(subject, dict) for subject in subjects):
        raise BadEntry('subject Data must be a list of objects; got a list of other things.')
    return [pair for subject in subjects for pair in subject.items()]


def _vectors(points: Mapping[str, object], names: tuple[str, ...], key: str, axes: str) -> np.ndarray:
    rows = [
        [require(require(points[name], key, dict), axis, (int, float)) for axis in axes] for name in names
    ]
    return numbers(rows, (len(names), len(axes)), key)


def _solve_size(device: np.ndarray, uv: np.ndarray) -> tuple[int, int]:
    """Find the size of the images from points in device coordinates and in px."""
    along = device * (0.5, -0.5) + 0.5
    length = (along**2).sum(0)
    if not (length > 0).all():
        raise BadEntry(
            'the size of the images must be known; no point tells it. Keep the _BatchData file beside.'
        )
    sides = np.round((along * uv).sum(0) / length)
    if not ((sides >= 1) & (sides < _MOST_SIDE)).all():
        raise BadEntry(
            'the size of the images must be known; points tell none. Keep the _BatchData file beside.'
        )
    width, height = sides.astype(int).tolist()
    check_image_size('image', width, height)
    return width, height


def _box(bounds: object) -> np.ndarray | None:
    if bounds is None:
        return None
    x0, y0, x1, y1 = (float(require(bounds, key, (int, float))) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
    if not (x1 > x0 and y1 > y0):
        return None
    return np.array([x0 - 0.5, y0 - 0.5, x1 - x0, y1 - y0])


def _betas(written: object) -> np.ndarray:
    """Return shape coefficients: a list of them, or an object of `PC_01`, `PC_02`, ..., which count from 1."""
    if not isinstance(written, Mapping):
        return numbers(written, (None,), 'shape betas')
    matches = {key: _COMPONENT.fullmatch(key) for key in written}
    by_number = {int(match[1]): key for key, match in matches.items() if match}
    # Two spellings of a number ('PC_1' and 'PC_01') leave fewer numbers than keys.
    if sorted(by_number) != list(range(1, len(written) + 1)):
        wrong = next((key for key, match in matches.items() if not match), None)
        got = (
            ', '.join(shorten(key, 40) for key in list(written)[:20]) if wrong is None else shorten(wrong, 40)
        )
        raise BadEntry(
            f'shape betas must be a list, or named PC_01, PC_02, ... without a gap; got {got}. Name them so.'
        )
    return numbers([written[by_number[n + 1]] for n in range(len(written))], (None,), 'shape betas')


def _red(number: str) -> int:
    if not (number.isascii() and number.isdecimal() and len(number) < 6) or not 0 < int(number) < 256:
        raise BadEntry(
            f"a subject's id must be 1 to 255 to have a mask; got {shorten(number)!r}. Leave masks out."
        )
    return int(number)
