"""Sizes of parts: bones and skin grow together, left as right, and nothing else does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, PartSize, check_body_model, default_part_sizes, load_body_model_data
from smilfit.handlers import Keypoint3dMSEHandler
from smilfit.losses import PartSizePriorLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Keypoints3d
from smilfit.synthetic import make_insect, make_quadruped
from tests.animals import marked_animal, static_animal


def sized(data, sizes):
    body = SMIL(data).double()
    params = body.zero_params(1).replace(part_sizes=torch.tensor([sizes]).double())
    return body, body(params, ('joints', 'vertices'))


def bones(data, joints):
    return np.linalg.norm(joints[1:] - joints[data.parents[1:]], axis=1)


@pytest.mark.parametrize('static', [False, True])
def test_bones_of_a_part_grow_by_its_size_and_no_others_do(static):
    data = make_quadruped()
    if static:
        data = replace(data, joint_regressor=None)
    parts = default_part_sizes(data)
    assert list(parts) == ['shoulder', 'hip', 'neck', 'tail_1']
    sizes = [0.2, -0.1, 0.05, 0.3]
    _, result = sized(data, sizes)
    ratio = bones(data, result.joints[0].numpy()) / bones(data, data.joints)
    of_joint = {joint: size for part, size in zip(parts.values(), sizes) for joint in part.joints}
    starts = [data.joint_names[p] for p in data.parents[1:]]
    np.testing.assert_allclose(ratio, [1 + of_joint.get(start, 0.0) for start in starts], rtol=1e-6)


@pytest.mark.parametrize('make', [make_quadruped, make_insect])
def test_the_mesh_stays_symmetric_and_is_the_models_at_size_0(make):
    data = make()
    body, result = sized(data, list(np.linspace(-0.3, 0.3, len(default_part_sizes(data)))))
    mirrored = result.vertices[0] * torch.tensor([1.0, -1.0, 1.0]).double()
    assert float(torch.cdist(mirrored, result.vertices[0]).amin(1).max()) < 1e-6
    nothing = body.zero_params(1).with_rest(('part_sizes',), body.sizes)
    rest, plain = (body(p, ('joints', 'vertices')) for p in (nothing, body.zero_params(1)))
    assert torch.equal(rest.vertices, plain.vertices)
    assert torch.equal(rest.joints, plain.joints)


def test_skin_of_a_limb_is_scaled_about_where_it_begins():
    data = make_quadruped()
    _, result = sized(data, [0.25, 0.0, 0.0, 0.0])
    limb = [data.joint_names.index(n) for n in ('shoulder_L', 'elbow_L', 'wrist_L')]
    own = data.weights.to_dense()[:, limb].sum(1) > 1 - 1e-9
    assert own.sum() > 30
    arms = result.vertices[0].numpy()[own] - result.joints[0, limb[0]].numpy()
    np.testing.assert_allclose(arms, 1.25 * (data.v_template[own] - data.joints[limb[0]]), atol=1e-7)


def test_parts_found_by_the_tree_have_both_sides_and_share_no_joint():
    insect = default_part_sizes(make_insect())
    assert list(insect) == ['coxa_1', 'coxa_2', 'coxa_3', 'scape', 'head', 'abdomen_1']
    joints = [joint for part in insect.values() for joint in part.joints]
    assert len(joints) == len(set(joints))
    assert 'thorax' not in joints
    data = make_quadruped()
    by_name = replace(data, joint_symmetry=())
    assert default_part_sizes(by_name) == default_part_sizes(data)
    assert SMIL(marked_animal()).sizes['G'] == 2


@pytest.mark.real
def test_parts_of_a_real_mouse(real_data):
    data = load_body_model_data(real_data / 'models' / 'SMILy_Mouse_static_joints.pkl')
    assert list(default_part_sizes(data)) == ['Ear', 'humerus', 'femur', 'cervical-vertebrae', 'Tail_00']


def test_a_fit_says_which_parts_it_found_by_itself(caplog):
    body = SMIL(make_quadruped())
    points = Keypoints3d(body(body.zero_params(1)).joints, torch.ones(1, 23), body.joint_names)
    handler = Keypoint3dMSEHandler()
    stage = Stage(fit=('transl', 'part_sizes'), weights={handler.handler_key: 1.0})
    with caplog.at_level('INFO', logger='smilfit'):
        SMPLify(
            body, [stage], [handler], LevenbergMarquardt('torch'), use_one_betas_per_video=True, verbose=True
        )([points])
    assert (
        'by the tree and sides of quadruped, which names none: shoulder (shoulder_L, elbow_L, wrist_L and 3 more)'
        in caplog.text
    )


def test_a_size_beyond_its_limit_meets_a_wall():
    loss = PartSizePriorLoss(reduction='sum')
    loss.bind_body(marked_animal())
    inside, beyond = (float(loss(torch.tensor([[x, 0.0]]).double())) for x in (-0.3, -0.32))
    assert inside == pytest.approx(3.0**2)
    assert beyond == pytest.approx(3.2**2 + 2.0**2)
    with pytest.raises(ValueError, match='wall must be positive; got 0.0'):
        PartSizePriorLoss(0.0)
    with pytest.raises(ValueError, match=r'PartSizePriorLoss: call bind_body\(data\)'):
        PartSizePriorLoss()(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ({'a': PartSize(('joint_9',))}, "part_sizes.a.joints names a joint 'joint_9' that is not there"),
        ({'a': PartSize(())}, 'part_sizes.a must name a joint; got none'),
        (
            {'a': PartSize(('joint_1',)), 'b': PartSize(('joint_1',))},
            'part_sizes.b must not name a joint of another part; got joint_1, of a',
        ),
        (
            {'a': PartSize(('joint_1',), sd=0.0)},
            'part_sizes.a must have a positive sd and a limit between 0 and 1',
        ),
    ],
)
def test_wrong_parts_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        check_body_model(replace(static_animal(), part_sizes=parts), 'file')
