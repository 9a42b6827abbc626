"""Conventions are data: one name a point, conversion by name, and a user's own without code."""

import json
from dataclasses import replace

import numpy as np
import pytest
import smplx.joint_names
import torch
from smplx.vertex_ids import vertex_ids

from smilfit.body_models import SMIL, available_conventions, convert_keypoints, load_convention
from smilfit.body_models.human_models import load_rig
from smilfit.body_models.keypoint_conventions import load_links, match_names
from smilfit.handlers import Keypoint3dLimbLenHandler, Keypoint3dMSEInput, MultiviewKeypoint2dMSEInput
from smilfit.losses import LimbLengthLoss
from smilfit.structures import Keypoints2d, Keypoints3d
from tests.animals import ring_of_cameras, small_animal

SIZES = {'smpl': 24, 'smpl_45': 45, 'smplx': 144, 'smplx_127': 127, 'coco': 17, 'openpose_25': 25}


def test_the_shipped_conventions():
    assert set(available_conventions()) == {*SIZES, 'human', 'human_data'}
    for name, size in SIZES.items():
        convention = load_convention(name)
        assert len(convention) == size
        assert convention.limbs
        assert convention.groups['body']
    everything = [n for name in SIZES for n in load_convention(name).names]
    assert sorted(load_convention('human').names) == sorted(set(everything))


def test_orders_agree_with_the_smplx_package():
    links = load_links()
    theirs = tuple(links.point(n) for n in smplx.joint_names.JOINT_NAMES)
    assert load_convention('smplx').names == theirs
    assert load_convention('smplx_127').names == theirs[:127]
    assert load_convention('smpl_45').names == (*load_convention('smpl').names, *theirs[55:76])
    for rig, key in (('smpl', 'smplh'), ('smplx', 'smplx')):
        assert sorted(load_rig(rig).vertex_keypoints.values()) == sorted(vertex_ids[key].values())


def test_left_and_right_mirror_each_other():
    swap = {'left': 'right', 'right': 'left'}
    for name in available_conventions():
        names = load_convention(name).names
        for n in names:
            side, _, rest = n.partition('_')
            assert side not in swap or f'{swap[side]}_{rest}' in names, (name, n)


def test_a_convention_may_have_a_second_name(tmp_path, monkeypatch):
    assert load_convention('human_data') == load_convention('human')
    result = Keypoint3dMSEInput(torch.randn(1, 152, 3), 'human_data').resolve(human_like())
    assert len(result.keypoints.names) == 8
    # XRMoCap's arrays have another size: nothing of them is guessed.
    with pytest.raises(
        ValueError, match="'human_data' must have as many names as keypoints; got 152 and 190"
    ):
        Keypoint3dMSEInput(torch.randn(1, 190, 3), 'human_data').resolve(human_like())
    (tmp_path / 'lab.json').write_text(json.dumps(dict(same_as='coco')))
    monkeypatch.setenv('SMILFIT_CONVENTIONS', str(tmp_path))
    assert load_convention('lab') == load_convention('coco')
    (tmp_path / 'lab.json').write_text(json.dumps(dict(same_as='coco', names=['nose'])))
    with pytest.raises(KeyError, match="unknown key 'names'"):
        load_convention('lab')


def test_there_and_back():
    points = torch.randn(2, 5, 24, 3)
    out, mask = convert_keypoints(points, 'smpl', 'human')
    assert int(mask.sum()) == 24
    assert (out[..., ~mask, :] == 0).all()
    back, all_there = convert_keypoints(out, 'human', 'smpl')
    assert all_there.all()
    assert torch.equal(back, points)


@pytest.mark.parametrize('src', SIZES)
@pytest.mark.parametrize('dst', SIZES)
def test_a_point_keeps_its_name(src, dst):
    source, target = load_convention(src), load_convention(dst)
    index = np.arange(len(source), dtype=np.float32)[:, None]
    out, mask = convert_keypoints(index, src, dst)
    assert isinstance(out, np.ndarray)
    for k, name in enumerate(target.names):
        assert mask[k] == (name in source.names)
        if mask[k]:
            assert source.names[int(out[k, 0])] == name


def test_near_points_only_on_request():
    coco = torch.randn(17, 3).numpy()
    names = load_convention('smpl').names
    out, mask = convert_keypoints(coco, 'coco', 'smpl')
    assert not mask[names.index('left_hip')]
    out, mask = convert_keypoints(coco, 'coco', 'smpl', approximate=True)
    assert mask[names.index('left_hip')]
    assert np.array_equal(out[names.index('left_hip')], coco[11])
    assert not mask[names.index('spine1')]
    # Where the point itself is there, no near one takes its place.
    human = load_convention('human')
    places = match_names(human, load_convention('openpose_25'), approximate=True)
    assert [human.names[p] for p in places] == list(load_convention('openpose_25').names)


