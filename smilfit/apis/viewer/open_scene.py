"""From a path to what is shown: a fit, a body model, a dataset's session or a session folder."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smilfit.apis.fitting.fit_session import FIT
from smilfit.apis.fitting.verdict_file import VERDICT, read_verdict
from smilfit.apis.preprocessing.data_source import session_formats, session_kinds
from smilfit.apis.preprocessing.recordings import open_recording
from smilfit.apis.preprocessing.session_source import open_place
from smilfit.apis.viewer.images import RecordedImages, StoredImages
from smilfit.apis.viewer.model_scene import ModelScene
from smilfit.apis.viewer.scene import PosedBodies, Scene, with_cameras
from smilfit.body_models import (
    SMIL,
    ModelNotFoundError,
    OtherModelError,
    find_body_model,
    find_model,
    is_shipped,
    load_body_model,
)
from smilfit.datasets import DatasetFile, open_dataset
from smilfit.files import OutputFolder
from smilfit.io import RecordedSession, SessionPlace, find_sessions
from smilfit.io.points import PointSession, read_recorded_points, read_skeleton
from smilfit.io.sequence_names import sequence_name
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import FitOrigin, FitResult, ModelReference

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
            result = kind.find(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if result:
            return result
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
        observed=recording.keypoints2d(),
        given=recording.keypoints3d(),
        images=RecordedImages(recording.video_paths, recording.n_frames, frames),
        notes=notes if animals else [],
    )


def holds_points(path: Path) -> bool:
    """Check whether a file should be read as points in space; a fit's `.npz` has its record beside it."""
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
    observed = shown.keypoints2d()
    return Scene(
        title=shown.name,
        labels=[f'frame {i}' for i in shown.frame_numbers],
        fps=shown.fps,
        unit=shown.unit,
        cameras=shown.cameras,
        observed=observed,
        given=shown.keypoints3d(),
        notes=['Points in space have no images.'],
    )


def dataset_scene(dataset: DatasetFile, session: str) -> Scene:
    """Show a session of a dataset file; images from its recording where that is there, else those stored."""
    data = dataset.session(session)
    scene = Scene(
        title=f'{Path(dataset.path).name}: {session}',
        labels=dataset.labels(session),
        fps=dataset.fps(session),
        unit=dataset.unit,
        cameras=data.cameras,
        observed=data.annotated2d(),
        given=dataset.keypoints3d(session),
    )
    if data.kind == 'points':
        scene.notes.append('Points in space have no images.')
        return scene
    scene.images = StoredImages(dataset, session)
    if data.kind == 'recording':
        try:
            recording = open_recording(dataset, session)
        except (OSError, ValueError, KeyError) as error:
            scene.notes.append(f'Images are {scene.images.source}: {error}.')
        else:
            frames = dataset.frame_indices(session).tolist()
            scene.images = RecordedImages(recording.video_paths, recording.n_frames, frames)
    return scene


MODEL_ENDINGS = ('.smil.json', '.pkl', '.json')
DATASET_ENDINGS = ('.h5', '.hdf5')
SLEAP_ENDING = '.slp'
# A dataset file lies at most so many folders above a fit of it.
_NEAR = 3


def open_scene(
    path: str | Path,
    session: str | None = None,
    data: str | Path | None = None,
    body_model: str | Path | None = None,
    skeleton: str | Path | None = None,
) -> Scene | ModelScene:
    """Open what is to be looked at.

    Args:
        path: a fit's folder or `fit.npz`, or a folder of fits; a body model's file or a shipped name; a dataset file;
            a session or project of SLEAP, anipose, DeepLabCut or Lightning Pose, or a folder of these; a file of
            points in space.
        session: which, where there are several; the first if None.
        data: the dataset file of a fit, where it is not found near it.
        body_model: the body model of a fit, where it is not found.
        skeleton: a file with the names of points in space, where theirs has none.

    Raises:
        FileNotFoundError: nothing there.
        KeyError: an unknown session, with the near ones.
        ValueError: a path that is none of these, or files that break a rule.
    """
    path = Path(path)
    if is_shipped(path) or (path.is_file() and path.name.endswith(MODEL_ENDINGS)):
        file = find_body_model(path)
        return ModelScene(load_body_model(file), file.name)
    if not path.exists():
        raise FileNotFoundError(
            f'{path}: the path must be there; it is not. Give a fit, a body model, a dataset or a session folder.'
        )
    if path.is_file() and holds_points(path):
        return points_scene(path, session, skeleton)
    if path.is_file() and path.suffix == SLEAP_ENDING:
        return session_scene(path, session)
    if path.is_file() and path.suffix in DATASET_ENDINGS:
        dataset = open_dataset(path)
        return dataset_scene(dataset, chosen(session, dataset.session_names, path))
    if path.is_file() and path.suffix == '.npz':
        return fit_scene(path, session, data, body_model)
    if path.is_dir():
        fits = [path / FIT] if (path / FIT).is_file() else sorted(path.glob(f'*/{FIT}'))
        if fits:
            names = [file.parent.name for file in fits]
            one = None if len(fits) == 1 else chosen(session, names, path)
            file = fits[0] if one is None else fits[names.index(one)]
            return fit_scene(file, None if one is not None else session, data, body_model)
        return session_scene(path, session)
    raise ValueError(
        f'{path}: what is viewed must be a fit (folder or fit.npz), a body model (.smil.json, .pkl), a dataset '
        f'(.h5), a session (folder, or multi-view .slp) or points in space ({POINTS_FILE}, '
        f'{", ".join(POINT_ENDINGS)}); got a file that ends in {path.suffix!r}.'
    )


