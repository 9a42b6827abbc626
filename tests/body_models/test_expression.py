"""Expression, pose spaces and keypoint groups: in the forward pass, in files and in the hash."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch
from smplx.lbs import lbs

from smilfit.body_models import (
    SMIL,
    BodyModelData,
    PoseSpace,
    SparseMatrix,
    check_body_model,
    load_body_model_data,
    save_body_model,
)
from smilfit.body_models.files.smil_json import SCHEMA
from smilfit.structures import BodyParams
from tests.animals import random_params, small_animal, static_animal


def expressive(make=small_animal, **kwargs):
    data = make(**kwargs)
    rng = np.random.default_rng(5)
    space = PoseSpace(data.joint_names[1:3], rng.normal(size=6), rng.normal(size=(4, 6)))
    return replace(
        data,
        expressiondirs=0.2 * rng.normal(size=(data.n_vertices, 3, 2)),
        pose_spaces={'paw': space},
        keypoint_groups={'face': ('nose',)},
    )


def with_expression(params, size=0.7):
    return params.replace(expression=size * torch.randn(params.batch_size, 2).double())


@pytest.mark.parametrize('make', [small_animal, static_animal])
def test_expression_is_further_shape(make):
    """A model whose expression is appended to its shape gives the same body."""
    data = expressive(make)
    params = with_expression(random_params(data, 3))
    longer = replace(
        data,
        shapedirs=np.concatenate([data.shapedirs, data.expressiondirs], -1),
        expressiondirs=None,
        shape_mean=None,
        shape_cov=None,
        scaledirs=None,
        transdirs=None,
    )
    need = ('joints', 'vertices', 'nose', 'tail')
    got = SMIL(data).double()(params, need)
    want = SMIL(longer).double()(
        params.replace(betas=torch.cat([params.betas, params.expression], 1), expression=None), need
    )
    for name in ('joints', 'vertices', 'keypoints'):
        assert torch.allclose(getattr(got, name), getattr(want, name), atol=1e-12), name
    few = SMIL(data).double()(params, ('nose', 'tail'))
    assert torch.allclose(few.keypoints, got.keypoints, atol=1e-12)
    moved = (got.joints - SMIL(data).double()(params.replace(expression=None), need).joints).abs().max()
    assert (moved == 0) == data.static_joints


def test_expression_matches_smplx():
    data = expressive()
    params = with_expression(random_params(data, 4)).replace(scale=torch.ones(4).double())
    pose = torch.cat([params.global_orient[:, None], params.body_pose], 1).flatten(1)
    vertices, joints = lbs(
        torch.cat([params.betas, params.expression], 1),
        pose,
        torch.tensor(data.v_template),
        torch.tensor(np.concatenate([data.shapedirs, data.expressiondirs], -1)),
        torch.tensor(data.posedirs),
        torch.tensor(data.joint_regressor.to_dense()),
        torch.tensor(data.parents),
        torch.tensor(data.weights.to_dense()),
    )
    out = SMIL(data).double()(params, ('joints', 'vertices'))
    assert (out.vertices - (vertices + params.transl[:, None])).abs().max() < 1e-6
    assert (out.joints - (joints + params.transl[:, None])).abs().max() < 1e-6


def test_a_kept_rest_shape_takes_every_frames_expression():
    data = expressive()
    body = SMIL(data).double()
    params = with_expression(random_params(data, 4))
    params = params.replace(betas=params.betas[:1].expand(4, -1))
    rest = body.rest_shape(params.betas)
    need = ('joints', 'vertices', 'nose')
    for frame in (params, with_expression(params), params.replace(expression=None)):
        a, b = body(frame, need), body(frame, need, rest)
        assert torch.equal(a.joints, b.joints)
        assert torch.equal(a.vertices, b.vertices)
        assert torch.equal(a.keypoints, b.keypoints)


def test_gradient_of_expression_against_finite_differences():
    data = expressive(n_vertices=12)
    body = SMIL(data).double()
    params = random_params(data, 2)

    def points(expression):
        out = body(params.replace(expression=expression), ('joints', 'vertices', 'nose'))
        return torch.cat([out.joints, out.vertices, out.keypoints], 1)

    value = torch.randn(2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(points, (value,), atol=1e-6)


def test_zero_params_hold_expression_and_travel():
    zero = SMIL(expressive()).zero_params(3)
    assert torch.equal(zero.expression, torch.zeros(3, 2))
    assert 'expression' not in SMIL(small_animal()).zero_params(3).as_dict()
    assert BodyParams.cat([zero[0], zero[1:]]).expression.shape == (3, 2)


def test_a_model_without_expression_refuses_one():
    params = with_expression(random_params(small_animal(), 1))
    with pytest.raises(ValueError, match=r'small: expression must be \(1, 0\); got \(1, 2\)'):
        SMIL(small_animal()).double()(params)
    with pytest.raises(ValueError, match=r'expression must be \(1, 2\); got \(1, 1\)'):
        SMIL(expressive()).double()(params.replace(expression=params.expression[:, :1]))


def test_json_round_trip_is_exact(tmp_path):
    data = expressive()
    path = save_body_model(data, tmp_path / 'a.smil.json')
    back = load_body_model_data(path)
    assert np.array_equal(back.expressiondirs, data.expressiondirs)
    assert back.keypoint_groups == data.keypoint_groups
    assert back.pose_spaces['paw'].joints == data.pose_spaces['paw'].joints
    assert np.array_equal(back.pose_spaces['paw'].mean, data.pose_spaces['paw'].mean)
    assert np.array_equal(back.pose_spaces['paw'].components, data.pose_spaces['paw'].components)
    assert back.content_hash() == data.content_hash()
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))


def test_the_hash_knows_them_and_forgets_what_is_not_there():
    data = expressive()
    space = data.pose_spaces['paw']
    others = [
        small_animal(),
        replace(data, expressiondirs=data.expressiondirs + 0.01),
        replace(data, keypoint_groups={'face': ('nose', 'tail')}),
        replace(data, pose_spaces={'paw': replace(space, mean=space.mean + 0.01)}),
        replace(data, pose_spaces={'paw': replace(space, joints=data.joint_names[2:4])}),
    ]
    assert len({d.content_hash() for d in (data, *others)}) == 6
    # Dataset files and checkpoints carry the hashes of models that have none of these.
    plain = BodyModelData(
        name='plain',
        v_template=np.eye(3),
        faces=np.array([[0, 1, 2]]),
        joint_names=('a',),
        parents=np.array([-1]),
        weights=SparseMatrix.from_dense(np.ones((3, 1))),
        joints=np.zeros((1, 3)),
    )
    assert plain.content_hash() == '5186e108fe422203'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(expressiondirs=np.zeros((3, 3, 2))), 'expressiondirs must have shape'),
        (
            dict(keypoint_groups={'face': ('noze',)}),
            "keypoint_groups.face names a keypoint 'noze'.*Did you mean 'nose'",
        ),
        (
            dict(pose_spaces={'p': PoseSpace(('joint_1',), np.zeros(4), np.zeros((2, 3)))}),
            r'pose_spaces.p.mean must',
        ),
        (
            dict(pose_spaces={'p': PoseSpace(('joint_9',), np.zeros(3), np.zeros((2, 3)))}),
            r"names a joint 'joint_9'",
        ),
        (
            dict(pose_spaces={'p': PoseSpace(('joint_1',), np.zeros(3), np.full((2, 3), np.nan))}),
            r'pose_spaces.p.components must be finite',
        ),
    ],
)
def test_broken_models_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        check_body_model(replace(small_animal(), **change), 'here')