def test_observed_keypoints_keep_cameras_and_confidence():
    xy = torch.randn(3, 4, 17, 2).double()
    xy[0, 0, 5] = float('nan')
    confidence = 0.1 + 0.9 * torch.rand(3, 4, 17).double()
    confidence[0, 0, 5] = 0
    seen = Keypoints2d(xy, confidence, load_convention('coco').names, ring_of_cameras(4))
    out, mask = convert_keypoints(seen, None, 'openpose_25')
    assert out.cameras is seen.cameras
    assert out.names == load_convention('openpose_25').names
    assert (out.confidence[..., ~mask] == 0).all()
    assert torch.equal(out.select(['left_knee']).xy, seen.select(['left_knee']).xy)
    assert out.xy.isfinite().all()
    points = Keypoints3d(xy[:, 0].repeat(1, 1, 2)[..., :3], confidence[:, 0], seen.names, 'm')
    moved, _ = convert_keypoints(points, 'coco', 'smpl')
    assert torch.equal(moved.select(['left_knee']).confidence, points.select(['left_knee']).confidence)
    assert moved.unit == 'm'


def own_file(folder, **changes):
    document = {
        'names': ['snout', 'left_hip', 'left_big_toe'],
        'aliases': {'snout': 'nose'},
        'approximate': [['neck', 'left_hip']],
        'limbs': [['snout', 'left_hip']],
    }
    path = folder / 'mine.json'
    path.write_text(json.dumps(document | changes))
    return path


def test_a_convention_of_ones_own(tmp_path, monkeypatch):
    path = own_file(tmp_path)
    points = np.arange(9.0).reshape(3, 3)
    by_path, mask = convert_keypoints(points, path, 'smpl_45')
    names = load_convention('smpl_45').names
    assert {names[k] for k in np.flatnonzero(mask)} == {'nose', 'left_hip', 'left_bigtoe'}
    assert np.array_equal(by_path[names.index('nose')], points[0])
    near, _ = convert_keypoints(points, str(path), 'smpl', approximate=True)
    assert np.array_equal(near[load_convention('smpl').names.index('neck')], points[1])
    with pytest.raises(KeyError, match="no keypoint convention 'mine'"):
        load_convention('mine')
    monkeypatch.setenv('SMILFIT_CONVENTIONS', str(tmp_path))
    assert load_convention('mine') == load_convention(path)
    assert np.array_equal(convert_keypoints(points, 'mine', 'smpl_45')[0], by_path)
    path.rename(tmp_path / 'coco.json')
    with pytest.raises(ValueError, match="'coco' must be in one folder"):
        available_conventions()
    monkeypatch.setenv('SMILFIT_CONVENTIONS', str(tmp_path / 'nowhere'))
    with pytest.raises(ValueError, match='must be a folder'):
        available_conventions()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(names=['left_bigtoe', 'left_big_toe'], aliases={}, limbs=[]), 'must be different points'),
        (dict(limbs=[['snout', 'tail']]), "limbs must speak of names; got 'tail'"),
        (dict(groups={'g': ['left_hipp']}), "groups.g must speak of names; .*Did you mean 'left_hip'"),
        (dict(names=3), 'must be an object with a list "names"'),
        (dict(nmaes=[]), "unknown key 'nmaes'. Did you mean 'names'"),
    ],
)
def test_broken_files_are_named(tmp_path, changes, message):
    with pytest.raises((ValueError, KeyError), match=message):
        load_convention(own_file(tmp_path, **changes))


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(KeyError, match="no keypoint convention 'cocoo'. Did you mean 'coco'"):
        load_convention('cocoo')
    with pytest.raises(FileNotFoundError, match='is not there'):
        load_convention('none.json')
    with pytest.raises(ValueError, match=r"'coco' must have as many names as keypoints; got 17 and 16"):
        convert_keypoints(np.zeros((16, 3)), 'coco', 'smpl')
    with pytest.raises(ValueError, match='an array must come with its convention'):
        convert_keypoints(np.zeros((16, 3)), None, 'smpl')
    (tmp_path / 'a.json').write_text('{')
    with pytest.raises(ValueError, match='must be JSON'):
        load_convention(tmp_path / 'a.json')


