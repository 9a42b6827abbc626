"""A small made recording, its dataset file and a fit that is the truth."""

from pathlib import Path

import pytest

from smilfit.apis.judging import write_verdict
from smilfit.body_models import SMIL, save_body_model
from smilfit.cli.preprocess import main as preprocess
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
