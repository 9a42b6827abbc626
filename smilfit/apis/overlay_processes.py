"""Overlays drawn by several processes: each takes some of the cameras, so that every video is decoded once."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection

import numpy as np

from smilfit.apis.overlay_scene import OverlayScene
from smilfit.io.read_ahead import read_ahead

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
        RuntimeError: another process failed; says why.
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
    import torch

    torch.set_num_threads(1)
    try:
        for tiles in scene.tiles(rows, cameras):
            sender.send(tiles)
    except BrokenPipeError:  # The first process has ended, and says why.
        pass
    except Exception as error:
        sender.send(f'{type(error).__name__}: {error}')
