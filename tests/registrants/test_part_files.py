"""Windows of a long fit are kept, and a fit that was stopped goes on from them."""

import pytest
import torch

from benchmarks.image_scenes import single_views
from smilfit.body_models import SMIL
from smilfit.handlers import BodyPosePriorHandler, Keypoint2dHandler
from smilfit.registrants import PartFiles, SMALify
from smilfit.solvers import LevenbergMarquardt
from smilfit.synthetic import make_quadruped

STAGES = [
    dict(name='place', n_iter=5, fit_body_pose=False, fit_betas=False, keypoints2d_mse_weight=1.0),
    dict(name='pose', n_iter=5, fit_betas=False, keypoints2d_mse_weight=1.0, pose_prior_weight=200.0),
]


class Stopped(Exception):
    pass


class Counter:
    """Counts the stages that begin; stops the fit at one of them."""

    def __init__(self, stop_at=None):
        self.stop_at, self.begun, self.last = stop_at, 0, None

    def __call__(self, stage, step, loss):
        if step <= 1 or stage is not self.last:
            self.begun += 1
        self.last = stage
        if self.begun == self.stop_at:
            raise Stopped
        return False


@pytest.fixture(scope='module')
def scene():
    return single_views(SMIL(make_quadruped()).double(), 6, seed=0)


def fit(scene, parts, hook):
    handlers = [Keypoint2dHandler(), BodyPosePriorHandler(handler_key='pose_prior')]
    fitter = SMALify(
        SMIL(make_quadruped()),
        STAGES,
        handlers,
        n_hypotheses=2,
        window=2,
        optimizer=LevenbergMarquardt(gnc_schedule=(), backend='torch'),
        hooks=[hook],
    )
    fitter.keep_parts(parts)
    return fitter([scene.keypoints])


def test_a_stopped_fit_goes_on(scene, tmp_path):
    whole = fit(scene, None, counted := Counter())
    parts = PartFiles(tmp_path / 'parts', 'one')
    # A window has two stages: the fit is stopped in its last window.
    with pytest.raises(Stopped):
        fit(scene, parts, Counter(stop_at=counted.begun))
    assert sorted(p.name for p in parts.folder.iterdir()) == ['window_00000.npz', 'window_00001.npz']
    resumed = fit(scene, parts, rest := Counter())
    assert rest.begun == counted.begun // 3
    for name, value in whole.params.as_dict().items():
        assert torch.equal(value, resumed.params.as_dict()[name])
        assert torch.equal(whole.start.as_dict()[name], resumed.start.as_dict()[name])
    assert torch.equal(whole.per_frame_loss, resumed.per_frame_loss)
    assert whole.report == resumed.report
    assert [h['loss_end'] for h in whole.history] == [h['loss_end'] for h in resumed.history]


def test_parts_of_another_fit_are_not_taken(scene, tmp_path):
    fit(scene, PartFiles(tmp_path, 'one'), first := Counter())
    fit(scene, PartFiles(tmp_path, 'two'), again := Counter())
    assert again.begun == first.begun
    PartFiles(tmp_path, 'two').clear()
    assert not tmp_path.exists()


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:-200]])
def test_a_damaged_part_is_fitted_again_and_reported(scene, tmp_path, damage, caplog):
    parts = PartFiles(tmp_path / 'parts', 'one')
    whole = fit(scene, parts, Counter())
    path = parts.folder / 'window_00001.npz'
    path.write_bytes(damage(path.read_bytes()))
    again = fit(scene, parts, counted := Counter())
    assert counted.begun == 2
    assert 'window_00001.npz: ' in caplog.text
    assert torch.equal(whole.params.body_pose, again.params.body_pose)
    # What a killed fit left of a window is no reason to keep the folder.
    (parts.folder / '.window_00002.tmp.npz').touch()
    (parts.folder / 'window_00002.npz.tmp').touch()
    parts.clear()
    assert not parts.folder.exists()
