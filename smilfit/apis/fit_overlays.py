"""Images of a fit: the body over the recording, through windows that follow the animal."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.apis.progress import counted
from smilfit.apis.recordings import open_recording
from smilfit.body_models import SMIL
from smilfit.evaluation.verdict.refits import spread_rows
from smilfit.io import RecordedSession, write_mesh
from smilfit.structures import BodyParams, Cameras, FitResult, Keypoints2d
from smilfit.structures.frame_blocks import by_blocks
from smilfit.visualization import (
    OverlayPainter,
    Panel,
    ShownBody,
    View,
    follow,
    free_views,
    look,
    write_video,
)

logger = logging.getLogger('smilfit')

REPORT_IMAGES = 4
# Bodies of a report that are drawn from free viewpoints.
FREE_VIEWS = 4
# Frames whose meshes are in memory at once.
BLOCK = 32


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
    body: SMIL,
    result: FitResult,
    dataset: Any,
    session: str,
    seen: Keypoints2d,
    path: Path,
    window_px: int,
    step: Callable[[], None],
    words: Sequence[str] = (),
) -> None:
    """Write the overlay video of all frames, with what each was judged to be; `step` is called once a frame."""
    rows = np.arange(result.params.batch_size)
    frames = _overlays(body, result, dataset, session, seen, rows, window_px, words)
    fps = dataset.fps(session) or 25.0
    write_video(path, counted(frames, step), fps, n_frames=len(rows))


def report_images(
    body: SMIL,
    result: FitResult,
    dataset: Any,
    session: str,
    seen: Keypoints2d,
    window_px: int,
    words: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Draw a few frames, spread over the session: caption -> image."""
    rows = np.unique(np.linspace(0, result.params.batch_size - 1, REPORT_IMAGES).round().astype(int))
    frames = dataset.frame_indices(session)[rows]
    drawn = _overlays(body, result, dataset, session, seen, rows, window_px, words)
    return {f'frame {f}': p for f, p in zip(frames, drawn)}


def draw_free_views(
    body: SMIL, result: FitResult, labels: Sequence[str], words: Sequence[str] = ()
) -> tuple[list[np.ndarray], list[str]]:
    """Draw a few fitted bodies from three free viewpoints; images and captions. Nothing of a model without faces."""
    rows = spread_rows(result.fitted.cpu(), FREE_VIEWS).tolist() if len(body.faces) else []
    images = [free_views(body, result.params[row]) for row in rows]
    captions = [f'{labels[row]}{f": {words[row]}" if words else ""}; free viewpoints' for row in rows]
    return images, captions


def _overlays(
    body: SMIL,
    result: FitResult,
    dataset: Any,
    session: str,
    seen: Keypoints2d,
    rows: np.ndarray,
    window_px: int,
    words: Sequence[str],
) -> Iterator[np.ndarray]:
    cameras, names = seen.cameras, dataset.frame_indices(session)
    affine = follow(cameras, result.joints().cpu(), window_px)
    views = _views(dataset, session, cameras, rows, affine[rows], window_px)
    annotated = torch.where(seen.confidence.unsqueeze(-1) > 0, seen.xy, torch.nan).double().numpy()
    painter = OverlayPainter(body.faces)
    for row, view, (vertices, points) in zip(rows, views, _bodies(body, result.params, seen.names, rows)):
        with torch.no_grad():
            pixels, _, valid = cameras.project(points.to(cameras.K))
        fitted = torch.where(valid.unsqueeze(-1), pixels, torch.nan).double().numpy()
        normals = painter.normals(vertices)
        panels = [
            Panel(
                f'{name}  frame {names[row]}{f"  {words[row]}" if words else ""}',
                view[c],
                annotated[row, c],
                body=ShownBody(vertices, fitted[c], normals=normals),
            )
            for c, name in enumerate(cameras.names)
        ]
        yield painter.draw(panels, columns=len(panels) if len(panels) <= 3 else None)


def _bodies(
    body: SMIL, params: BodyParams, names: Sequence[str], rows: np.ndarray
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Compute vertices and named keypoints of frames, a block at a time: a recording's would fill the memory."""
    for block in torch.as_tensor(rows).split(BLOCK):
        with torch.no_grad():
            output = body(params[block].to(body.v_template), ('vertices', *names))
        yield from zip(output.vertices.cpu(), output.select(names).cpu())


def _recording(dataset: Any, session: str) -> RecordedSession | None:
    """Open a session's own videos; None, and the reason told, where that cannot be done.

    A fit is there when this is asked for: nothing about its pictures may end the work.
    """
    try:
        return open_recording(dataset, session)
    except (OSError, ValueError, KeyError) as error:
        logger.warning('%s: overlays show the small stored images: %s', session, error)
    return None


def _views(
    dataset: Any, session: str, cameras: Cameras, rows: np.ndarray, affine: np.ndarray, side: int
) -> Iterator[list[View]]:
    """See the session's own images where its folder is still there, else the stored ones."""
    frames = dataset.frame_indices(session)[rows]
    singles = [cameras.select([name]) for name in cameras.names]
    recorded = _recording(dataset, session)
    if recorded is not None:
        order = [recorded.camera_names.index(name) for name in cameras.names]
        bent, lenses = dataset.undistorted and recorded.cameras.dist is not None, recorded.cameras
        lens = [(lenses.K[k].numpy(), lenses.dist[k].numpy()) if bent else None for k in order]
        for i, (_, images) in enumerate(recorded.frames(frames.tolist())):
            yield [
                View(look(images[name], affine[i, c], (side, side), lens[c]), singles[c], affine[i, c])
                for c, name in enumerate(cameras.names)
            ]
        return
    for i, sample in enumerate(dataset.samples(session)[rows]):
        stored = dataset.record(int(sample))
        views = []
        for c, name in enumerate(cameras.names):
            u = dataset.camera_names.index(name)
            # A camera without an image shows black: all frames of a video are alike.
            shown = np.zeros((side, side, 3), np.uint8)
            if stored.view_mask[u]:
                to_window = affine[i, c] @ np.vstack((stored.to_original[u], (0.0, 0.0, 1.0)))
                shown = look(dataset.image(int(sample), name), to_window, (side, side))
            views.append(View(shown, singles[c], affine[i, c]))
        yield views
