"""From a path to what is shown: a fit, a body model, a dataset's session or a session folder."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smilfit.apis.judging import VERDICT, read_verdict
from smilfit.apis.recordings import open_recording
from smilfit.body_models import SMIL, find_body_model, is_shipped, load_body_model
from smilfit.datasets import open_dataset
from smilfit.files import OutputFolder
from smilfit.io import SleapSession, find_sessions
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import FitResult
from smilfit.viewer.images import RecordedImages, StoredImages
from smilfit.viewer.model_scene import ModelScene
from smilfit.viewer.posed_bodies import PosedBodies
from smilfit.viewer.scene import Scene, with_cameras

logger = logging.getLogger('smilfit')

FIT = 'fit.npz'
MODEL_ENDINGS = ('.smil.json', '.pkl', '.json')
DATASET_ENDINGS = ('.h5', '.hdf5')
# A dataset file lies at most so many folders above a fit of it.
_NEAR = 3


def open_scene(
    path: str | Path,
    session: str | None = None,
    data: str | Path | None = None,
    body_model: str | Path | None = None,
) -> Scene | ModelScene:
    """Open what is to be looked at.

    Args:
        path: a fit's folder or `fit.npz`, or a folder of fits; a body model's file or a shipped name; a dataset file;
            a session folder, or a folder of sessions.
        session: which, where there are several; the first if None.
        data: the dataset file of a fit, where it is not found near it.
        body_model: the body model of a fit, where it is not found.

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
    if path.is_file() and path.suffix in DATASET_ENDINGS:
        dataset = open_dataset(path)
        return dataset_scene(dataset, _chosen(session, dataset.session_names, path))
    if path.is_file() and path.suffix == '.npz':
        return fit_scene(path, session, data, body_model)
    if path.is_dir():
        fits = [path / FIT] if (path / FIT).is_file() else sorted(path.glob(f'*/{FIT}'))
        if fits:
            names = [file.parent.name for file in fits]
            chosen = None if len(fits) == 1 else _chosen(session, names, path)
            file = fits[0] if chosen is None else fits[names.index(chosen)]
            return fit_scene(file, None if chosen is not None else session, data, body_model)
        folders = find_sessions(path)
        names = [folder.name for folder in folders]
        return folder_scene(folders[names.index(_chosen(session, names, path))])
    raise ValueError(
        f'{path}: what is viewed must be a fit (folder or fit.npz), a body model (.smil.json, .pkl), a dataset (.h5) '
        f'or a session folder; got a file that ends in {path.suffix!r}.'
    )


def _chosen(session: str | None, names: Sequence[str], where: Path) -> str:
    if session is None:
        if len(names) > 1:
            logger.info('%s: showing %s; --session chooses among %s.', where, names[0], ', '.join(names))
        return names[0]
    if session not in names:
        raise UnknownNameError(f'{where}: no session {session!r}. {did_you_mean(session, names)}')
    return session


def folder_scene(folder: Path) -> Scene:
    """Show a session folder: labels as they are, and what they give in space."""
    recording = SleapSession(folder, partial_labels=True)
    frames = range(recording.n_frames)
    return Scene(
        title=recording.name,
        labels=[f'frame {i}' for i in frames],
        fps=recording.fps or None,
        unit=recording.unit,
        cameras=recording.cameras,
        seen=recording.keypoints2d(),
        given=recording.keypoints3d(),
        images=RecordedImages(recording.video_paths, recording.n_frames, frames),
    )


def dataset_scene(dataset: Any, session: str) -> Scene:
    """Show a session of a dataset file; images from its recording where that is there, else those stored."""
    seen = dataset.annotated2d(session)
    scene = Scene(
        title=f'{Path(dataset.path).name}: {session}',
        labels=dataset.labels(session),
        fps=dataset.fps(session),
        unit=dataset.unit,
        cameras=seen.cameras,
        seen=seen,
        given=dataset.keypoints3d(session),
        images=StoredImages(dataset, session),
    )
    if not dataset.has_own_cameras(session):
        try:
            recording = open_recording(dataset, session)
        except (OSError, ValueError, KeyError) as error:
            scene.notes.append(f'Images are {scene.images.source}: {error}.')
        else:
            frames = dataset.frame_indices(session).tolist()
            scene.images = RecordedImages(recording.video_paths, recording.n_frames, frames)
    return scene


