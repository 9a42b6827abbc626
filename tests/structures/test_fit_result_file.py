"""What a fit's file keeps beside the parameters."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.files import BadFileError
from smilfit.structures import FitCovariance, FitResult, FittedModel, Keypoints3d
from tests.animals import MARKS, random_params, ring_of_cameras, small_animal


@pytest.fixture
def result():
    params = random_params(small_animal(), 3, seed=1)
    done = torch.ones(3)
    return FitResult(params, done, done.bool())


def test_cameras_and_start_come_back(result, tmp_path):
    rig = ring_of_cameras(2)
    lens = replace(rig, dist=torch.full((2, 5), 0.01).to(rig.K), unit='mm')
    start = result.params.replace(transl=result.params.transl + 1)
    extended = replace(result, cameras=lens, start=start)
    back = FitResult.load(extended.save(tmp_path / 'fit.npz'))
    assert back.cameras.names == lens.names
    assert back.cameras.unit == 'mm'
    for name in ('K', 'R', 't', 'size', 'dist'):
        assert torch.equal(getattr(back.cameras, name), getattr(lens, name))
    for name, value in start.as_dict().items():
        assert torch.equal(getattr(back.start, name), value)
    plain = FitResult.load(result.save(tmp_path / 'plain.npz'))
    assert plain.cameras is None
    assert plain.start is None


def test_a_file_tells_its_cameras_keypoints_and_body_model(result, tmp_path):
    rig = ring_of_cameras(2)
    lens = replace(rig, dist=torch.full((2, 5), 0.01).to(rig.K), unit='mm')
    points = Keypoints3d(torch.randn(3, 2, 3), torch.ones(3, 2), ('nose', 'tail'), 'mm')
    body = SMIL(small_animal())
    notes = replace(result, recorded_cameras=lens, keypoints3d=points, model=FittedModel.of(body.data))
    back = FitResult.load(notes.save(tmp_path / 'fit.npz'), body)
    assert back.cameras is None
    assert (back.recorded_cameras.names, back.recorded_cameras.unit) == (lens.names, 'mm')
    assert torch.equal(back.recorded_cameras.dist, lens.dist)
    assert torch.equal(back.keypoints3d.xyz, points.xyz)
    assert (back.keypoints3d.names, back.keypoints3d.unit) == (('nose', 'tail'), 'mm')
    assert back.model == notes.model
    side_car = json.loads((tmp_path / 'fit.json').read_text())
    with np.load(tmp_path / 'fit.npz') as file:
        assert set(side_car['contents']) == set(file.files)
    assert side_car['contents']['global_orient']['unit'] == 'rad'
    assert side_car['contents']['keypoints3d']['shape'] == [3, 2, 3]
    assert side_car['body_model']['content_hash'] == body.data.content_hash()


@pytest.mark.parametrize('others', [{}, {'mark_known': Landmark('joint_0', 'joint_0')}])
def test_a_file_brings_its_landmarks_to_the_plain_body_model(tmp_path, others):
    plain = SMIL(small_animal()).double()
    marked = plain.with_landmarks({**MARKS, 'mark_skin': Landmark({3: 0.25, 7: 0.75}, 'joint_2', sd=0.2)})
    unknown = marked.data.unknown_landmarks
    offsets = torch.randn(1, len(unknown), 3).double().expand(3, -1, -1)
    params = random_params(plain.data, 3).replace(landmark_offsets=offsets)
    notes = FitResult(params, torch.ones(3), torch.ones(3).bool(), model=FittedModel.of(marked.data))
    back = FitResult.load(notes.save(tmp_path / 'fit.npz'), plain.with_landmarks(others))
    assert back.body.data.landmarks == marked.data.landmarks
    assert back.body.data.unknown_landmarks == unknown
    names = (*marked.data.landmarks, 'joint_3')
    valid, here = (body(params, names).select(names) for body in (marked, back.body))
    assert torch.equal(valid, here)
    assert torch.equal(back.vertices(), marked(params, ('vertices',)).vertices)
    # The caller's body is as it was, and one that has them already is taken itself.
    assert plain.data.landmarks == {}
    assert FitResult.load(tmp_path / 'fit.npz', marked).body is marked
    assert back.model == notes.model
    assert back.model.content_hash == plain.data.content_hash()


def test_landmarks_of_a_damaged_file_are_refused(result, tmp_path):
    plain = SMIL(small_animal())
    model = FittedModel.of(plain.with_landmarks(MARKS).data)
    model.landmarks['mark_on_joint']['bone'] = 'joint_99'
    path = replace(result, model=model).save(tmp_path / 'fit.npz')
    with pytest.raises(ValueError, match="'joint_99'"):
        FitResult.load(path, plain)
    model.landmarks['mark_on_joint']['bone'] = 5
    with pytest.raises(BadFileError, match=r'fit\.json: landmarks\.mark_on_joint\.bone must be'):
        FitResult.load(replace(result, model=model).save(path), plain)


def test_another_body_model_is_refused_unless_asked_for(result, tmp_path, caplog):
    body = SMIL(small_animal())
    notes = replace(result, model=FittedModel.of(body.data))
    path = notes.save(tmp_path / 'fit.npz')
    other = SMIL(replace(body.data, v_template=1.1 * body.data.v_template))
    with pytest.raises(
        ValueError, match=r'must be the one of the fit, .* insist with allow_other_model=True'
    ):
        FitResult.load(path, other)
    assert FitResult.load(path, other, allow_other_model=True).body is other
    assert 'It is taken as asked' in caplog.text
    # A file that does not say is taken, and that is told.
    with caplog.at_level('INFO', logger='smilfit'):
        FitResult.load(result.save(tmp_path / 'old.npz'), other)
    assert 'does not state its body model' in caplog.text


def test_cameras_of_their_own_stay_with_their_frames(result):
    rig = ring_of_cameras(1)
    own = rig.map(lambda x: torch.stack([x, 2 * x, 3 * x]))
    spread = replace(result, cameras=own, start=result.params).expanded(
        torch.tensor([True, False, True, True]), rig
    )
    assert torch.equal(spread.cameras.K[[0, 2, 3]], own.K)
    # Where nothing was fitted, the camera is what it was.
    assert torch.equal(spread.cameras.K[1], rig.K)
    assert torch.equal(spread.start.transl[[0, 2, 3]], result.params.transl)
    assert spread.fitted.tolist() == [True, False, True, True]


def covariance(result):
    g = torch.Generator().manual_seed(0)
    factor = torch.randn((3, 4, 4), generator=g).double()
    points = torch.randn((3, 2, 3, 3), generator=g).double()
    columns = ('transl_x', 'transl_y', 'transl_z', 'betas[0]')
    return FitCovariance(factor @ factor.mT, columns, points @ points.mT, ('nose', 'tail'), 0.5)


def test_covariance_comes_back_without_its_matrix(result, tmp_path):
    known = covariance(result)
    back = FitResult.load(replace(result, covariance=known).save(tmp_path / 'fit.npz')).covariance
    assert back.parameters is None
    assert (back.columns, back.keypoint_names, back.noise) == (known.columns, known.keypoint_names, 0.5)
    assert torch.allclose(back.parameter_sd(), known.parameter_sd().float())
    assert torch.allclose(back.keypoint_sd(), known.keypoint_sd().float())
    wider = back.expanded(torch.tensor([0, 2, 3]), 4)
    assert wider.parameter_sd()[1].isnan().all()
    assert torch.equal(wider.keypoints[3], back.keypoints[2])
    with pytest.raises(ValueError, match='sd must be given unless whole is a matrix'):
        replace(back, sd=None)


def test_files_of_before_are_read(result, tmp_path):
    """A file that names neither its parameters nor the noise of its covariance."""
    path = replace(result, covariance=covariance(result)).save(tmp_path / 'fit.npz')
    with np.load(path) as file:
        np.savez(path, **{n: file[n] for n in file.files if n != 'noise'})
    report = json.loads(path.with_suffix('.json').read_text())
    assert report.pop('parameters')
    report['npz_sha256'] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix('.json').write_text(json.dumps(report))
    back = FitResult.load(path)
    assert back.covariance is None
    assert all(torch.equal(v, back.params.as_dict()[n]) for n, v in result.params.as_dict().items())


def test_two_arrays_of_one_name_are_refused(result, tmp_path):
    with pytest.raises(ValueError, match=r"arrays must have names of their own; got \['converged'\] twice"):
        result.save(tmp_path / 'fit.npz', converged=np.ones(3))


DAMAGE = {
    'parameters cut': ('fit.npz', lambda data: data[:-40]),
    'parameters empty': ('fit.npz', lambda data: b''),
    'one bit of the parameters': ('fit.npz', lambda data: data[:300] + bytes([data[300] ^ 4]) + data[301:]),
    'report cut': ('fit.json', lambda data: data[: len(data) // 2]),
    'report empty': ('fit.json', lambda data: b''),
    'report of another kind': ('fit.json', lambda data: b'[1]'),
    'report without history': ('fit.json', lambda data: data.replace(b'history', b'story')),
    'report of other parameters': ('fit.json', lambda data: data.replace(b'transl', b'further')),
    'report nested without end': ('fit.json', lambda data: b'[' * 100_000),
}


@pytest.mark.parametrize('case', DAMAGE)
def test_damaged_files_are_named(result, tmp_path, case):
    result.save(tmp_path / 'fit.npz')
    name, change = DAMAGE[case]
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(BadFileError, match=rf'^{tmp_path}/{name}: .* must .*[.?]$'):
        FitResult.load(tmp_path / 'fit.npz')


def test_parameters_and_report_of_two_fits_are_kept_apart(result, tmp_path):
    result.save(tmp_path / 'fit.npz')
    old = (tmp_path / 'fit.json').read_bytes()
    replace(result, per_frame_loss=result.per_frame_loss + 1).save(tmp_path / 'fit.npz')
    (tmp_path / 'fit.json').write_bytes(old)
    with pytest.raises(BadFileError, match='must be whole and those that fit.json tells of'):
        FitResult.load(tmp_path / 'fit.npz')
