"""Write a session that is rendered when it is read as a lab would keep it: videos, labels, calibration, truth."""

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from smilfit.io import probe_video, write_slp
from smilfit.synthetic.rendered_session import RenderedSession
from smilfit.synthetic.session_tables import write_known


def write_rendered_session(
    folder: str | Path,
    session: RenderedSession,
    data_names: Mapping[str, str],
    codec: str = 'mp4v',
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Write a session's folder, as `SleapSession` reads it; the labels are a person's, with score 1.

    Args:
        folder: the session's, which may be there.
        session: what is written.
        data_names: model keypoint -> annotated keypoint.
        codec: of the videos, four letters.
        progress: called after each image.

    Raises:
        ValueError: a video could not be written, or does not decode to all its frames.
    """
    folder = Path(folder)
    names = [data_names[name] for name in session.keypoint_names]
    pixels, seen = session.visible
    for c, camera in enumerate(session.cameras.names):
        place, stem = folder / camera, f'{session.name}_{camera}'
        place.mkdir(parents=True, exist_ok=True)
        _write_video(place / f'{stem}.mp4', session, camera, codec, progress)
        labels = np.where(seen[:, c, :, None], pixels[:, c], np.nan)
        write_slp(place / f'{stem}.slp', labels, names, f'{stem}.mp4')
    joints, keypoints = session.points
    write_known(
        folder,
        session.body.data,
        session.true_params,
        session.cameras,
        joints,
        keypoints,
        session.keypoint_names,
        np.ones(keypoints.shape[:2], bool),
    )
    return folder


def _write_video(
    path: Path, session: RenderedSession, camera: str, codec: str, progress: Callable[[], None]
) -> None:
    width, height = session.cameras.select([camera]).size[0].tolist()
    fourcc = cv2.VideoWriter_fourcc(*codec)
    writer = cv2.VideoWriter(str(path), fourcc, session.fps, (int(width), int(height)))
    if not writer.isOpened():
        raise ValueError(f'{path}: the video writer must open; codec {codec!r} is not there.')
    for image in session.images(camera):
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        progress()
    writer.release()
    info = probe_video(path)
    if info.n_frames != session.n_frames:
        raise ValueError(
            f'{path}: the video must decode to {session.n_frames} frames; got {info.n_frames}. '
            'Choose another codec.'
        )
