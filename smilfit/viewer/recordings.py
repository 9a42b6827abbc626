"""From a recording to what is shown: sessions of any kind, a dataset's sessions, points in space."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smilfit.apis.data_source import session_formats, session_kinds
from smilfit.apis.recordings import open_recording
from smilfit.apis.session_source import open_place
from smilfit.io import RecordedSession, SessionPlace, find_sessions
from smilfit.io.annotations.sequence_names import sequence_name
from smilfit.io.points import PointSession, read_recorded_points, read_skeleton
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.viewer.images import RecordedImages, StoredImages
from smilfit.viewer.scene import Scene

logger = logging.getLogger('smilfit')

POINT_ENDINGS = ('.mat', '.csv', '.nwb', '.npz')
POINTS_FILE = 'points3d.h5'


def chosen(session: str | None, names: Sequence[str], where: Path) -> str:
    """Choose a session: the one that is asked for, else the first.

    Raises:
        KeyError: an unknown one, with the near names.
    """
    if session is None:
        if len(names) > 1:
            logger.info('%s: showing %s; --session chooses among %s.', where, names[0], ', '.join(names))
        return names[0]
    if session not in names:
        raise UnknownNameError(f'{where}: no session {session!r}. {did_you_mean(session, names)}')
    return session


def session_places(path: Path) -> list[SessionPlace]:
    """Find calibrated sessions of any kind: a session, a folder of sessions, a project, a multi-view `.slp`.

    Raises:
        FileNotFoundError: none is there.
    """
    kinds = [kind for name in session_formats() for kind in session_kinds(name)]
    # A folder with a calibration may be many things; SLEAP's are those that say least of themselves.
    for kind in sorted(kinds, key=lambda kind: kind.__name__ == 'SleapSession'):
        try:
            found = kind.find(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if found:
            return found
    # What a folder of sessions should hold is said by this.
    find_sessions(path)
    raise FileNotFoundError(f'{path}: sessions must be in the folder; there is none.')


def open_session(path: Path, session: str | None = None) -> RecordedSession:
    """Open one of the sessions at a place.

    Raises:
        FileNotFoundError: none is there.
        KeyError: none of this name.
        ValueError: its files contradict each other.
    """
    places = session_places(path)
    names = [place.folder.name for place in places]
    if len(places) == 1 and session in (None, names[0]):
        return _open(places[0])
    if len(set(names)) == len(names) and (session is None or session in names):
        return _open(places[names.index(chosen(session, names, path))])
    # Trials of one folder have names of their own, and so have the animals of a recording.
    opened = {recording.name: recording for recording in map(_open, places)}
    of_animal = {
        name: (recording, track)
        for recording in opened.values()
        for name, track in animals_of(recording).items()
    }
    if session in of_animal:
        recording, track = of_animal[session]
        return _open(recording.place, track)
    known = list(opened) if session is None else [*opened, *of_animal]
    return opened[chosen(session, known, path)]


def _open(place: SessionPlace, track: str | None = None) -> RecordedSession:
    return open_place(place, partial_labels=True, trim=True, track=track)


def animals_of(recording: RecordedSession) -> dict[str, str]:
    """Name a recording's animals as sessions of their own, with their tracks; empty where it has one alone."""
    first, *others = recording.tracks.values() or ((),)
    shared = [track for track in first if all(track in tracks for tracks in others)]
    own = recording.name
    return {sequence_name(own, track): track for track in shared} if len(shared) > 1 else {}


def session_scene(path: Path, session: str | None = None) -> Scene:
    """Show a session as it was recorded: labels as they are, and what they give in space."""
    recording = open_session(path, session)
    frames = range(recording.n_frames)
    animals = [] if recording.track else list(animals_of(recording))
    notes = [f'One of {len(animals)} animals is shown; --session chooses among {", ".join(animals)}.']
    return Scene(
        title=recording.name,
        labels=[f'frame {i}' for i in frames],
        fps=recording.fps or None,
        unit=recording.unit,
        cameras=recording.cameras,
        seen=recording.keypoints2d(),
        given=recording.keypoints3d(),
        images=RecordedImages(recording.video_paths, recording.n_frames, frames),
        notes=notes if animals else [],
    )


def holds_points(path: Path) -> bool:
    """Say whether a file should be read as points in space; a fit's `.npz` has its record beside it."""
    if path.name == POINTS_FILE:
        return True
    return path.suffix in POINT_ENDINGS and not (
        path.suffix == '.npz' and path.with_suffix('.json').is_file()
    )


def points_scene(path: Path, session: str | None = None, skeleton: str | Path | None = None) -> Scene:
    """Show an animal's points in space, with cameras and what these saw where the file says it."""
    points = read_recorded_points(path, None if skeleton is None else read_skeleton(skeleton))
    animals = [PointSession(points, number) for number in range(len(points.animals))]
    names = [animal.name for animal in animals]
    shown = animals[names.index(chosen(session, names, path))]
    seen = shown.keypoints2d()
    return Scene(
        title=shown.name,
        labels=[f'frame {i}' for i in shown.frame_numbers],
        fps=shown.fps,
        unit=shown.unit,
        cameras=shown.cameras,
        seen=seen,
        given=shown.keypoints3d(),
        notes=['Points in space have no images.'],
    )


def dataset_scene(dataset: Any, session: str) -> Scene:
    """Show a session of a dataset file; images from its recording where that is there, else those stored."""
    seen = dataset.annotated2d(session) if dataset.has_cameras(session) else None
    scene = Scene(
        title=f'{Path(dataset.path).name}: {session}',
        labels=dataset.labels(session),
        fps=dataset.fps(session),
        unit=dataset.unit,
        cameras=None if seen is None else seen.cameras,
        seen=seen,
        given=dataset.keypoints3d(session),
    )
    if not dataset.has_images(session):
        scene.notes.append('Points in space have no images.')
        return scene
    scene.images = StoredImages(dataset, session)
    if not dataset.has_own_cameras(session):
        try:
            recording = open_recording(dataset, session)
        except (OSError, ValueError, KeyError) as error:
            scene.notes.append(f'Images are {scene.images.source}: {error}.')
        else:
            frames = dataset.frame_indices(session).tolist()
            scene.images = RecordedImages(recording.video_paths, recording.n_frames, frames)
    return scene
