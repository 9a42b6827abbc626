"""A session in a dataset file: what is stored of it once, and what it answers by its kind."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float

from smilfit.datasets.store.store_layout import CAMERA_ARRAYS, ImageTable, SessionHeader
from smilfit.datasets.store.store_schema import FileFacts, check_session_tables
from smilfit.datasets.store.stored_values import LARGEST, check_cameras, check_finite, check_session_name
from smilfit.datasets.store.table_checks import Attributes, Table, check_table, refuse
from smilfit.files import reading
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.io.camera_warning import judge_cameras
from smilfit.structures import CameraReport, Cameras, Keypoints2d, SessionKind

if TYPE_CHECKING:
    from smilfit.datasets.store.store_reader import DatasetFile

# Images with cameras of their own are many: their tables are read in pieces of so many rows.
_ROWS = 1024


class RecordingData:
    """A recording in an open dataset file: frames of a rig.

    Args:
        file: the open file.
        header: what is stored of the session once.
        rows: its samples.
    """

    kind: SessionKind = 'recording'

    def __init__(self, file: 'DatasetFile', header: SessionHeader, rows: slice) -> None:
        self.file, self.header, self.rows, self.name = file, header, rows, header.name
        self.n_samples = rows.stop - rows.start
        self._camera_report = header.camera_report
        self._judged = header.camera_report is not None
        self._spread = _spread(header.cameras, file.camera_names)

    @property
    def temporal(self) -> bool:
        """Whether samples follow one another in time."""
        return True

    @property
    def cameras(self) -> Cameras | None:
        """The cameras of the annotated images, with their lenses; None if unknown."""
        return self.header.cameras if len(self.header.cameras) else None

    @property
    def rig(self) -> Cameras | None:
        """The cameras that all frames share."""
        return self.cameras

    def spread_cameras(self, row: int) -> dict[str, Float[np.ndarray, 'C ...']]:
        """Return the cameras of a sample, spread over the file's; zeros where the session has none."""
        return self._spread

    def labels(self) -> tuple[str, ...]:
        """Name the samples."""
        return tuple(f'{self.name}, {caption}' for caption in self.captions())

    def captions(self) -> tuple[str, ...]:
        """Name the samples where the session is named already."""
        return tuple(f'frame {frame}' for frame in self.file.frame_of[self.rows].tolist())

    def entries(self) -> tuple[str, ...]:
        """Name each sample's annotation, by file and number; `''` where that is not known."""
        return ('',) * self.n_samples

    def intrinsics_known(self) -> Bool[np.ndarray, ' n']:
        """Report on which samples the intrinsics were known."""
        return np.ones(self.n_samples, np.bool_)

    def camera_report(self, observed: Keypoints2d) -> CameraReport | None:
        """Return what the cameras were judged to be: by preprocessing, else now by all labels, once for this file."""
        if not self._judged:
            self._camera_report, self._judged = judge_cameras(observed), True
        return self._camera_report

    def fitted2d(self) -> Keypoints2d:
        """Return 2D keypoints as they are fitted: px of the original images."""
        return self.file.keypoints2d(self.name)

    def annotated2d(self) -> Keypoints2d | None:
        """Return keypoints in px of the annotated images, with their lenses; None where no camera saw any."""
        return self.file.annotated2d(self.name) if self.file.view_mask_of[self.rows].any() else None


class PointData(RecordingData):
    """Points in space in an open dataset file: without images, under known cameras or none."""

    kind: SessionKind = 'points'


