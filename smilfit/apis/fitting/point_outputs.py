"""What a fit to points in space leaves beside its parameters: a turntable, pictures, meshes, numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from smilfit.apis.fitting.fit_overlays import REPORT_IMAGES, keypoints_of
from smilfit.apis.progress import counted, steps
from smilfit.drawing import PointPainter, write_video
from smilfit.evaluation import PointBenchmark, point_benchmark
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.structures import FitResult

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_session import SessionFits

TURNTABLE = 'turntable.mp4'
# Frames of a turntable at most, evenly spread; and how many it takes to go round once.
MOST_FRAMES, ROUND = 300, 120


def measure_points(fits: 'SessionFits', session: str, result: FitResult) -> PointBenchmark:
    """Hold a fit against its points; frames that were not fitted do not count."""
    given = fits.dataset.keypoints3d(session)
    fitted = keypoints_of(fits.body, result.params, given.names)
    return point_benchmark(given, torch.where(result.fitted.cpu()[:, None, None], fitted.double(), torch.nan))


def write_turntable(
    fits: 'SessionFits', session: str, result: FitResult, path: Path, words: tuple[str, ...]
) -> None:
    """Write a video of the fitted frames, each from its side and from a viewpoint that goes round."""
    painter, numbers = _painter(fits, session, result), fits.dataset.frame_indices(session)
    rows = _spread(result, MOST_FRAMES, fits.options.video_choice.rows(session, numbers))
    images = (
        painter.draw(row, _text(int(numbers[row]), words, row), turn_deg=360.0 * i / ROUND)
        for i, row in enumerate(rows)
    )
    fps = min(fits.dataset.fps(session) or USUAL_FPS, USUAL_FPS)
    with steps(f'{session}: turntable', len(rows), fits.options.progress) as step:
        write_video(path, counted(images, step), fps, n_frames=len(rows))


def point_images(
    fits: 'SessionFits', session: str, result: FitResult, words: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Draw a few frames, spread over the session, from their side, front and above: caption -> image."""
    painter, numbers = _painter(fits, session, result), fits.dataset.frame_indices(session)
    rows = _spread(result, REPORT_IMAGES)
    return {f'frame {numbers[row]}': painter.draw(row, _text(int(numbers[row]), words, row)) for row in rows}


def _painter(fits: 'SessionFits', session: str, result: FitResult) -> PointPainter:
    return PointPainter(fits.body, result.params, fits.dataset.keypoints3d(session), fits.options.window_px)


def _spread(result: FitResult, count: int, of_rows: Sequence[int] | None = None) -> list[int]:
    valid = result.fitted.cpu()
    rows = (
        valid.nonzero().flatten()
        if of_rows is None
        else torch.tensor([r for r in of_rows if valid[r]], dtype=torch.long)
    )
    if len(rows) > count:
        rows = rows[torch.linspace(0, len(rows) - 1, count).round().long()]
    return rows.tolist()


def _text(number: int, words: tuple[str, ...], row: int) -> str:
    return f'frame {number}{f"  {words[row]}" if words else ""}'
