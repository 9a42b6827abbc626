"""Write a session that is rendered when it is read as a lab would keep it: videos, labels, calibration, truth."""

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from smilfit.io import probe_video, write_calibration, write_points3d, write_tracks, write_truth
from smilfit.io.session_folder import CALIBRATION_FILE
from smilfit.io.truth import truth_file
from smilfit.synthetic.rendered_session import RenderedSession


def write_rendered_session(
    folder: str | Path,
    session: RenderedSession,
    data_names: Mapping[str, str],
    codec: str = 'mp4v',
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Write a session's folder, as `SleapSession` reads it; the labels are a person's, with score 1.

    Of several animals each is a track of the labels, `points3d.h5` has all, and each has its truth.

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
    animals = session.each_animal()
    for c, camera in enumerate(session.cameras.names):
        place, stem = folder / camera, f'{session.name}_{camera}'
        place.mkdir(parents=True, exist_ok=True)
        _write_video(place / f'{stem}.mp4', session, camera, codec, progress)
        tracks = {name or 'track_0': (_labels(one, c), None) for name, one in animals.items()}
        write_tracks(place / f'{stem}.slp', tracks, names, f'{stem}.mp4')
    write_calibration(folder / CALIBRATION_FILE, session.cameras)
    points = np.stack([one.points[1] for one in animals.values()], 1)
    write_points3d(folder / 'points3d.h5', points)
    for name, one in animals.items():
        data = session.body.data
        truth = folder / truth_file(name)
        joints, keypoints = one.points
        write_truth(
            truth,
            one.true_params,
            joints,
            keypoints,
            data.joint_names,
            session.keypoint_names,
            data.content_hash(),
        )
    return folder


def _labels(session: RenderedSession, camera: int) -> np.ndarray:
    pixels, seen = session.visible
    return np.where(seen[:, camera, :, None], pixels[:, camera], np.nan)


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
