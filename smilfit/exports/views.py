"""Keypoints in the images, for SLEAP, sleap-anipose and DeepLabCut."""

from pathlib import Path

import numpy as np

from smilfit.exports.base import ExportOptions, FitExporter
from smilfit.exports.exported_fit import ExportedFit
from smilfit.exports.points import CALIBRATION
from smilfit.files import folder_name
from smilfit.io import write_calibration, write_reprojections, write_tracks
from smilfit.io.dlc_files import write_dlc_csv, write_dlc_hdf5
from smilfit.registry import EXPORTERS

REPROJECTIONS, LABELS, DLC = 'reprojections.h5', 'slp', 'dlc'
SCORER = 'smilfit'


@EXPORTERS.register_module(name='slp')
class SleapExporter(FitExporter):
    """SLEAP labels, `slp/CAMERA/CAMERA.slp`, and the calibration: a session folder, but for its videos."""

    needs = ('keypoints', 'pixels', 'time')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write a file a camera that sees anything, and the calibration where there is one."""
        xy, score = fit.seen
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
        xy, _ = fit.seen
        views = {name: fit.by_number(xy[:, c]) for c, name in enumerate(fit.camera_names)}
        write_reprojections(folder / REPROJECTIONS, views)


@EXPORTERS.register_module(name='dlc')
class DlcExporter(FitExporter):
    """Tables of DeepLabCut's layout, `dlc/CAMERA.csv` and `.h5` (pandas; scorer, bodyparts, coords)."""

    needs = ('keypoints', 'pixels')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write two files a camera; rows are frame numbers, or the names of single images."""
        xy, score = fit.seen
        (folder / DLC).mkdir()
        rows = list(fit.labels) if fit.labels else fit.frames.tolist()
        for c, name in enumerate(fit.camera_names):
            values = np.concatenate((xy[:, c], score[:, c, :, None]), -1)
            path = folder / DLC / folder_name(name)
            write_dlc_csv(path.with_name(f'{path.name}.csv'), values, fit.keypoint_names, rows, SCORER)
            write_dlc_hdf5(path.with_name(f'{path.name}.h5'), values, fit.keypoint_names, rows, SCORER)