def fit_scene(
    file: Path,
    session: str | None = None,
    data: str | Path | None = None,
    body_model: str | Path | None = None,
) -> Scene:
    """Show a fit over its recording; of a fit whose dataset is gone, the body, its cameras and keypoints alone."""
    result = FitResult.load(file)
    made_of = OutputFolder(file.parent).made_of('fit')
    stated = {} if made_of is None else made_of['inputs']
    dataset = _dataset_of(file, data, stated.get('dataset'), result.origin)
    if dataset is None:
        scene = _alone(result, file)
    else:
        name = chosen(
            session or stated.get('session') or file.parent.name, dataset.session_names, dataset.path
        )
        if len(dataset.samples(name)) != result.params.batch_size:
            raise ValueError(
                f'{dataset.path}: session {name} must have the {result.params.batch_size} frames of {file}; it has '
                f'{len(dataset.samples(name))}. Name the dataset of this fit by --data.'
            )
        scene = with_cameras(dataset_scene(dataset, name), result.cameras)
        scene.title = f'{file.parent.name}: the fit'
    body = _body_of(file, result, dataset, body_model, scene.notes)
    if body is not None:
        # Once more: the file knows landmarks, and refuses another body.
        result = FitResult.load(file, body=body)
        own = result.body if isinstance(result.body, SMIL) else body
        names = own.joint_names if scene.observed is None else scene.observed.names
        scene.bodies = PosedBodies(own, result.params, names)
    if (file.parent / VERDICT).is_file():
        verdict, _ = read_verdict(file.parent)
        if len(verdict.frame_words) == len(scene):
            scene.verdict = verdict
    return scene


def _alone(result: FitResult, file: Path) -> Scene:
    """Show what a fit's own file knows, with the images of its recording where that is still there."""
    count, origin = result.params.batch_size, result.origin
    numbers = list(range(count)) if result.frames is None else result.frames.tolist()
    given = result.keypoints3d
    scene = Scene(
        title=f'{file.parent.name}: the fit',
        labels=list(origin.labels) if origin and origin.labels else [f'frame {i}' for i in numbers],
        fps=None if origin is None else origin.fps,
        cameras=result.recorded_cameras,
        given=given,
        unit=given.unit if given is not None else None if origin is None else origin.unit,
    )
    where = 'The dataset of this fit is not near it; --data FILE.h5 names it.'
    try:
        scene.images = _images_of(origin, numbers)
        scene.notes.append(f'{where} Images are {scene.images.source}; there are no labels.')
    except (OSError, ValueError, KeyError) as error:
        scene.notes.append(f'{where} There are no images: {error}')
    return with_cameras(scene, result.cameras)


def _images_of(origin: FitOrigin | None, numbers: list[int]) -> RecordedImages:
    """Open the recording that a fit names.

    Raises:
        FileNotFoundError: it names none, or that is not there.
    """
    if origin is None or not origin.source or not Path(origin.source).exists():
        stated = '' if origin is None else origin.source
        raise FileNotFoundError(f'its recording {stated or "is not named"}; it is not there.')
    recording = open_session(Path(origin.source), origin.session)
    if max(numbers, default=0) >= recording.n_frames:
        raise ValueError(f'the videos of {origin.source} have {recording.n_frames} frames; it has more.')
    return RecordedImages(recording.video_paths, recording.n_frames, numbers)


def _dataset_of(
    file: Path, data: str | Path | None, fingerprint: str | None, origin: FitOrigin | None
) -> DatasetFile | None:
    """Open the dataset of a fit: as named, else the one with its fingerprint near it, or where the fit says."""
    if data is not None:
        return open_dataset(data)
    fingerprint = fingerprint or (None if origin is None else origin.fingerprint)
    if fingerprint is None:
        return None
    places = [
        candidate
        for folder in file.resolve().parents[1 : 1 + _NEAR]
        for ending in DATASET_ENDINGS
        for candidate in sorted(folder.glob(f'*{ending}'))
    ]
    if origin is not None and origin.dataset and Path(origin.dataset).is_file():
        places.insert(0, Path(origin.dataset))
    for candidate in places:
        try:
            dataset = open_dataset(candidate)
        except (OSError, ValueError):
            # Another program's file.
            continue
        if dataset.fingerprint == fingerprint:
            return dataset
        dataset.close()
    return None


def _body_of(
    file: Path, result: FitResult, dataset: DatasetFile | None, named: str | Path | None, notes: list[str]
) -> SMIL | None:
    """Load a fit's body: as named, else the fit's own, else its dataset's, else the shipped one of its name."""
    if named is not None:
        return load_body_model(named)
    stated = result.model
    places = [(result.reference, file)]
    if dataset is not None:
        places.append((dataset.body_model, dataset.path))
    if stated is not None:
        places.append((ModelReference(stated.name, stated.content_hash), file))
        # A dataset's model, or one of the fit's name, need not be the fit's.
        places = [(replace(one, content_hash=stated.content_hash), where) for one, where in places]
    why = ''
    for reference, where in places:
        try:
            return SMIL(find_model(reference, where, folder=Path(where).parent).body)
        except (ModelNotFoundError, OtherModelError) as error:
            why = why or str(error)
    notes.append(f'The body model is not found, so there is no mesh. {why}')
    return None
