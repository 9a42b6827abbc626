"""A small made recording, its dataset file and a fit that is the truth."""

from pathlib import Path

import numpy as np
import pytest

from smilfit.apis.fitting.verdict_file import write_verdict
from smilfit.body_models import SMIL, load_body_model_data, save_body_model
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.datasets import open_dataset
from smilfit.evaluation.verdict import DOUBTFUL, GOOD, Verdict
from smilfit.files import MadeOf, OutputFolder
from smilfit.structures import FitResult
from smilfit.structures.fit_record import FittedModel
from smilfit.synthetic import make_quadruped, write_sessions

SESSION, FRAMES, DOUBTED = 'session_000', 40, 7


@pytest.fixture(scope='session')
def made(tmp_path_factory) -> Path:
    """A folder with `sessions/`, `animal.smil.json`, `made.h5` and `fit/session_000/`."""
    root = tmp_path_factory.mktemp('view')
    save_body_model(make_quadruped(), root / 'animal.smil.json')
    write_sessions(root / 'sessions', SMIL(make_quadruped()), 1, FRAMES, 3)
    code = preprocess(
        [
            'sleap', str(root / 'sessions'), str(root / 'made.h5'), '--body-model', str(root / 'animal.smil.json'),
            '--joint-lookup', str(root / 'sessions' / 'joint_lookup.csv'), '--unit', 'mm',
            '--target-resolution', '64',
        ]
    )  # fmt: skip
    assert code == 0
    write_fit(root)
    return root


def write_fit(root: Path) -> None:
    dataset = open_dataset(root / 'made.h5')
    body = SMIL(make_quadruped()).with_landmarks(dataset.landmarks)
    params = dataset.true_params(SESSION)
    count = params.batch_size
    params.transl[count - 1] = float('nan')
    result = FitResult(
        params=params.to(body.v_template),
        per_frame_loss=params.transl.new_zeros(count),
        converged=params.transl.new_ones(count).bool(),
        recorded_cameras=dataset.annotated2d(SESSION).rig,
        keypoints3d=dataset.keypoints3d(SESSION),
        model=FittedModel.of(body.data),
    )
    words = [DOUBTFUL if row == DOUBTED else GOOD for row in range(count)]
    reasons = ['a bone is long' if row == DOUBTED else '' for row in range(count)]
    outputs = OutputFolder(root / 'fit' / SESSION)
    with outputs.make('fit', MadeOf({'dataset': dataset.fingerprint, 'session': SESSION}, {})) as folder:
        result.save(folder / 'fit.npz')
    write_verdict(outputs.folder, Verdict(GOOD, (), (), tuple(words), tuple(reasons)), [])


@pytest.fixture(scope='session')
def points(tmp_path_factory) -> Path:
    """A folder with points of 3 frames in space, `run.npz`, and their dataset file `run.h5`."""
    root = tmp_path_factory.mktemp('points')
    names = load_body_model_data('quadruped').joint_names
    xyz = np.zeros((3, len(names), 3)) + np.arange(len(names))[:, None] + np.arange(3)[:, None, None]
    np.savez(root / 'run.npz', xyz=xyz, names=np.array(names))
    command = ['points3d', str(root / 'run.npz'), str(root / 'run.h5'), '--body-model', 'quadruped']
    assert preprocess([*command, '--unit', 'mm', '--quiet']) == 0
    return root
