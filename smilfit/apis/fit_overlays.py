"""Images of a fit: the body over the recording, through windows that follow the animal."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.overlay_processes import drawn_sheets
from smilfit.apis.overlay_scene import OverlayScene
from smilfit.body_models import SMIL
from smilfit.evaluation.verdict.refits import spread_rows
from smilfit.io import write_mesh
from smilfit.io.videos import USUAL_FPS
from smilfit.structures import BodyParams, FitResult
from smilfit.structures.frame_blocks import by_blocks
from smilfit.visualization import free_views, write_image, write_video

REPORT_IMAGES = 4
# Bodies of a report that are drawn from free viewpoints.
FREE_VIEWS = 4
# The folder of those frames of a video that the report shows.
STILLS = 'overlay_frames'


def keypoints_of(body: SMIL, params: BodyParams, names: Sequence[str]) -> torch.Tensor:
    """Compute named keypoints of a body, world unit."""
    params = params.to(body.v_template)
    with torch.no_grad():
        return by_blocks(params.batch_size, lambda rows: body(params[rows], names).select(names).cpu())


def write_meshes(body: SMIL, result: FitResult, folder: Path, kind: str) -> None:
    """Write the mesh of every fitted frame, world unit."""
    faces = body.faces.cpu().numpy()
    for row in result.fitted.cpu().nonzero().flatten().tolist():
        with torch.no_grad():
            vertices = body(result.params[row].to(body.v_template), ('vertices',)).vertices
        write_mesh(folder / f'{row:06d}.{kind}', vertices[0].cpu().double().numpy(), faces)


def write_overlay(
    scene: OverlayScene,
    rows: Sequence[int],
    path: Path,
    step: Callable[[], None] = lambda: None,
    stills: Path | None = None,
    workers: int = 1,
) -> None:
    """Write the overlay video of some frames; `step` is called once a frame.

    Args:
        scene: what is drawn.
        rows: of the fit, increasing.
        path: the .mp4 file.
        step: called once a frame.
        stills: a folder for a few of the frames, spread over the video, named by their numbers: JPEG.
        workers: processes that draw, each some of the cameras.
    """
    kept = {int(rows[i]) for i in _spread(len(rows))} if stills is not None else set()

    def sheets() -> Iterator[np.ndarray]:
        for row, sheet in zip(rows, drawn_sheets(scene, rows, workers)):
            if row in kept:
                write_image(stills / f'{scene.frames[row]:06d}.jpg', sheet)
            yield sheet
            step()

    write_video(path, sheets(), scene.dataset.fps(scene.session) or USUAL_FPS, n_frames=len(rows))


def report_images(scene: OverlayScene) -> dict[str, np.ndarray]:
    """Draw a few frames, spread over the session: caption -> image."""
    rows = _spread(len(scene.frames)).tolist()
    return {f'frame {scene.frames[r]}': sheet for r, sheet in zip(rows, scene.sheets(rows))}


def still_images(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Give the stills among a fit's files: caption -> path."""
    paths = sorted(Path(name) for name in names if Path(name).parent.name == STILLS)
    return {f'frame {int(path.stem)}': folder / path for path in paths}


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, REPORT_IMAGES).round().astype(int))


def draw_free_views(
    body: SMIL, result: FitResult, labels: Sequence[str], words: Sequence[str] = ()
) -> tuple[list[np.ndarray], list[str]]:
    """Draw a few fitted bodies from three free viewpoints; images and captions. Nothing of a model without faces."""
    rows = spread_rows(result.fitted.cpu(), FREE_VIEWS).tolist() if len(body.faces) else []
    images = [free_views(body, result.params[row]) for row in rows]
    captions = [f'{labels[row]}{f": {words[row]}" if words else ""}; free viewpoints' for row in rows]
    return images, captions
