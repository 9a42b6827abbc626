"""Landmarks: an anchor, moved by an offset in the frame of a bone."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL, Landmark, load_body_model_data, save_body_model
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.structures import BodyOutput
from tests.animals import MARKS, marked_animal, random_params, small_animal, static_animal

NAMES = tuple(MARKS)


def marked(**kwargs):
    data = marked_animal()
    return SMIL(data, **kwargs).double(), random_params(data, 4)


@pytest.mark.parametrize('scaled', [False, True])
def test_a_landmark_is_its_anchor_plus_an_offset_turned_with_the_bone(scaled):
    body, params = marked(scale_directions=float(scaled))
    offsets = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    params = params.replace(landmark_offsets=offsets)
    result: BodyOutput = body(params, ('joints', 'vertices', *NAMES))
    rotations = params.rotations()
    names, parents = body.joint_names, body.data.parents
    for k, (name, mark) in enumerate(MARKS.items()):
        place = mark.anchor
        if isinstance(place, str):
            anchor = result.joints[:, names.index(place)]
        else:
            anchor = sum(w * result.vertices[:, v] for v, w in place.items())
        turned, joint = torch.eye(3).double(), names.index(mark.bone)
        while joint >= 0:
            turned, joint = rotations[:, joint] @ turned, parents[joint]
        offset = torch.tensor(mark.offset).double().expand(4, 3)
        if name in body.data.unknown_landmarks:
            offset = offset + offsets[:, body.data.unknown_landmarks.index(name)]
        expected = anchor + params.scale[:, None] * (turned @ offset.unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(result.keypoints[:, k], expected)


def test_a_landmark_without_an_offset_is_its_anchor():
    body, params = marked()
    plain = {'a': Landmark('joint_4', 'joint_0'), 'b': Landmark({3: 0.25, 7: 0.75}, 'joint_1', sd=1.0)}
    result = body.with_landmarks(plain)(params, ('b', 'a', 'joint_4', 'nose')).keypoints
    assert torch.equal(result[:, :2], result[:, [3, 2]])


def test_landmarks_turn_move_and_grow_with_the_body():
    body, params = marked()
    result = body(params, NAMES).keypoints
    rotation = axis_angle_to_rotmat(torch.tensor([[0.4, -1.0, 0.7]]).double())
    root = body.rest_joints(params.betas)[:, :1]
    rotations = params.rotations()
    other = params.replace(
        global_orient=rotation @ rotations[:, 0],
        body_pose=rotations[:, 1:],
        scale=2 * params.scale,
        transl=params.transl + 1,
    )
    # The body turns about its root's place at rest.
    pivot = params.scale[:, None, None] * root
    moved = (
        2 * ((result - params.transl.unsqueeze(1) - pivot) @ rotation.mT + pivot)
        + params.transl.unsqueeze(1)
        + 1
    )
    torch.testing.assert_close(body(other, NAMES).keypoints, moved)


def test_offsets_that_were_found_become_known():
    body, params = marked()
    unknown = body.data.unknown_landmarks
    offsets = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    result = {
        name: replace(MARKS[name], offset=tuple((torch.tensor(MARKS[name].offset) + row).tolist()), sd=0.0)
        for name, row in zip(unknown, offsets[0])
    }
    known = body.with_landmarks(result)
    assert known.sizes['K'] == 0
    assert known.v_template is body.v_template
    with_offsets = params.replace(landmark_offsets=offsets.expand(4, -1, -1))
    torch.testing.assert_close(known(params, NAMES).keypoints, body(with_offsets, NAMES).keypoints)
    # The one does not follow the other when it is cast.
    assert known.float().v_template.dtype == torch.float32
    assert body.v_template.dtype == torch.float64


def test_a_body_without_landmarks_keeps_its_hash(tmp_path):
    data = static_animal()
    again = load_body_model_data(save_body_model(data, tmp_path / 'a.smil.json'))
    assert again.content_hash() == data.content_hash()
    assert marked_animal().content_hash() != small_animal().content_hash()


@pytest.mark.parametrize(
    ('mark', 'message'),
    [
        (
            {'joint_1': Landmark('joint_2', 'joint_1')},
            'landmarks.joint_1 must have a name that no other joint has',
        ),
        (
            {'a': Landmark('joint_9', 'joint_1')},
            "landmarks.a.anchor names a joint 'joint_9' that is not there",
        ),
        ({'a': Landmark('joint_1', 'joint_x')}, "landmarks.a.bone names a joint 'joint_x' that is not there"),
        ({'a': Landmark({99: 1.0}, 'joint_1')}, r'landmarks.a.anchor must name vertices 0 to 39'),
        ({'a': Landmark({3: 0.5}, 'joint_1')}, r'landmarks.a.anchor must have weights that sum to 1'),
        (
            {'a': Landmark('joint_1', 'joint_1', (0.0, 0.0, float('nan')))},
            'landmarks.a.offset must be finite',
        ),
        (
            {'a': Landmark('joint_1', 'joint_1', sd=-1.0)},
            'landmarks.a.sd must be a length, 0 or more; got -1.0',
        ),
    ],
)
def test_a_wrong_landmark_is_refused(mark, message):
    with pytest.raises(ValueError, match=message):
        SMIL(small_animal()).with_landmarks(mark)