def human_like():
    """A body with a few joints of human names and a nose on its skin."""
    data = small_animal()
    names = ('pelvis', 'left_hip', 'left_knee', 'right_knee', 'left_ankle', 'neck')
    sets = {'few': {n: n for n in names} | {'nose': {3: 1.0}, 'left_bigtoe': {4: 1.0}}}
    return replace(data, joint_names=names, joint_symmetry=(), joint_groups={}, keypoint_sets=sets)


def test_an_input_keeps_what_the_model_has(tmp_path):
    data = human_like()
    xyz = torch.randn(2, 17, 3)
    given = Keypoint3dMSEInput(xyz, 'coco').resolve(data)
    assert given.keypoints.names == ('nose', 'left_knee', 'right_knee', 'left_ankle')
    assert torch.equal(given.keypoints.xyz, xyz[:, [0, 13, 14, 15]])
    assert len(given.unmatched) == 13
    assert 'left_hip_extra' in given.unmatched
    for again in (given.to(torch.float64), given[1:], given.resolve(data)):
        assert again.unmatched == given.unmatched
        assert again.keypoints.names == given.keypoints.names
    views = MultiviewKeypoint2dMSEInput(
        torch.randn(2, 4, 3, 2).double(), own_file(tmp_path), cameras=ring_of_cameras(4)
    ).resolve(data)
    assert views.keypoints.names == ('nose', 'left_hip', 'left_bigtoe')
    assert views.unmatched == ()


def test_a_models_own_set_comes_first_where_its_size_fits():
    data = replace(human_like(), keypoint_sets={'coco': {'nose': {3: 1.0}, 'left_hip': 'left_hip'}})
    assert Keypoint3dMSEInput(torch.randn(1, 2, 3), 'coco').resolve(data).keypoints.names == (
        'nose',
        'left_hip',
    )
    assert len(Keypoint3dMSEInput(torch.randn(1, 17, 3), 'coco').resolve(data).unmatched) == 13
    with pytest.raises(ValueError, match=r"'coco' must have as many names as keypoints; got 2 or 17 and 5"):
        Keypoint3dMSEInput(torch.randn(1, 5, 3), 'coco').resolve(data)
    ambiguous = replace(data, keypoint_sets={'a': {'x': 'neck'}, 'b': {'x': 'pelvis'}})
    assert Keypoint3dMSEInput(torch.randn(1, 1, 3), 'b').resolve(ambiguous).keypoints.names == ('b/x',)


def test_inputs_that_share_nothing_or_name_nothing_are_refused():
    with pytest.raises(ValueError, match=r"'coco' must share a keypoint with small"):
        Keypoint3dMSEInput(torch.randn(1, 17, 3), 'coco').resolve(replace(small_animal(), keypoint_sets={}))
    with pytest.raises(KeyError, match=r"no keypoint set 'cocco'. Did you mean 'coco'"):
        Keypoint3dMSEInput(torch.randn(1, 17, 3), 'cocco').resolve(small_animal())


def test_limbs_are_compared_in_a_convention_that_the_model_file_does_not_know():
    handler = Keypoint3dLimbLenHandler(LimbLengthLoss(convention='smpl'))
    handler.bind(SMIL(human_like()))
    seen = Keypoint3dMSEInput(torch.randn(1, 17, 3), 'coco').resolve(human_like())
    names = ('left_knee', 'right_knee', 'left_ankle')
    assert handler.need(seen) == names


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'line 1'),
        ('[]', 'must hold a JSON object'),
        ('[' * 100_000, 'nested so deeply'),
        ('{"names": "abc"}', 'a list "names"; got abc'),
        ('{"names": ["a", 1]}', r'names\[1\] must be a name'),
        ('{"names": ["a"], "names": ["b"]}', "got 'names' twice"),
        ('{"names": ["a"], "groups": ["a"]}', 'groups must be an object; got list of 1'),
        ('{"names": ["a"], "groups": {"g": "a"}}', 'groups.g must be a list; got a'),
        ('{"names": ["a"], "limbs": [["a"]]}', r'limbs\[0\] must be two names; got 1'),
        ('{"names": ["a"], "aliases": {"a": 3}}', 'aliases.a must be a name'),
    ],
)
def test_a_broken_convention_file_is_named(tmp_path, text, message):
    path = tmp_path / 'mine.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_convention(path)
    assert str(caught.value).startswith(f'{path}: ')


def test_names_that_lead_in_a_circle(tmp_path):
    for name, other in (('a', 'b'), ('b', 'a')):
        (tmp_path / f'{name}.json').write_text(json.dumps({'same_as': str(tmp_path / f'{other}.json')}))
    with pytest.raises(ValueError, match=r'a\.json: same_as must lead to names'):
        load_convention(tmp_path / 'a.json')
