"""Read rows of a dataset file's sample tables, each value checked as it is read."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from smilfit.datasets.store.hdf5_handle import Hdf5Handle
from smilfit.datasets.store.store_layout import PARAM_NAMES, CentreRecord
from smilfit.datasets.store.store_schema import BYTES_TABLES, CENTRE_TABLES, FileFacts
from smilfit.datasets.store.stored_images import most_bytes
from smilfit.datasets.store.stored_values import (
    check_affine,
    check_byte_ranges,
    check_finite,
    check_params,
    check_points,
)
from smilfit.datasets.store.table_checks import refuse
from smilfit.files.budget import check_budget

# What one session's rows of one table may take, which is what a caller asks for at once.
MOST_ROWS_BYTES = 1 << 34
# Offsets of images are looked through in pieces of so many samples.
_PIECE = 1 << 16


class StoredSamples:
    """Samples of a dataset file by rows, which are slices or numbers.

    Args:
        handle: of the file.
        facts: what the file states of itself.

    Every method raises BadFileError, which names file and table, where values break a rule, and OSError where they
    fail their checksum.
    """

    def __init__(self, handle: Hdf5Handle, facts: FileFacts) -> None:
        self._handle, self._facts, self._path = handle, facts, handle.path

    def affine(self, rows: slice | int, present: Bool[np.ndarray, '*n C']) -> Float[np.ndarray, '*n C 2 3']:
        """Read the maps from original to stored px; where there is no image, the identity."""
        if not self._facts.camera_names:
            return np.zeros((*present.shape, 2, 3))
        affine = self._read('samples/affine', rows)
        check_affine(affine, present, 'samples/affine', self._path)
        affine[~present] = np.eye(2, 3)
        return affine

    def points(
        self, dimension: int, rows: slice | int
    ) -> tuple[Float[np.ndarray, '*n K D'], Float[np.ndarray, '*n K']]:
        """Read keypoints in 2 or 3 dimensions, and their confidence."""
        if dimension == 2 and not self._facts.camera_names:
            rows = rows if isinstance(rows, slice) else slice(rows, rows + 1)
            lead = (len(range(*rows.indices(self._facts.n_samples))),)
            K = len(self._facts.keypoint_names)
            return np.zeros((*lead, 0, K, 2)), np.zeros((*lead, 0, K))
        names = (f'samples/keypoints{dimension}d', f'samples/confidence{dimension}d')
        points, confidence = (self._read(name, rows) for name in names)
        check_points(points, confidence, names, self._path)
        return points, confidence

    def centres(self, sample: int) -> CentreRecord | None:
        """Read where all animals of one sample are; None in files that do not state it."""
        if not self._facts.n_centres:
            return None
        xy, known, complete = (self._read(f'samples/{name}', sample) for name in CENTRE_TABLES)
        check_finite(xy, 'samples/centres2d', self._path)
        return CentreRecord(xy, known, complete)

    def params(self, rows: slice | int) -> dict[str, np.ndarray] | None:
        """Read known parameters; None where one of the rows has none."""
        if not self._facts.has_params or not np.all(self._handle.read('params/known', rows)):
            return None
        count = len(range(*rows.indices(self._facts.n_samples))) if isinstance(rows, slice) else None
        values = {name: self._param(name, rows, count) for name in PARAM_NAMES}
        check_params(values, self._path)
        return values

    def image_bytes(self, sample: int, camera: int, kind: str) -> UInt8[np.ndarray, ' n']:
        """Read one encoded image, 'image' or 'mask'; no bytes where there is none."""
        start, length = (
            int(self._handle.read(f'samples/{kind}_{end}', (sample, camera))) for end in ('start', 'length')
        )
        name = f'images/{BYTES_TABLES[kind]}'
        # The file may have changed since its tables were looked through.
        self._check_ranges(np.array([start]), np.array([length]), kind)
        return self._handle.read(name, slice(start, start + length))

    def check_images(self, view_mask: Bool[np.ndarray, 'N C']) -> None:
        """Check of all samples where their images lie, and that there is one in each view that is marked."""
        for kind in self._facts.n_bytes if self._facts.camera_names else ():
            for first in range(0, self._facts.n_samples, _PIECE):
                rows = slice(first, first + _PIECE)
                start, length = (
                    self._handle.read(f'samples/{kind}_{end}', rows) for end in ('start', 'length')
                )
                self._check_ranges(start, length, kind)
                if kind == 'image' and (length[view_mask[rows]] == 0).any():
                    self._refuse_empty(first + int((view_mask[rows] & (length == 0)).any(1).argmax()))

    def _check_ranges(self, start: np.ndarray, length: np.ndarray, kind: str) -> None:
        most, end = most_bytes(self._facts.target_resolution), self._facts.n_bytes[kind]
        check_byte_ranges(start, length, end, most, f'samples/{kind}', self._path)

    def _refuse_empty(self, sample: int) -> None:
        refuse(
            self._path,
            'samples/image_length',
            'be positive in every view with an image',
            f'0 in sample {sample}',
        )

    def _param(self, name: str, rows: slice | int, count: int | None) -> np.ndarray:
        if name in self._handle()['params']:
            return np.asarray(self._read(f'params/{name}', rows))
        lead = () if count is None else (count,)
        return np.zeros((*lead, 0, 3) if name == 'body_pose' else (*lead, 0))

    def _read(self, name: str, rows: slice | int) -> Any:
        if isinstance(rows, slice):
            table = self._handle()[name]
            wanted = len(range(*rows.indices(len(table)))) * (table.size // max(1, len(table)))
            check_budget(
                self._path, f'what is read of {name}', wanted * table.dtype.itemsize, MOST_ROWS_BYTES
            )
        return self._handle.read(name, rows)