class ImageData(RecordingData):
    """Images in an open dataset file, each with a camera of its own: cameras have a row a sample."""

    kind: SessionKind = 'images'

    def __init__(self, file: 'DatasetFile', header: SessionHeader, rows: slice, images: ImageTable) -> None:
        super().__init__(file, header, rows)
        self.images = images

    @property
    def temporal(self) -> bool:
        """Whether the images follow one another in time."""
        return self.images.temporal

    @property
    def rig(self) -> None:
        """No cameras are those of all images."""
        return None

    def spread_cameras(self, row: int) -> dict[str, Float[np.ndarray, 'C ...']]:
        """Return the cameras of a sample, spread over the file's."""
        return {name: value[row] for name, value in self._spread.items()}

    def labels(self) -> tuple[str, ...]:
        """Name the images: file, and entry where they were annotated one by one."""
        return self.images.labels

    def captions(self) -> tuple[str, ...]:
        """Name the images."""
        return self.labels()

    def entries(self) -> tuple[str, ...]:
        """Name each image's annotation, by file and number; `''` where that is not known."""
        return self.images.entries or super().entries()

    def intrinsics_known(self) -> Bool[np.ndarray, ' n']:
        """Report of which images the intrinsics were known; of the others K is a guess."""
        return self.images.intrinsics_known

    def fitted2d(self) -> Keypoints2d:
        """Return 2D keypoints in px of the stored crops: images of all sizes then mean the same to a loss."""
        return self.file.keypoints2d(self.name, stored=True)


def session_data(file: 'DatasetFile', header: SessionHeader, rows: slice) -> RecordingData:
    """Return a session of an open file by its kind."""
    if header.images is not None:
        return ImageData(file, header, rows, header.images)
    return (RecordingData if header.has_images else PointData)(file, header, rows)


def write_session(group: h5py.Group, session: SessionHeader) -> None:
    """Write what is stored of a session once."""
    group.attrs['name'] = session.name
    group.attrs['unit'] = session.unit or ''
    group.attrs['fps'] = float('nan') if session.fps is None else session.fps
    group.attrs['source'] = session.source
    if session.recording:
        group.attrs['recording'] = json.dumps(dict(session.recording))
    if session.camera_report is not None:
        group.attrs['camera_report'] = json.dumps(session.camera_report.record())
    if not session.has_images:
        group.attrs['has_images'] = False
    _write_cameras(group, session)
    if session.betas is not None and len(session.betas):
        _write(group, 'betas', np.asarray(session.betas, np.float64))
    if session.images is not None:
        group.attrs['temporal'] = session.images.temporal
        _write(group, 'intrinsics_known', session.images.intrinsics_known, True)
        # Text as bytes end to end: a checksum does not reach strings of variable length.
        _write_texts(group, 'labels', session.images.labels)
        if session.images.entries:
            _write_texts(group, 'entries', session.images.entries)


def _write_cameras(group: h5py.Group, session: SessionHeader) -> None:
    cameras = session.cameras
    group.attrs['camera_names'] = json.dumps(list(cameras.names))
    if not len(cameras):
        return
    dist = cameras.K.new_zeros(*cameras.K.shape[:-2], 5) if cameras.dist is None else cameras.dist
    tensors = {name: getattr(cameras, name) for name in CAMERA_ARRAYS} | {'dist': dist}
    for name, value in tensors.items():
        _write(group, name, value.detach().cpu().double().numpy(), session.images is not None)


