"""What a fit to points in space leaves beside its parameters: a turntable, images, meshes, numbers."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.fitting.fit_overlays import REPORT_IMAGES
from smilfit.apis.fitting.session_outputs import RecordingOutputs
from smilfit.apis.progress import counted, steps
from smilfit.drawing.far_views import PointPainter
from smilfit.drawing.fit_page import add_fit_sections, add_point_sections
from smilfit.drawing.report import Report
from smilfit.drawing.video import write_video
from smilfit.evaluation import PointBenchmark, point_benchmark
from smilfit.evaluation.fit_quality import keypoints_of
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.registrants.clip_fit import evenly_spaced_rows
from smilfit.structures import Keypoints3d

TURNTABLE = 'turntable.mp4'
# Frames of a turntable at most, evenly spread; and how many it takes to go round once.
MOST_FRAMES, ROUND = 300, 120


class PointOutputs(RecordingOutputs):
    """Outputs of points in space: measured by these, and by cameras where they saw labels; drawn without images."""

    video = TURNTABLE

    @property
    def given(self) -> Keypoints3d:
        """The points that were fitted to."""
        given = self.fits.dataset.keypoints3d(self.session)
        assert given is not None
        return given

    @cached_property
    def points(self) -> PointBenchmark | None:
        """Measure the fit by its points; frames that were not fitted do not count."""
        given, fitted = self.given, self.result.fitted.cpu()[:, None, None]
        xyz = keypoints_of(self.fits.body, self.result.params, given.names)
        return point_benchmark(given, torch.where(fitted, xyz.double(), torch.nan))

    def _has_video(self) -> bool:
        # A turntable shows bodies alone.
        return bool(self.result.fitted.any())

    def _draw(self, folder: Path) -> None:
        """Write a video of the fitted frames, each from its side and from a viewpoint that goes round."""
        options, painter, words = self.fits.options, self._painter(), self.frame_words()[0]
        rows = self._rows(MOST_FRAMES, options.video_choice.rows(self.session, self.frames))
        images = (
            painter.draw(row, self._text(row, words), azimuth_deg=360.0 * i / ROUND)
            for i, row in enumerate(rows)
        )
        fps = min(self.fits.dataset.fps(self.session) or USUAL_FPS, USUAL_FPS)
        with steps(f'{self.session}: turntable', len(rows), self.fits.progress) as step:
            write_video(folder / TURNTABLE, counted(images, step), fps, n_frames=len(rows))

    def _images(self, words: Sequence[str]) -> Mapping[str, np.ndarray | Path]:
        """Draw a few frames, spread over the session, from their side, front and above: caption -> image."""
        painter = self._painter()
        rows = self._rows(REPORT_IMAGES, range(len(self.frames)))
        return {f'frame {self.frames[row]}': painter.draw(row, self._text(row, words)) for row in rows}

    def _painter(self) -> PointPainter:
        return PointPainter(self.fits.body, self.result.params, self.given, self.fits.options.window_px)

    def _rows(self, most: int, among: Sequence[int]) -> list[int]:
        """Choose fitted frames, evenly spread."""
        fitted = self.result.fitted.cpu()
        rows = [row for row in among if fitted[row]]
        return [rows[i] for i in evenly_spaced_rows(len(rows), most)]

    def _text(self, row: int, words: Sequence[str]) -> str:
        return f'frame {self.frames[row]}{f"  {words[row]}" if words else ""}'

    def _add_results(self, section: Report, words: Sequence[str], video: Path | None, title: str) -> None:
        assert self.points is not None
        history, notes, images = self.result.history, self.result.report, self._images(words)
        add_point_sections(section, self.points, self.frames.tolist(), history, notes, images, video)
        if self.benchmark is not None:
            add_fit_sections(section, self.benchmark, (), {}, {}, None, title)
