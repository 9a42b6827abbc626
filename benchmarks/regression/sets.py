"""The recordings that regressors are trained and tested on: made once, kept in a folder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.fitting.mouse_session import EXCLUDED
from benchmarks.measuring import real_data
from smilfit.apis import synthesize
from smilfit.body_models import SMIL, load_body_model_data, save_body_model
from smilfit.datasets import PreprocessOptions, preprocess
from smilfit.io import SleapSession
from smilfit.io.landmark_rows import body_with_lookup
from smilfit.structures import Keypoints2d, Keypoints3d
from smilfit.synthetic import (
    SessionOptions,
    SynthesisOptions,
    make_insect,
    make_quadruped,
    write_sessions,
)

ANIMALS = {'quadruped': make_quadruped, 'insect': make_insect}
# Sessions are of 16 s; their seed, and how many of the last ones are held out: other animals, rigs and coats.
SEED, FPS, N_HELD_OUT = 1, 10.0, 4
# Of the real mouse: the first frames to train on, and the last to test on.
MOUSE_TRAINED, MOUSE_HELD_OUT = 60, 40


@dataclass(frozen=True)
class SetSize:
    """How much is made."""

    n_sessions: int = 28
    n_frames: int = 160
    n_cameras: int = 4
    size: tuple[int, int] = (320, 256)

    @property
    def name(self) -> str:
        """Give a folder name of its own to each size."""
        usual = self == SetSize()
        return (
            ''
            if usual
            else f'_{self.n_sessions}x{self.n_frames}x{self.n_cameras}_{self.size[0]}x{self.size[1]}'
        )


@dataclass(frozen=True)
class Crops:
    """How images are stored: whole, for regressors that look for the animal themselves, or cut out by labels."""

    mode: str = 'default'
    resolution: int = 256

    @property
    def boxes(self) -> str:
        """Say whose boxes a test has."""
        return 'labels' if self.mode == 'bbox_crop' else 'own'

    def options(self) -> PreprocessOptions:
        """Give the options of preprocessing."""
        return PreprocessOptions(crop_mode=self.mode, target_resolution=self.resolution, num_workers=0)


def animal_stores(folder: Path, animal: str, size: SetSize, crops: Crops) -> tuple[Path, Path]:
    """Make, or find, the dataset files of the sessions to train on and of those held out."""
    root = folder / f'{animal}{size.name}'
    model = root / 'animal.smil.json'
    if not model.is_file():
        root.mkdir(parents=True, exist_ok=True)
        save_body_model(ANIMALS[animal](), model)
    body = load_body_model_data(model)
    names = [f'session_{i:03d}' for i in range(size.n_sessions)]
    sessions = root / 'sessions'
    stores = [root / f'{part}_{crops.mode}_{crops.resolution}.h5' for part in ('train', 'held_out')]
    if all(store.is_file() for store in stores):
        return stores[0], stores[1]
    options = SessionOptions(fps=FPS)
    made = (size.n_sessions, size.n_frames, size.n_cameras, size.size)
    write_sessions(sessions, SMIL(body), *made, options=options, seed=SEED)
    held_out = min(N_HELD_OUT, max(1, size.n_sessions // 2))
    for store, chosen in zip(stores, (names[:-held_out], names[-held_out:])):
        found = [SleapSession(sessions / name, sessions / 'joint_lookup.csv', unit='mm') for name in chosen]
        preprocess(found, store, body, crops.options(), model)
    return stores[0], stores[1]


def synthetic_store(folder: Path, animal: str, size: SetSize, crops: Crops) -> Path:
    """Make, or find, as many rendered sessions of the same body, every frame by itself and no recording behind it."""
    root = folder / f'{animal}{size.name}'
    store = root / f'synthetic_{crops.mode}_{crops.resolution}.h5'
    drawn = SynthesisOptions(
        n_sessions=size.n_sessions - N_HELD_OUT if size.n_sessions > N_HELD_OUT else size.n_sessions,
        n_frames=size.n_frames,
        n_cameras=size.n_cameras,
        size=size.size,
        memory_s=0.0,
    )
    kept = {'crop_mode': crops.mode, 'target_resolution': crops.resolution, 'num_workers': 0}
    return synthesize(root / 'animal.smil.json', store, drawn, store=kept).path


def mouse_stores(folder: Path, crops: Crops) -> tuple[Path, Path] | None:
    """Make, or find, the files of the real mouse before three cameras; None where it is not here."""
    real = real_data()
    if real is None:
        return None
    model = real / 'models' / 'SMILy_Mouse_static_joints.pkl'
    place = real / 'mouse_sessions'
    # Labels are near joints, not on them, as the command takes them too.
    body = body_with_lookup(load_body_model_data(model), place / 'joint_lookup.csv')
    session = SleapSession(
        place / 'minimal_session', place / 'joint_lookup.csv', EXCLUDED, confidence_threshold=0.0, unit='mm'
    )
    parts = {
        'train': range(MOUSE_TRAINED),
        'held_out': range(session.n_frames - MOUSE_HELD_OUT, session.n_frames),
    }
    stores = []
    for part, frames in parts.items():
        store = folder / 'mouse' / f'{part}_{crops.mode}_{crops.resolution}.h5'
        store.parent.mkdir(parents=True, exist_ok=True)
        preprocess([FramesOf(session, frames)], store, body, crops.options(), model)
        stores.append(store)
    return stores[0], stores[1]


class FramesOf:
    """Some frames of a session, as a session.

    Args:
        session: the whole one.
        rows: its frames, increasing.
    """

    def __init__(self, session: SleapSession, rows: Iterable[int]) -> None:
        self.session, self.rows = session, np.array(list(rows))
        self.name, self.cameras, self.unit, self.fps = (
            session.name,
            session.cameras,
            session.unit,
            session.fps,
        )
        self.keypoint_names = session.keypoint_names
        self.confidence_thresholds = dict.fromkeys(session.camera_names, 0.0)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Give the labels of these frames."""
        return self.session.keypoints2d(names)[self.rows]

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Give the points of these frames."""
        points = self.session.keypoints3d(names)
        return None if points is None else points[self.rows]

    def frames(self, indices: Sequence[int] | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Decode these frames, counted from their first."""
        indices = range(len(self.rows)) if indices is None else indices
        for index, (_, images) in zip(indices, self.session.frames(self.rows[list(indices)])):
            yield index, images
