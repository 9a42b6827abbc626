"""Keypoints in space for sleap-anipose and anipose."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilfit.exports.base import ExportOptions, FitExporter
from smilfit.exports.exported_fit import ExportedFit
from smilfit.io import write_calibration, write_points3d
from smilfit.registry import EXPORTERS

POINTS, ANIPOSE, CALIBRATION = 'points3d.h5', 'anipose.csv', 'calibration.toml'


@EXPORTERS.register_module(name='points3d')
class Points3dExporter(FitExporter):
    """`points3d.h5` of sleap-anipose: `tracks` (frames, 1, keypoints, 3), world unit; `node_names` beside it."""

    needs = ('keypoints', 'time')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it; a row a frame of the recording, NaN where none was fitted."""
        write_points3d(folder / POINTS, fit.by_number(fit.xyz), fit.keypoint_names, fit.unit)


@EXPORTERS.register_module(name='calibration')
class CalibrationExporter(FitExporter):
    """`calibration.toml` of anipose: the cameras, as the fit corrected them if it did."""

    needs = ('cameras', 'one rig')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it."""
        assert fit.cameras is not None
        write_calibration(folder / CALIBRATION, fit.cameras)


@EXPORTERS.register_module(name='anipose')
class AniposeExporter(FitExporter):
    """A trial's 3D poses as anipose writes them, in the calibration's axes (`M` is 1, `center` 0).

    `error` is the mean distance of the projections from the annotated points, px, and `ncams` in how many cameras
    these are; where the annotations are not at hand, NaN and the number of cameras that see the point.
    """

    needs = ('keypoints', 'time')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it."""
        error, n_cameras = _errors(fit)
        names = fit.keypoint_names
        header = [f'{n}_{what}' for n in names for what in ('x', 'y', 'z', 'error', 'ncams', 'score')]
        header += [f'M_{i}{j}' for i in range(3) for j in range(3)] + [f'center_{i}' for i in range(3)]
        axes = [*np.eye(3).ravel().tolist(), 0.0, 0.0, 0.0]
        with (folder / ANIPOSE).open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow([*header, 'fnum'])
            for t, number in enumerate(fit.frames.tolist()):
                cells: list[object] = []
                for k in range(len(names)):
                    cells += [*_cells(fit.xyz[t, k]), *_cells([error[t, k]])]
                    cells += [int(n_cameras[t, k]), *_cells([fit.score3d[t, k]])]
                table.writerow([*cells, *axes, number])


def _cells(numbers: Sequence[float] | np.ndarray) -> list[str]:
    """Write numbers as anipose does, by pandas: nothing where there is none."""
    return ['' if np.isnan(n) else f'{n:.9g}' for n in numbers]


def _errors(fit: ExportedFit) -> tuple[np.ndarray, np.ndarray]:
    if fit.pixels is None and fit.cameras is None:
        return np.full(fit.score3d.shape, np.nan), np.zeros(fit.score3d.shape)
    xy, score = fit.seen
    if fit.observed is None:
        return np.full(fit.score3d.shape, np.nan), (score > 0).sum(1)
    annotated = fit.observed.select(fit.keypoint_names)
    both = (annotated.confidence > 0).numpy() & (score > 0)
    distance = np.where(both, np.linalg.norm(np.nan_to_num(xy) - annotated.xy.numpy(), axis=-1), 0.0)
    count = both.sum(1)
    return np.where(count > 0, distance.sum(1) / np.maximum(count, 1), np.nan), count
