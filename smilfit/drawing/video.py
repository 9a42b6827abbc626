"""Write videos frame by frame; memory does not grow with their length."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smilfit.files import free_space, replacing, write_bytes

CODECS = ('mp4v', 'vp09')


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: int | float,
    n_frames: int | None = None,
    codec: str = 'mp4v',
    progress: bool = False,
) -> int:
    """Write RGB uint8 frames (H, W, 3) as mp4; the file appears when it is whole.

    Odd sizes are made even by repeating the last row or column, as the codec wants.

    Args:
        path: the .mp4 file.
        frames: an iterable; only one frame is held at a time.
        fps: frames a second.
        n_frames: how many will come, for the bar; a different count is an error.
        codec: 'mp4v' is quick and for video players; 'vp09' also plays in browsers, some 25 times slower.
        progress: show a bar.

    Returns:
        How many frames were written.

    Raises:
        ValueError: no frame, frames of different sizes, or another count than announced.
        OSError: the video could not be opened for writing.
    """
    path = Path(path)
    if path.suffix != '.mp4':
        raise ValueError(f'write_video: the file name must end with .mp4; got {path.name!r}.')
    if codec not in CODECS:
        raise ValueError(f'write_video: the codec must be one of {", ".join(CODECS)}; got {codec!r}.')
    if not fps > 0:
        raise ValueError(f'write_video: fps must be above 0; got {fps!r}.')
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with replacing(path) as temporary:
        with Progress(*columns, disable=not progress) as bar:
            task = bar.add_task(path.name, total=n_frames)
            written = _write(temporary, frames, float(fps), codec, lambda: bar.advance(task))
        if n_frames is not None and written != n_frames:
            raise ValueError(f'write_video: {path} must get {n_frames} frames; got {written}.')
        _check_written(temporary, path, written)
    return written


def _check_written(temporary: Path, path: Path, written: int) -> None:
    """Count what was written: the encoder says nothing of a write that failed."""
    import cv2

    video, valid = cv2.VideoCapture(str(temporary)), 0
    # Frames as they lie in the file, which need not be decoded to be counted.
    video.set(cv2.CAP_PROP_FORMAT, -1)
    while video.grab():
        valid += 1
    video.release()
    if valid != written:
        raise OSError(
            f'{path}: the video must hold the {written} frames that were written; it holds {valid}. '
            f'{free_space(path)} Is the disk full? Make room, and give the command again.'
        )


def _write(
    path: Path, frames: Iterable[np.ndarray], fps: float, codec: str, advance: Callable[[], None]
) -> int:
    import cv2

    writer, shape, count = None, None, 0
    try:
        for frame in frames:
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                raise ValueError(
                    f'write_video: frame {count} must be RGB uint8 (H, W, 3); got {frame.dtype} {frame.shape}.'
                )
            if writer is None:
                shape = frame.shape
                size = (shape[1] + shape[1] % 2, shape[0] + shape[0] % 2)
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
                if not writer.isOpened():
                    raise OSError(
                        f'write_video: {path} of {size[0]} x {size[1]} px could not be opened for writing. '
                        "Look at the folder's rights and the space on the disk."
                    )
            elif frame.shape != shape:
                raise ValueError(
                    f'write_video: all frames must have one size; frame {count} has {frame.shape}, the first '
                    f'{shape}.'
                )
            if size != shape[1::-1]:
                frame = np.pad(frame, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode='edge')
            writer.write(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR))
            count += 1
            advance()
    finally:
        if writer is not None:
            writer.release()
    if not count:
        raise ValueError(f'write_video: there must be at least one frame for {path}; got none.')
    return count


def write_image(path: str | Path, image: UInt8[np.ndarray, 'H W 3']) -> Path:
    """Write an RGB image as JPEG or PNG, as the file's name ends; it appears whole or not at all.

    Raises:
        ValueError: OpenCV knows no such format.
        OSError: it could not be written.
    """
    import cv2

    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix, image[..., ::-1])
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f'{path}: an image must end in .jpg or .png; got {path.suffix!r}.')
    return write_bytes(path, data.tobytes())
