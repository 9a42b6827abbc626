"""What commands do, called from Python: results and progress."""

import pytest

from benchmarks.reliability.small_inputs import make_inputs
from smilfit import apis
from smilfit.apis.shipped_configs import configs_folder
from smilfit.datasets import open_dataset
from smilfit.registry import UnknownNameError, read_config
from smilfit.structures import FitResult

SESSION = 'session_000'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('apis') / 'inputs'
    return make_inputs(folder, configs_folder() / 'train' / 'multiview_demo.py')


def check(reports, *tasks):
    """Every task is reported in order, from its beginning to its end."""
    assert list(dict.fromkeys(r.task for r in reports)) == list(tasks)
    for task in tasks:
        done = [r.done for r in reports if r.task == task]
        assert done == sorted(done)
        assert {r.total for r in reports if r.task == task} == {done[-1]}


def rig(inputs):
    table = inputs / 'sessions' / 'joint_lookup.csv'
    return apis.DataSource('sleap', inputs / 'sessions', keypoint_map=table, unit='mm')


def test_preprocess(inputs, tmp_path):
    out, model, reports = tmp_path / 'out.h5', inputs / 'animal.smil.json', []
    options = {'target_resolution': 32, 'num_workers': 0, 'exclude_cameras': []}
    plan = apis.plan_preprocess(rig(inputs), out, model, options)
    assert not out.exists()
    done = apis.preprocess(rig(inputs), out, model, options, progress=reports.append)
    assert done.path == out
    assert done.left_out == []
    assert open_dataset(out).n_samples == done.report['totals']['frames_stored'] == len(plan.plans[0].frames)
    check(reports, 'preprocessing')
    with pytest.raises(UnknownNameError, match=r"unknown option 'target_resolutoin'. Did you mean"):
        apis.preprocess(rig(inputs), out, model, {'target_resolutoin': 32})
    with pytest.raises(UnknownNameError, match="unknown format 'slaep'. Did you mean 'sleap'"):
        apis.DataSource('slaep', inputs)


def test_fit(inputs, tmp_path):
    reports = []
    done = apis.fit(inputs / 'fit.py', inputs / 'small.h5', tmp_path, window_px=48, progress=reports.append)
    assert set(done.results) == set(done.benchmarks) == {SESSION}
    saved = FitResult.load(tmp_path / SESSION / 'fit.npz')
    assert saved.params.transl.equal(done.results[SESSION].params.transl)
    assert (tmp_path / SESSION / 'overlay.mp4').is_file()
    assert done.report == tmp_path / 'report.html'
    check(reports, SESSION, f'{SESSION}: judging', f'{SESSION}: overlay')
    # Two cameras of 96 px and eight steps: judged, whatever comes out.
    assert done.verdicts[SESSION].frame_words
    assert 'verdict on this fit' in done.report.read_text()
    assert any(r.note.startswith('pose: loss ') for r in reports)
    # The same config as a dict: nothing is left to do, and the caller's dict stays as it was.
    config = read_config(inputs / 'fit.py').to_dict()
    again, before = [], repr(config)
    apis.fit(config, inputs / 'small.h5', tmp_path, window_px=48, progress=again.append)
    assert not again
    assert repr(config) == before
    with pytest.raises(UnknownNameError, match="unknown mesh format 'ojb'. Did you mean 'obj'"):
        apis.fit(config, inputs / 'small.h5', tmp_path, meshes='ojb')


def test_fit_images(inputs, tmp_path):
    reports, made = [], []
    done = apis.fit_images(
        apis.DataSource('coco', inputs / 'labels.json', images=inputs / 'pictures'),
        tmp_path / 'out',
        inputs / 'animal.smil.json',
        inputs / 'pictures.py',
        {'target_resolution': 64, 'num_workers': 0},
        window_px=64,
        preprocessed=made.append,
        progress=reports.append,
    )
    assert made == [done.dataset]
    assert done.dataset.path == tmp_path / 'out' / 'pictures.h5'
    (session,) = done.fit.images
    assert len(done.fit.images[session]) == 3
    assert done.fit.n_images_not_fitted == 0
    check(reports, 'preprocessing', session, f'{session}: judging', f'{session}: drawing')


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_train_then_test(inputs, tmp_path):
    config, work, reports = inputs / 'train.py', tmp_path / 'work', []
    data = {'train_dataloader.dataset.data_path': str(inputs / 'small.h5')}
    count = apis.check_training(config, work, cfg_options=data, device='cpu')
    assert count > 0
    assert not list(work.glob('*.pth'))
    done = apis.train(config, work, cfg_options=data, device='cpu', progress=reports.append)
    assert done.checkpoint == work / 'epoch_2.pth'
    assert done.checkpoint.is_file()
    check(reports, 'training')
    reports.clear()
    measured = apis.test(
        config, done.checkpoint, work, cfg_options=data, device='cpu', progress=reports.append
    )
    assert measured.metrics['n_samples'] > 0
    assert measured.metrics_file.is_file()
    assert measured.report == work / 'benchmark' / 'report.html'
    check(reports, 'testing')