def fit_scene(
    file: Path,
    session: str | None = None,
    data: str | Path | None = None,
    body_model: str | Path | None = None,
) -> Scene:
    """Show a fit over its recording; of a fit whose dataset is gone, the body, its cameras and keypoints alone."""
    result = FitResult.load(file)
    made_of = OutputFolder(file.parent).made_of('fit') or {'inputs': {}}
    stated = made_of['inputs']
    dataset = _dataset_of(file, data, stated.get('dataset'))
    notes = []
    if dataset is None:
        notes.append(
            'The dataset of this fit is not near it, so there are no images; --data FILE.h5 names it.'
        )
        scene = _alone(result, file)
    else:
        name = _chosen(
            session or stated.get('session') or file.parent.name, dataset.session_names, dataset.path
        )
        if len(dataset.samples(name)) != result.params.batch_size:
            raise ValueError(
                f'{dataset.path}: session {name} must have the {result.params.batch_size} frames of {file}; it has '
                f'{len(dataset.samples(name))}. Name the dataset of this fit by --data.'
            )
        scene = with_cameras(dataset_scene(dataset, name), result.cameras)
        scene.title = f'{file.parent.name}: the fit'
    scene.notes.extend(notes)
    body = _body_of(result, dataset, body_model, scene.notes)
    if body is not None:
        # Once more: the file knows landmarks, and refuses another body.
        result = FitResult.load(file, body=body)
        names = result.body.joint_names if scene.seen is None else scene.seen.names
        scene.bodies = PosedBodies(result.body, result.params, names)
    if (file.parent / VERDICT).is_file():
        verdict, _ = read_verdict(file.parent)
        if len(verdict.frame_words) == len(scene):
            scene.verdict = verdict
    return scene


def _alone(result: FitResult, file: Path) -> Scene:
    count = result.params.batch_size
    scene = Scene(
        title=f'{file.parent.name}: the fit',
        labels=[f'frame {i}' for i in range(count)],
        cameras=result.recorded_cameras,
        given=result.keypoints3d,
        unit=None if result.keypoints3d is None else result.keypoints3d.unit,
    )
    return with_cameras(scene, result.cameras)


def _dataset_of(file: Path, data: str | Path | None, fingerprint: str | None) -> Any:
    """Open the dataset of a fit: as named, else one near it with the fingerprint that the fit was made of."""
    if data is not None:
        return open_dataset(data)
    if fingerprint is None:
        return None
    for folder in file.resolve().parents[1 : 1 + _NEAR]:
        for candidate in sorted(p for ending in DATASET_ENDINGS for p in folder.glob(f'*{ending}')):
            try:
                dataset = open_dataset(candidate)
            except (OSError, ValueError):
                # Another program's file.
                continue
            if dataset.fingerprint == fingerprint:
                return dataset
            dataset.close()
    return None


def _body_of(result: FitResult, dataset: Any, named: str | Path | None, notes: list[str]) -> SMIL | None:
    """Load a fit's body: as named, else its dataset's, else the shipped one of its name."""
    if named is not None:
        return load_body_model(named)
    stated = '' if result.model is None else result.model.name
    for candidate in ('' if dataset is None else dataset.body_model_file, stated):
        if candidate and (is_shipped(candidate) or Path(candidate).is_file()):
            body = load_body_model(candidate)
            # A model of the fit's name need not be the fit's.
            if result.model is None or body.data.hash_without_landmarks() == result.model.content_hash:
                return body
    notes.append(f'The body model {stated} is not found, so there is no mesh; --body-model FILE names it.')
    return None
