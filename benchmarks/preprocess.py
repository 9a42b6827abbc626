"""Measure preprocessing: its speed beside decoding alone with the same reader, and its memory over frames.

    python -m benchmarks.preprocess SESSION --body-model mouse.pkl --joint-lookup joint_lookup.csv \
        --exclude-cameras side

Speed: preprocessing and decoding take turns in one process; the figures are medians of the turns, and the
ratio is that of frames a second. Memory: the peak resident size of processes of their own, which preprocess N
and 4 N frames of a synthetic session that is decoded from nowhere.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from smilfit.body_models import BodyModelData, load_body_model_data
from smilfit.body_models.data import SparseMatrix
from smilfit.datasets import CROP_MODES, PreprocessOptions, preprocess
from smilfit.io import SleapSession
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d


def measure_speed(arguments: argparse.Namespace) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    body = load_body_model_data(arguments.body_model)
    session = SleapSession(
        arguments.session,
        joint_lookup=arguments.joint_lookup,
        exclude_cameras=arguments.exclude_cameras,
        confidence_threshold=0.0,
    )
    print(f'{session.name}: {session.n_frames} frames, {len(session.camera_names)} cameras')
    with tempfile.TemporaryDirectory() as folder:
        for mode in CROP_MODES:
            for workers in (0, 1, 2):
                options = PreprocessOptions(crop_mode=mode, num_workers=workers)
                alone, whole = [], []
                for _ in range(arguments.turns):
                    start = time.perf_counter()
                    n = sum(1 for _ in session.frames())
                    alone.append(time.perf_counter() - start)
                    start = time.perf_counter()
                    preprocess(
                        [session], Path(folder) / 'out.h5', body, options, overwrite=True, restart=True
                    )
                    whole.append(time.perf_counter() - start)
                    (Path(folder) / 'out.h5').unlink()
                a, b = n / statistics.median(alone), n / statistics.median(whole)
                print(
                    f'{mode:10s} {workers} threads: decode {a:6.1f} frames/s, preprocess {b:6.1f}, ratio {b / a:.2f}'
                )


class EndlessSession:
    """A session of any length whose images are noise; keypoints wander about the middle."""

    name, unit, fps, keypoint_names = 'endless', 'mm', 50.0, ('root', 'head')

    def __init__(self, n_frames: int) -> None:
        self.n_frames, self.camera_names = n_frames, ('a', 'b')
        eye = torch.eye(3, dtype=torch.float64)
        turned = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]], dtype=torch.float64)
        self.cameras = Cameras(
            names=self.camera_names,
            K=torch.tensor([[800.0, 0, 640], [0, 800, 512], [0, 0, 1]], dtype=torch.float64).repeat(2, 1, 1),
            R=torch.stack((eye, turned)),
            t=torch.tensor([[0.0, 0, 500], [0, 0, 500]], dtype=torch.float64),
            size=torch.tensor([[1280.0, 1024]] * 2, dtype=torch.float64),
            dist=torch.tensor([[-0.2, 0.05, 0, 0, 0]] * 2, dtype=torch.float64),
            unit='mm',
        )
        self.points = torch.randn(n_frames, 2, 3, dtype=torch.float64) * 40
        self._noise = np.random.default_rng(0).integers(0, 256, (1024, 1280, 3), dtype=np.uint8)

    def keypoints2d(self, names: object = None) -> Keypoints2d:
        """Give the exact projections."""
        xy, _, valid = self.cameras.project(self.points)
        return Keypoints2d(xy, valid.double(), self.keypoint_names, self.cameras)

    def keypoints3d(self, names: object = None) -> Keypoints3d:
        """Give the points."""
        return Keypoints3d(self.points, torch.ones_like(self.points[..., 0]), self.keypoint_names, 'mm')

    def frames(self, indices: list[int]) -> object:
        """Give the same noise, moved."""
        for i in indices:
            yield i, {name: np.roll(self._noise, i, 0) for name in self.camera_names}


def two_joints() -> BodyModelData:
    return BodyModelData(
        name='two joints',
        v_template=np.zeros((3, 3)),
        faces=np.array([[0, 1, 2]]),
        joint_names=('root', 'head'),
        parents=np.array([-1, 0]),
        weights=SparseMatrix.from_dense(np.eye(3, 2)),
        joints=np.zeros((2, 3)),
    )


def report_peak(n_frames: int) -> None:
    """Preprocess in this process and print its peak resident size, MiB."""
    with tempfile.TemporaryDirectory() as folder:
        options = replace(PreprocessOptions(), num_workers=2)
        preprocess([EndlessSession(n_frames)], Path(folder) / 'out.h5', two_joints(), options)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure_memory(n_frames: int) -> None:
    peaks = []
    for n in (n_frames, 4 * n_frames):
        command = [sys.executable, __file__, '--peak-of', str(n)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f'{n} frames of 2 x 1280x1024 px: peak resident size {peaks[-1]:.0f} MiB')
    print(f'growth over 4 times the frames: {peaks[1] - peaks[0]:+.1f} MiB')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'session', type=Path, nargs='?', help='a SLEAP session; only memory is measured without'
    )
    parser.add_argument('--body-model', type=Path)
    parser.add_argument('--joint-lookup', type=Path)
    parser.add_argument('--exclude-cameras', nargs='+', default=[])
    parser.add_argument('--turns', type=int, default=5, help='turns of each measurement (default: 5)')
    parser.add_argument('--frames', type=int, default=250, help='N of the memory measurement (default: 250)')
    parser.add_argument('--peak-of', type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        report_peak(arguments.peak_of)
        return
    if arguments.session:
        measure_speed(arguments)
    measure_memory(arguments.frames)


if __name__ == '__main__':
    main()