def _write_texts(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    _write(group, name, np.frombuffer(json.dumps(list(texts)).encode(), np.uint8))


def _write(group: h5py.Group, name: str, array: np.ndarray, by_row: bool = False) -> None:
    chunks = (min(len(array), _ROWS), *array.shape[1:]) if by_row else array.shape
    group.create_dataset(name, data=array, chunks=chunks, fletcher32=True)


def read_session(group: h5py.Group, facts: FileFacts, n_samples: int, path: Path) -> SessionHeader:
    """Read what `write_session` wrote; the session's own betas and images are None where it has none.

    Args:
        group: the session's.
        facts: what the file states of itself.
        n_samples: how many samples are of the session.
        path: the file, for messages.

    Raises:
        BadFileError: something is missing, of another kind or shape, or no camera's.
        OSError: data that fail their checksum.
    """
    place = group.name.strip('/')
    with reading(path, place):
        attributes = Attributes(group, path)
        unit, names = attributes.text('unit') or None, attributes.names('camera_names')
        has_images = attributes.flag('has_images') if 'has_images' in attributes else True
        strange = sorted(set(names) - set(facts.camera_names))
        if strange or not (names or not has_images):
            refuse(
                path, f'the cameras of {place}', "be some of the file's", strange[0] if strange else 'none'
            )
        own = n_samples if 'labels' in group else None
        cameras = _cameras(group, names, own, unit, path) if names else Cameras.none(unit)
        return SessionHeader(
            name=check_session_name(attributes.text('name'), str(path)),
            cameras=cameras,
            unit=unit,
            fps=_fps(attributes, path),
            source=attributes.text('source'),
            recording=attributes.record('recording') if 'recording' in group.attrs else {},
            betas=_betas(group, facts.n_betas, path),
            images=None if own is None else _images(group, own, attributes, path),
            has_images=has_images,
            camera_report=_camera_report(attributes, names, path),
        )


def _cameras(
    group: h5py.Group, names: tuple[str, ...], own: int | None, unit: str | None, path: Path
) -> Cameras:
    place = group.name.strip('/')
    check_session_tables(group, len(names), own, path)
    arrays = {name: _read(group, name, path).astype(np.float64) for name in CAMERA_ARRAYS}
    check_cameras(arrays, {name: f'{place}/{name}' for name in arrays}, path)
    return Cameras(names=names, **{n: torch.from_numpy(a) for n, a in arrays.items()}, unit=unit)


def _read(group: h5py.Group, name: str, path: Path) -> np.ndarray:
    table = group[name]
    check_budget(path, table.name, table.size * table.dtype.itemsize, MOST_ARRAY_BYTES)
    # Each table by itself, so that a checksum that fails names it.
    with reading(path, table.name.strip('/')):
        return table[()]


def _fps(attributes: Attributes, path: Path) -> float | None:
    fps = attributes.number('fps')
    if np.isnan(fps):
        return None
    if not 0 <= fps < LARGEST:
        refuse(path, "a session's frames per second", 'be finite and not negative', fps)
    return fps


def _camera_report(attributes: Attributes, names: tuple[str, ...], path: Path) -> CameraReport | None:
    if 'camera_report' not in attributes:
        return None
    with reading(path, "what a session's cameras were judged to be"):
        return CameraReport.from_record(attributes.record('camera_report'), names)


def _betas(group: h5py.Group, n_betas: int, path: Path) -> np.ndarray | None:
    if not check_table(group, 'betas', Table('f', (n_betas,), optional=True), {}, path):
        return None
    betas = _read(group, 'betas', path).astype(np.float64)
    check_finite(betas, group['betas'].name, path)
    return betas


def _images(group: h5py.Group, count: int, attributes: Attributes, path: Path) -> ImageTable:
    labels = _texts(group, 'labels', count, path)
    entries = _texts(group, 'entries', count, path) if 'entries' in group else ()
    known = _read(group, 'intrinsics_known', path)
    return ImageTable(labels, known, attributes.flag('temporal'), entries)


def _texts(group: h5py.Group, name: str, count: int, path: Path) -> tuple[str, ...]:
    check_table(group, name, Table('u', (None,)), {}, path)
    text = _read(group, name, path).tobytes()
    place = group[name].name.strip('/')
    with reading(path, place):
        texts = json.loads(text)
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        refuse(path, place, 'be a JSON list of texts', texts)
    if len(texts) != count:
        refuse(path, place, f'name the {count} samples of the session', len(texts))
    return tuple(texts)


def _spread(cameras: Cameras, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Spread a session's cameras over the file's union; cameras it lacks are zeros."""
    lead, n = cameras.K.shape[:-3], len(names)
    columns = [names.index(name) for name in cameras.names]
    rig = {
        k: np.zeros((*lead, n, *s)) for k, s in (('K', (3, 3)), ('R', (3, 3)), ('t', (3,)), ('dist', (5,)))
    }
    at = (slice(None),) * len(lead) + (columns,)
    for key, value in rig.items():
        source = getattr(cameras, key)
        if source is not None:
            value[at] = source.numpy()
    return rig
