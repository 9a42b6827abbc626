"""Pictures of a fit: the body over the recording, through windows that follow the animal."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.apis.progress import counted
from smilfit.body_models import SMIL
from smilfit.io import SleapSession, write_mesh
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import BodyParams, FitResult, Keypoints2d
from smilfit.visualization import WindowView, follow, look, overlay_frames, write_video

logger = logging.getLogger('smilfit')

REPORT_PICTURES = 4


def keypoints_of(body: SMIL, params: BodyParams, names: Sequence[str]) -> torch.Tensor:
    """Compute named keypoints of a body, world unit."""
    with torch.no_grad():
        output = body(params.to(body.v_template), names)
    return output.select(names).cpu()


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
) -> None:
    """Write the overlay video of all frames; `step` is called once a frame."""
    rows = np.arange(result.params.batch_size)
    frames = _overlays(body, result, dataset, session, seen, rows, window_px)
    fps = dataset.fps(session) or 25.0
    write_video(path, counted(frames, step), fps, n_frames=len(rows))


def report_pictures(
    body: SMIL, result: FitResult, dataset: Any, session: str, seen: Keypoints2d, window_px: int
) -> dict[str, np.ndarray]:
    """Draw a few frames, spread over the session: caption -> picture."""
    rows = np.unique(np.linspace(0, result.params.batch_size - 1, REPORT_PICTURES).round().astype(int))
    frames = dataset.frame_indices(session)[rows]
    drawn = _overlays(body, result, dataset, session, seen, rows, window_px)
    return {f'frame {f}: annotated (filled) and fitted (open) keypoints': p for f, p in zip(frames, drawn)}


def _overlays(
    body: SMIL,
    result: FitResult,
    dataset: Any,
    session: str,
    seen: Keypoints2d,
    rows: np.ndarray,
    window_px: int,
) -> Iterator[np.ndarray]:
    cameras = seen.cameras
    joints = result.joints().cpu()
    affine = follow(cameras, joints, window_px)[rows]
    with torch.no_grad():
        vertices = body(result.params[torch.as_tensor(rows)], ('vertices',)).vertices.cpu()
    picked = seen[torch.as_tensor(rows)]
    fitted = keypoints_of(body, result.params, seen.names)[torch.as_tensor(rows)]
    names = dataset.frame_indices(session)[rows]
    return overlay_frames(
        _views(dataset, session, rows, affine, window_px),
        cameras,
        vertices,
        body.faces.cpu(),
        picked,
        fitted,
        ZBufferRenderer(),
        names,
    )


def _views(
    dataset: Any, session: str, rows: np.ndarray, affine: np.ndarray, side: int
) -> Iterator[dict[str, WindowView]]:
    """See the session's own pictures where its folder is still there, else the stored ones."""
    names = dataset.cameras(session).names
    source = Path(dataset.source(session))
    frames = dataset.frame_indices(session)[rows]
    if (source / 'calibration.toml').is_file():
        others = [c.name for c in source.iterdir() if c.is_dir() and c.name not in names]
        recorded = SleapSession(
            source, exclude_cameras=tuple(others), confidence_threshold=0.0, with_3d=False
        )
        lenses = recorded.cameras
        for i, (_, pictures) in enumerate(recorded.frames(frames.tolist())):
            view = {}
            for c, name in enumerate(names):
                k = recorded.camera_names.index(name)
                bent = dataset.undistorted and lenses.dist is not None
                lens = (lenses.K[k].numpy(), lenses.dist[k].numpy()) if bent else None
                view[name] = WindowView(look(pictures[name], affine[i, c], side, lens), affine[i, c])
            yield view
        return
    logger.info('%s: %s is gone; overlays show the stored pictures.', session, source)
    for i, sample in enumerate(dataset.samples(session)[rows]):
        stored = dataset.record(int(sample))
        view = {}
        for c, name in enumerate(names):
            u = dataset.camera_names.index(name)
            if stored.view_mask[u]:
                to_window = affine[i, c] @ np.vstack((stored.to_original[u], (0.0, 0.0, 1.0)))
                view[name] = WindowView(look(dataset.image(int(sample), name), to_window, side), affine[i, c])
        yield view
