"""Images of a fit: the body over the recording, through windows that follow the animal."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.fitting.overlay_scene import OverlayScene
from smilfit.body_models import SMIL
from smilfit.drawing.far_views import free_views
from smilfit.drawing.overlays import posed
from smilfit.drawing.video import write_image, write_video
from smilfit.evaluation.verdict.refits import spread_rows
from smilfit.io import write_mesh
from smilfit.io.recordings.read_ahead import read_ahead
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.registrants.clip_fit import evenly_spaced_rows
from smilfit.structures import FitResult

# Fewer frames are drawn sooner than another process has imported what draws.
LEAST_FRAMES = 400


def drawn_sheets(scene: OverlayScene, rows: Sequence[int], workers: int = 1) -> Iterator[np.ndarray]:
    """Draw frames of a fit, in order.

    Args:
        scene: what is drawn.
        rows: of the fit, increasing.
        workers: processes that draw, this one among them; 0 takes as many as cores and cameras allow if there are
            many frames. More than cameras serve nothing.

    Raises:
        RuntimeError: another process failed; states why.
    """
    groups = camera_groups(len(scene.cameras), workers or usual_workers(len(scene.cameras), len(rows)))
    if len(groups) == 1:
        yield from scene.sheets(rows)
        return
    with ExitStack() as stack:
        others = [stack.enter_context(_Drawing(scene, rows, group)) for group in groups[1:]]
        streams = [scene.tiles(rows, groups[0]), *(read_ahead(other.tiles()) for other in others)]
        for parts in zip(*streams, strict=True):
            by_camera = dict(zip((c for group in groups for c in group), (t for part in parts for t in part)))
            yield scene.sheet([by_camera[c] for c in range(len(scene.cameras))])


def usual_workers(n_cameras: int, n_frames: int) -> int:
    """Choose how many processes draw."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, n_cameras) if n_frames >= LEAST_FRAMES else 1


def camera_groups(n_cameras: int, workers: int) -> list[list[int]]:
    """Deal cameras out to processes; the first, which also encodes the video, gets the fewest."""
    count = max(1, min(workers, n_cameras))
    return sorted((list(range(n_cameras))[i::count] for i in range(count)), key=len)


class _Drawing:
    """Another process that draws some of the cameras' tiles; it ends with the context."""

    def __init__(self, scene: OverlayScene, rows: Sequence[int], cameras: Sequence[int]) -> None:
        # Forked processes would share what threads of torch and OpenCV hold locked.
        context = multiprocessing.get_context('spawn')
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_draw, args=(scene, rows, cameras, sender), daemon=True)
        self.process.start()
        # The end of the other process is then the end of the stream.
        sender.close()
        self.n_frames = len(rows)

    def __enter__(self) -> '_Drawing':
        return self

    def __exit__(self, *error: object) -> None:
        self.receiver.close()
        self.process.terminate()
        self.process.join()

    def tiles(self) -> Iterator[list[np.ndarray]]:
        """Receive the tiles of each frame."""
        for _ in range(self.n_frames):
            try:
                received = self.receiver.recv()
            except EOFError:
                self.process.join()
                raise RuntimeError(
                    'overlay: a process that draws must go on to the end; it ended with code '
                    f'{self.process.exitcode} (killed, or out of memory?). Draw with --video-workers 1.'
                ) from None
            if isinstance(received, str):
                raise RuntimeError(f'overlay: another process could not draw: {received}')
            yield received


def _draw(scene: OverlayScene, rows: Sequence[int], cameras: Sequence[int], sender: Connection) -> None:
    """Draw in a process of its own."""

    torch.set_num_threads(1)
    try:
        for tiles in scene.tiles(rows, cameras):
            sender.send(tiles)
    except BrokenPipeError:  # The first process has ended, and reports why.
        pass
    except Exception as error:  # Whatever it is, the first process raises it in words.
        sender.send(f'{type(error).__name__}: {error}')


REPORT_IMAGES = 4
# Bodies of a report that are drawn from free viewpoints.
FREE_VIEWS = 4
# The folder of those frames of a video that the report shows.
STILLS = 'overlay_frames'


def write_meshes(body: SMIL, result: FitResult, folder: Path, kind: str) -> None:
    """Write the mesh of every fitted frame, world unit."""
    faces = body.faces.cpu().numpy()
    rows = result.fitted.cpu().nonzero().flatten().tolist()
    for row, (vertices, _) in zip(rows, posed(body, result.params, rows=rows)):
        write_mesh(folder / f'{row:06d}.{kind}', vertices.double().numpy(), faces)


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
    kept = {rows[i] for i in evenly_spaced_rows(len(rows), REPORT_IMAGES)} if stills is not None else set()

    def sheets() -> Iterator[np.ndarray]:
        for row, sheet in zip(rows, drawn_sheets(scene, rows, workers)):
            if stills is not None and row in kept:
                write_image(stills / f'{scene.frames[row]:06d}.jpg', sheet)
            yield sheet
            step()

    write_video(path, sheets(), scene.dataset.fps(scene.session) or USUAL_FPS, n_frames=len(rows))


def report_images(scene: OverlayScene) -> dict[str, np.ndarray]:
    """Draw a few frames, spread over the session: caption -> image."""
    rows = evenly_spaced_rows(len(scene.frames), REPORT_IMAGES).tolist()
    return {f'frame {scene.frames[r]}': sheet for r, sheet in zip(rows, scene.sheets(rows))}


def still_images(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the stills among a fit's files: caption -> path."""
    paths = sorted(Path(name) for name in names if Path(name).parent.name == STILLS)
    return {f'frame {int(path.stem)}': folder / path for path in paths}


def draw_free_views(
    body: SMIL, result: FitResult, labels: Sequence[str], words: Sequence[str] = ()
) -> tuple[list[np.ndarray], list[str]]:
    """Draw a few fitted bodies from three free viewpoints; images and captions. Nothing of a model without faces."""
    rows = spread_rows(result.fitted.cpu(), FREE_VIEWS).tolist() if len(body.faces) else []
    images = [free_views(body, result.params[row]) for row in rows]
    captions = [f'{labels[row]}{f": {words[row]}" if words else ""}; free viewpoints' for row in rows]
    return images, captions
