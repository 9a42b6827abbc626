"""Keypoints in space for sleap-anipose and anipose."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilfit.files import folder_name
from smilfit.io import write_calibration, write_points3d, write_reprojections, write_tracks
from smilfit.io.dlc_files import write_dlc_csv, write_dlc_hdf5
from smilfit.io.exports.base import ExportedFit, ExportOptions, FitExporter
from smilfit.io.points.nwb import PoseTrack, write_nwb
from smilfit.registry import EXPORTERS
from smilfit.version import __version__

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
        """Write the cameras, which are one set for all frames."""
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
        """Write a row a frame that was fitted; an empty cell is a missing point."""
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
    xy, score = fit.points2d
    if fit.observed is None:
        return np.full(fit.score3d.shape, np.nan), (score > 0).sum(1)
    annotated = fit.observed.select(fit.keypoint_names)
    both = (annotated.confidence > 0).numpy() & (score > 0)
    distance = np.where(both, np.linalg.norm(np.nan_to_num(xy) - annotated.xy.numpy(), axis=-1), 0.0)
    count = both.sum(1)
    return np.where(count > 0, distance.sum(1) / np.maximum(count, 1), np.nan), count


REPROJECTIONS, LABELS, DLC = 'reprojections.h5', 'slp', 'dlc'
SCORER = 'smilfit'


@EXPORTERS.register_module(name='slp')
class SleapExporter(FitExporter):
    """SLEAP labels, `slp/CAMERA/CAMERA.slp`, and the calibration: a session folder, but for its videos."""

    needs = ('keypoints', 'pixels', 'time')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write a file a camera that sees anything, and the calibration where there is one."""
        xy, score = fit.points2d
        for c, name in enumerate(fit.camera_names):
            if not np.isfinite(xy[:, c]).any():
                continue
            place = folder / LABELS / folder_name(name)
            place.mkdir(parents=True)
            track = fit.by_number(xy[:, c]), fit.by_number(score[:, c], 0.0)
            video = fit.videos.get(name, f'{name}.mp4')
            write_tracks(place / f'{place.name}.slp', {'track_0': track}, fit.keypoint_names, video)
        if fit.cameras is not None and fit.cameras.K.ndim == 3:
            write_calibration(folder / LABELS / CALIBRATION, fit.cameras)


@EXPORTERS.register_module(name='reprojections')
class ReprojectionsExporter(FitExporter):
    """`reprojections.h5` of sleap-anipose: a table a camera, (frames, 1, keypoints, 2) px."""

    needs = ('keypoints', 'pixels', 'time')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it; a row a frame of the recording, NaN where nothing is seen."""
        xy, _ = fit.points2d
        views = {name: fit.by_number(xy[:, c]) for c, name in enumerate(fit.camera_names)}
        write_reprojections(folder / REPROJECTIONS, views)


@EXPORTERS.register_module(name='dlc')
class DlcExporter(FitExporter):
    """Tables of DeepLabCut's layout, `dlc/CAMERA.csv` and `.h5` (pandas; scorer, bodyparts, coords)."""

    needs = ('keypoints', 'pixels')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write two files a camera; rows are frame numbers, or the names of single images."""
        xy, score = fit.points2d
        (folder / DLC).mkdir()
        rows = list(fit.labels) if fit.labels else fit.frames.tolist()
        for c, name in enumerate(fit.camera_names):
            values = np.concatenate((xy[:, c], score[:, c, :, None]), -1)
            path = folder / DLC / folder_name(name)
            write_dlc_csv(path.with_name(f'{path.name}.csv'), values, fit.keypoint_names, rows, SCORER)
            write_dlc_hdf5(path.with_name(f'{path.name}.h5'), values, fit.keypoint_names, rows, SCORER)


NWB = 'pose.nwb'


@EXPORTERS.register_module(name='nwb')
class NwbExporter(FitExporter):
    """`pose.nwb` (ndx-pose): the keypoints in space, and where each camera sees them."""

    needs = ('keypoints', 'time', 'fps')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write a container in space, and one a camera whose pixels are known."""
        of = 'keypoints of a fitted body'
        where = "the world of the cameras' calibration"
        tracks = [PoseTrack('pose_3d', of, fit.xyz, fit.score3d, fit.unit or 'unknown', where)]
        if fit.pixels is not None or fit.cameras is not None:
            xy, score = fit.points2d
            for c, name in enumerate(fit.camera_names):
                tracks.append(
                    PoseTrack(
                        f'pose_2d_{name}'.replace('/', '_'),
                        f'{of}, as camera {name} sees them',
                        *(
                            xy[:, c],
                            score[:, c],
                            'pixels',
                            'the centre of the upper left px is (0, 0), y down',
                        ),
                        fit.videos.get(name),
                        _size(fit, c),
                    )
                )
        model = fit.fit.model
        about = {
            'identifier': _identifier(fit),
            'description': f'{fit.name}, body model {"unknown" if model is None else model.name}',
            'scorer': SCORER,
            'software': 'smilfit',
            'version': __version__,
        }
        write_nwb(folder / NWB, tracks, fit.keypoint_names, (), fit.times_s, about, options.start)


def _size(fit: ExportedFit, camera: int) -> tuple[int, int] | None:
    if fit.cameras is None or fit.cameras.size.ndim != 2:
        return None
    width, height = fit.cameras.size[camera].round().int().tolist()
    return width, height


def _identifier(fit: ExportedFit) -> str:
    """Name the fit by what is in it: the same fit has the same name."""
    content = np.ascontiguousarray(np.nan_to_num(fit.xyz)).tobytes()
    return f'{fit.name}-{hashlib.sha256(content).hexdigest()[:16]}'
