"""The check of a dataset's ground truth: what is right passes, and each fault is found and named."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, BodyModelData
from smilfit.cli.data.check import main
from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.evaluation.ground_truth import _calibration, session_figures, warnings_of
from smilfit.structures import BodyParams
from tests.datasets.blob_session import NAMES, BlobSession, make_body, make_cameras


@pytest.fixture(scope='module')
def body() -> BodyModelData:
    return replace(make_body(), joint_symmetry=(('paw', 'tail'),))


def posed(body: BodyModelData, n: int = 4) -> BlobSession:
    """Return a session whose points are those of known parameters."""
    session = BlobSession(n_frames=n, cameras=make_cameras(lens=False), names=NAMES[:4])
    params = replace(BodyParams.zeros(n, 4, 2), scale=torch.full((n,), 40.0))
    params = replace(params, transl=torch.arange(n)[:, None] * torch.tensor([3.0, -2.0, 1.0]))
    session.points = SMIL(body)(params, NAMES[:4]).select(NAMES[:4]).double()
    session.xy, _, valid = session.cameras.project(session.points)
    session.confidence, session.true_params = valid.double(), params
    return session


def figures_of(session: BlobSession, body: BodyModelData, out: Path, **options: object):
    preprocess([session], out, body, PreprocessOptions(target_resolution=64, **options))
    dataset = open_dataset(out)
    figures = session_figures(dataset, 'one', SMIL(body))
    return figures, '\n'.join(warnings_of({'one': figures}, dataset.unit))


def test_what_is_right_passes(body, tmp_path):
    figures, words = figures_of(posed(body), body, tmp_path / 'd.h5')
    assert words == ''
    assert (figures.samples, figures.params_known, figures.pairs_swapped) == (4, 4, 0)
    assert figures.pairs_looked_at == 12
    assert figures.params_to_point < 1e-3
    for camera in figures.cameras.values():
        assert (camera.views, camera.labels, camera.labels_outside_image) == (4, 16, 0)
        assert max(camera.label_to_point_px, camera.label_to_params_px) < 0.01
    assert figures.labels_by_keypoint == dict.fromkeys(NAMES[:4], 12)


def test_exchanged_sides_are_counted(body, tmp_path):
    session = posed(body)
    session.xy[1:3, 0] = session.xy[1:3, 0][:, [0, 1, 3, 2]]
    figures, words = figures_of(session, body, tmp_path / 'd.h5')
    assert (figures.pairs_swapped, figures.pairs_looked_at) == (2, 12)
    assert 'left and right are exchanged in 2 of 12 pairs' in words


def test_parameters_of_another_body_are_told(body, tmp_path):
    session = posed(body)
    session.true_params = replace(session.true_params, scale=session.true_params.scale * 1.5)
    _, words = figures_of(session, body, tmp_path / 'd.h5')
    assert "the parameters' keypoints lie" in words
    assert 'camera left: labels lie' in words


def test_boxes_that_cut_and_labels_that_repeat_are_told(body, tmp_path):
    session = BlobSession(n_frames=4, cameras=make_cameras(lens=False), names=NAMES[:4])
    session.points = session.points[:1].expand(4, -1, -1).clone()
    session.xy = session.xy[:1].expand(4, -1, -1, -1).clone()
    session.xy[:, 0, 1, 0] = 12.0
    session.confidence[:, :, 3] = 0.0
    figures, words = figures_of(session, body, tmp_path / 'd.h5', crop_mode='centred', no_3d_data=True)
    assert figures.samples_labelled_twice == 3
    assert figures.cameras['left'].labels_outside_image >= 4
    assert '3 samples have the labels of another one to the last digit' in words
    assert 'camera left:' in words
    assert 'boxes cut the animal' in words
    assert 'never labelled: tail' in words


def test_a_mirrored_animal_is_told(tmp_path):
    rng = np.random.default_rng(1)
    names = tuple(f'j{i}' for i in range(8))
    eight = replace(
        make_body(),
        joint_names=names,
        parents=np.arange(8) - 1,
        joints=rng.normal(size=(8, 3)),
        weights=replace(make_body().weights, shape=(8, 8)),
        keypoint_sets={},
    )
    for flip, notes in ((1.0, False), (-1.0, True)):
        session = BlobSession(n_frames=3, cameras=make_cameras(lens=False), names=NAMES)
        session.keypoint_names = names
        turned = torch.from_numpy(eight.joints) * torch.tensor([30.0, 30.0 * flip, 30.0])
        session.points = turned[None] + torch.arange(3).double()[:, None, None]
        session.xy, _, valid = session.cameras.project(session.points)
        session.confidence = valid.double()
        _, words = figures_of(session, eight, tmp_path / f'd{flip}.h5')
        assert ('mirrored animal' in words) is notes
        assert 'keypoints have the names of others' not in words


@pytest.mark.parametrize(
    ('kind', 'said'), [('points', 'no camera is known'), ('images', 'every image has a camera of its own')]
)
def test_it_is_told_why_cameras_are_not_judged(kind, said):
    dataset = SimpleNamespace(session=lambda name: SimpleNamespace(kind=kind, rig=None))
    message, ok = _calibration(dataset, 'one')
    assert message.startswith(f'{said}; nothing to judge')
    assert ok


def test_the_command_writes_a_page_and_says_what_speaks_against(dataset_of_two, tmp_path, capsys):
    out = tmp_path / 'checked'
    assert main([str(dataset_of_two), '--out', str(out), '--samples', '2']) == 3
    shown = capsys.readouterr().out
    assert 'first: 4 samples' in shown
    assert 'warning: second: 3 samples have the labels of another one' in shown
    record = json.loads((out / 'figures.json').read_text())
    assert record['sessions']['first']['params_to_point'] is None
    assert len(record['warnings']) == shown.count('warning: ')
    assert 'Ground truth of d.h5' in (out / 'report.html').read_text(encoding='utf-8')
    assert {p.name for p in out.glob('*.png')} == {'samples_first.png', 'samples_second.png'}


@pytest.fixture
def dataset_of_two(tmp_path) -> Path:
    """A file whose body model is not there, and whose second session shows one frame again and again."""
    still = BlobSession('second', 4)
    still.xy = still.xy[:1].expand(4, -1, -1, -1).clone()
    options = PreprocessOptions(target_resolution=64)
    preprocess([BlobSession('first', 4), still], tmp_path / 'd.h5', make_body(), options)
    return tmp_path / 'd.h5'
