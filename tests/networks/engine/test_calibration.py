"""A training with validation leaves checkpoints whose confidences are chances; inference leaves unsure frames out."""

import numpy as np
import pytest
import torch

from smilfit.apis import SourceOptions, infer
from smilfit.networks.calibration import Calibration
from smilfit.networks.engine import build_train_runner, load_trained_regressor, read_checkpoint, set_resume
from smilfit.networks.inference.predictions import UNRECOGNISED, read_predictions
from tests.apis.inference_session import write_toy_session
from tests.toy_experiment import train_keypoints

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A training of one epoch; the config, and its folder."""
    folder = tmp_path_factory.mktemp('run')
    cfg = train_keypoints(folder)
    return cfg, folder / 'work'


def test_the_last_checkpoint_holds_the_calibration_of_its_validation(run):
    cfg, work = run
    stored = read_checkpoint(work / 'epoch_1.pth')
    record = stored['smilfit']['calibration']
    result = Calibration.of_record('x', record)
    assert result != Calibration()
    # Four frames of a network that has learned nothing.
    assert result.least == ()
    assert load_trained_regressor(work / 'epoch_1.pth').model.statistics.calibration == record
    # A resumed run knows it, before a validation of its own.
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_begin = 2, 9
    set_resume(cfg, 'auto')
    build_train_runner(cfg, device='cpu').train()
    assert read_checkpoint(work / 'epoch_2.pth')['smilfit']['calibration'] == record


def with_calibration(work, out, **numbers):
    stored = dict(read_checkpoint(work / 'epoch_1.pth'))
    stored['smilfit'] = {
        **stored['smilfit'],
        'calibration': Calibration(**numbers).record() if numbers else {},
    }
    torch.save(stored, out)
    return out


def test_frames_of_an_unsure_network_are_not_predicted(run, tmp_path, caplog):
    _, work = run
    session = write_toy_session(tmp_path / 's', n_frames=3)
    given = {'sources': SourceOptions(side=64), 'device': 'cpu'}
    strict = with_calibration(work, tmp_path / 'strict.pth', least=(0.99,))
    (one,) = infer(strict, session, tmp_path / 'strict', **given)
    assert not one.predictions.valid.any()
    assert all(
        reason.startswith(UNRECOGNISED) and 'below 0.99' in reason for reason in one.predictions.reasons
    )
    assert read_predictions(one.file)[0].reasons == one.predictions.reasons
    # Nothing that was seen: nothing that shows it.
    assert not (tmp_path / 'strict' / 'joint_angles.csv').exists()
    assert not caplog.records or 'no frame is left out' not in caplog.text
    (other,) = infer(strict, session, tmp_path / 'other', least_confidence=0.0, **given)
    assert other.predictions.valid.all()
    assert (tmp_path / 'other' / 'joint_angles.csv').exists()
    assert other.predictions.confidence2d.max() < 0.99
    # An old checkpoint: said once, and nothing is left out.
    (old,) = infer(with_calibration(work, tmp_path / 'old.pth'), session, tmp_path / 'old', **given)
    assert caplog.text.count('no frame is left out for a low confidence (--least-confidence)') == 1
    assert old.predictions.valid.all()
    np.testing.assert_array_equal(old.predictions.confidence2d, other.predictions.confidence2d)
