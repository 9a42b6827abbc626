"""What commands do, called from Python: results and progress."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from smilfit import apis
from smilfit.apis.fitting.fit_overlays import report_images
from smilfit.apis.fitting.overlay_scene import OverlayScene
from smilfit.apis.shipped_configs import configs_folder
from smilfit.body_models import SMIL, save_body_model
from smilfit.datasets import open_dataset
from smilfit.io.calibration import read_calibration, write_calibration
from smilfit.registry import UnknownNameError, read_config
from smilfit.structures import Cameras, FitResult
from smilfit.synthetic import make_quadruped
from tests.hostile.small_inputs import make_inputs

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


def test_overlays_are_drawn_on_the_recording_from_anywhere_whatever_else_lies_in_it(
    inputs, tmp_path, monkeypatch, caplog
):
    """A calibrated camera without a folder was left out, the path was relative, and all has moved since."""
    shutil.copytree(inputs / 'sessions', tmp_path / 'there' / 'sessions')
    folder = tmp_path / 'there' / 'sessions' / SESSION
    rig = read_calibration(folder / 'calibration.toml')
    tensors = {n: getattr(rig, n) for n in ('K', 'R', 't', 'size')}
    more = {n: torch.cat((x, x[:1])) for n, x in tensors.items()}
    write_calibration(folder / 'calibration.toml', Cameras(names=(*rig.names, 'gone'), **more, unit=rig.unit))
    (folder / 'notes').mkdir()
    monkeypatch.chdir(tmp_path / 'there')
    source = apis.DataSource(
        'sleap', Path('sessions'), keypoint_map=Path('sessions/joint_lookup.csv'), unit='mm'
    )
    options = {'target_resolution': 32, 'exclude_cameras': ['gone']}
    apis.preprocess(source, Path('out.h5'), inputs / 'animal.smil.json', options)
    monkeypatch.chdir(tmp_path)
    assert Path(open_dataset('there/out.h5').source(SESSION)) == folder
    (tmp_path / 'there').rename(tmp_path / 'here')
    dataset = open_dataset('here/out.h5')
    assert Path(dataset.source(SESSION)).resolve() == tmp_path / 'here' / 'sessions' / SESSION
    seen, body = dataset.keypoints2d(SESSION), SMIL(make_quadruped())
    params = dataset.true_params(SESSION).to(torch.float32)
    result = FitResult(params, torch.zeros(8), torch.ones(8, dtype=torch.bool), body=body)
    drawn = report_images(OverlayScene.of_fit(body, result, dataset, SESSION, seen, 48))
    assert not caplog.records
    (tmp_path / 'here' / 'sessions').rename(tmp_path / 'elsewhere')
    moved = open_dataset('here/out.h5')
    small = report_images(OverlayScene.of_fit(body, result, moved, SESSION, seen, 48))
    assert 'overlays show the small stored images' in caplog.text
    assert any((small[caption] != image).any() for caption, image in drawn.items())


def test_fit(inputs, tmp_path):
    reports = []
    done = apis.fit(inputs / 'fit.py', inputs / 'small.h5', tmp_path, window_px=48, progress=reports.append)
    assert set(done.results) == set(done.benchmarks) == {SESSION}
    saved = FitResult.load(tmp_path / SESSION / 'fit.npz', SMIL(make_quadruped()))
    dataset = open_dataset(inputs / 'small.h5')
    assert saved.keypoints3d.names == dataset.keypoints2d(SESSION).names
    assert saved.keypoints3d.unit == saved.recorded_cameras.unit == 'mm'
    assert torch.equal(saved.recorded_cameras.K, dataset.cameras(SESSION).K)
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
        protocols=['wldo', 'animer', 'motion'],
    )
    assert made == [done.dataset]
    stored = json.loads((tmp_path / 'out' / 'protocols.json').read_text())
    # There are no masks, so no area.
    assert stored['wldo']['IoU'] is None
    assert 0 < stored['animer']['AUC'] == done.protocols['animer']['AUC'] <= 1
    # Single images do not move.
    assert stored['motion']['jitter'] is None
    assert done.dataset.path == tmp_path / 'out' / 'pictures.h5'
    (session,) = done.fit.images
    assert len(done.fit.images[session]) == 3
    assert done.fit.n_images_not_fitted == 0
    check(reports, 'preprocessing', session, f'{session}: judging', f'{session}: drawing')


@pytest.mark.parametrize(
    ('right', 'wrong', 'reason'),
    [
        ('n_hypotheses', 'n_hypothesis', "unknown argument 'n_hypothesis'. Did you mean 'n_hypotheses'"),
        ('n_iter', 'n_itr', "unknown stage key 'n_itr'. Did you mean 'n_iter'"),
    ],
)
def test_a_misspelt_config_is_found_before_images_are_cut(inputs, tmp_path, right, wrong, reason):
    config = tmp_path / 'mine.py'
    config.write_text((inputs / 'pictures.py').read_text().replace(right, wrong))
    with pytest.raises((ValueError, UnknownNameError), match=r'mine\.py: ') as refused:
        apis.fit_images(
            apis.DataSource('coco', inputs / 'labels.json', images=inputs / 'pictures'),
            tmp_path / 'out',
            inputs / 'animal.smil.json',
            config,
        )
    assert reason in str(refused.value)
    assert not (tmp_path / 'out').exists()


def test_a_body_model_without_faces_is_refused_where_its_surface_is_needed(inputs, tmp_path):
    data = make_quadruped()
    model = save_body_model(replace(data, faces=data.faces[:0]), tmp_path / 'bare.smil.json')
    with pytest.raises(ValueError, match='must have faces for overlays and meshes; it has none'):
        apis.fit_images(
            apis.DataSource('coco', inputs / 'labels.json', images=inputs / 'pictures'),
            tmp_path / 'out',
            model,
            inputs / 'pictures.py',
        )
    assert not (tmp_path / 'out').exists()
    dataset = tmp_path / 'small.h5'
    options = {'target_resolution': 32, 'num_workers': 0}
    apis.preprocess(rig(inputs), dataset, model, options)
    with pytest.raises(ValueError, match='must have faces for overlays and meshes'):
        apis.fit(inputs / 'fit.py', dataset, tmp_path / 'fitted', window_px=48)
    done = apis.fit(inputs / 'fit.py', dataset, tmp_path / 'fitted', video=False, meshes='none')
    assert done.results[SESSION].fitted.all()


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
