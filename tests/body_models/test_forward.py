"""The body's forward pass against a float64 reference written as the formulas read, and its symmetries."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from smplx.lbs import lbs

from smilfit.body_models import SMIL, load_body_model
from smilfit.geometry.posing import SkinTable, blend, blend_reference
from smilfit.structures import BodyParams
from tests.animals import random_params, small_animal, static_animal


def reference(data, params, scales=None, offsets=None, mode='local'):
    """One body, joint by joint, in numpy."""
    betas = params.betas[0].numpy()
    shaped = data.v_template + data.shapedirs @ betas
    rest = data.joints if data.joint_regressor is None else data.joint_regressor.to_dense() @ shaped
    pose = np.concatenate([params.global_orient[0].numpy()[None], params.body_pose[0].numpy()])
    R = Rotation.from_rotvec(pose).as_matrix()
    if data.posedirs is not None:
        shaped = shaped + ((R[1:] - np.eye(3)).ravel() @ data.posedirs).reshape(-1, 3)
    J = data.n_joints
    s = np.ones((J, 3)) if scales is None else scales
    o = np.zeros((J, 3)) if offsets is None else offsets
    rotation, linear, place = [None] * J, [None] * J, [None] * J
    for j, p in enumerate(data.parents):
        if mode == 'inherited':
            rotation[j] = R[j] @ np.diag(s[j]) if p < 0 else rotation[p] @ R[j] @ np.diag(s[j])
            linear[j] = rotation[j]
        else:
            rotation[j] = R[j] if p < 0 else rotation[p] @ R[j]
            linear[j] = rotation[j] @ np.diag(s[j])
        place[j] = rest[j] + o[j] if p < 0 else place[p] + linear[p] @ (rest[j] - rest[p] + o[j])
    vertices = np.zeros_like(shaped)
    W = data.weights.to_dense()
    # Files hold float32 weights whose sums are off by 1e-7.
    W /= W.sum(1, keepdims=True)
    for j in range(J):
        vertices += W[:, j : j + 1] * ((shaped - rest[j]) @ linear[j].T + place[j])
    scale, transl = params.scale[0].item(), params.transl[0].numpy()
    return scale * np.stack(place) + transl, scale * vertices + transl


@pytest.mark.parametrize('make', [small_animal, static_animal])
@pytest.mark.parametrize('mode', ['local', 'inherited'])
@pytest.mark.parametrize('extras', [False, True])
def test_matches_the_formulas(make, mode, extras):
    data = make(n_joints=10)
    body = SMIL(data, joint_scale_mode=mode).double()
    params = random_params(data, 1)
    log_scales = offsets = None
    if extras:
        log_scales, offsets = 0.2 * torch.randn(1, 10, 3).double(), 0.2 * torch.randn(1, 10, 3).double()
        params = params.replace(log_joint_scales=log_scales, joint_offsets=offsets)
    out = body(params, need=('joints', 'vertices'))
    joints, vertices = reference(
        data,
        params,
        None if log_scales is None else log_scales[0].exp().numpy(),
        None if offsets is None else offsets[0].numpy(),
        mode,
    )
    assert np.abs(out.joints[0].numpy() - joints).max() < 1e-10
    assert np.abs(out.vertices[0].numpy() - vertices).max() < 1e-10


@pytest.mark.real
@pytest.mark.parametrize('file', ['SMILy_STICK.pkl', 'SMILy_Mouse_static_joints.pkl'])
def test_real_models_match_the_formulas_in_float32(real_data, file):
    body = load_body_model(real_data / 'models' / file)
    params = random_params(body.data, 1)
    out = body(params.to(torch.float32), need=('joints', 'vertices'))
    joints, vertices = reference(body.data, params)
    assert np.abs(out.joints[0].numpy() - joints).max() < 3e-6
    assert np.abs(out.vertices[0].numpy() - vertices).max() < 3e-6
    exact = load_body_model(real_data / 'models' / file).double()(params, need=('vertices',)).vertices
    assert np.abs(exact[0].numpy() - vertices).max() < 1e-9


def test_matches_smplx():
    data = small_animal(n_joints=10)
    body = SMIL(data).double()
    params = random_params(data, 5).replace(scale=torch.ones(5).double())
    out = body(params, need=('joints', 'vertices'))
    pose = torch.cat([params.global_orient[:, None], params.body_pose], 1).flatten(1)
    vertices, joints = lbs(
        params.betas,
        pose,
        torch.tensor(data.v_template),
        torch.tensor(data.shapedirs),
        torch.tensor(data.posedirs),
        torch.tensor(data.joint_regressor.to_dense()),
        torch.tensor(data.parents),
        torch.tensor(data.weights.to_dense()),
    )
    # smplx adds 1e-8 to every angle, so equality stops there.
    assert (out.vertices - (vertices + params.transl[:, None])).abs().max() < 1e-6
    assert (out.joints - (joints + params.transl[:, None])).abs().max() < 1e-6


def test_only_what_is_needed_is_there_and_it_is_the_same():
    data = small_animal()
    body = SMIL(data).double()
    params = random_params(data, 3)
    full = body(params, need=('joints', 'vertices', 'nose', 'hip', 'tail'))
    few = body(params, need=('tail', 'nose', 'joint_4'))
    assert few.joints is None
    assert few.vertices is None
    assert few.keypoint_names == ('tail', 'nose', 'joint_4')
    nose = 0.25 * full.vertices[:, 3] + 0.75 * full.vertices[:, 7]
    assert torch.allclose(few.select(['nose'])[:, 0], nose, atol=1e-12)
    assert torch.allclose(few.select(['tail'])[:, 0], full.vertices[:, 5], atol=1e-12)
    assert torch.allclose(few.select(['joint_4'])[:, 0], full.joints[:, 4], atol=1e-12)
    mixed = full.select(['joint_2', 'nose', 'hip'])
    assert torch.allclose(mixed, torch.stack([full.joints[:, 2], nose, full.joints[:, 1]], 1), atol=1e-12)


@pytest.mark.parametrize('make', [small_animal, static_animal])
def test_moves_as_a_whole(make):
    """Turning the root, moving and scaling move joints and vertices alike, static joints too."""
    data = make()
    body = SMIL(data).double()
    params = random_params(data, 2)
    need = ('joints', 'vertices', 'nose')
    before = body(params, need)
    shift = torch.tensor([[1.0, -2.0, 3.0]]).double()
    moved = body(params.replace(transl=params.transl + shift), need)
    grown = body(params.replace(scale=2 * params.scale), need)
    for name in ('joints', 'vertices', 'keypoints'):
        x = getattr(before, name)
        assert torch.allclose(getattr(moved, name), x + shift[:, None], atol=1e-12)
        centred = x - params.transl[:, None]
        assert torch.allclose(getattr(grown, name), 2 * centred + params.transl[:, None], atol=1e-12)


def test_a_uniform_local_scale_scales_the_mesh():
    data = small_animal()
    body = SMIL(data, joint_scale_mode='local').double()
    params = random_params(data, 2).replace(scale=torch.ones(2).double())
    grown = params.replace(log_joint_scales=torch.full((2, data.n_joints, 3), np.log(1.5)).double())
    a, b = body(params, ('joints', 'vertices')), body(grown, ('joints', 'vertices'))
    root = a.joints[:, :1]
    assert torch.allclose(b.joints, root + 1.5 * (a.joints - root), atol=1e-12)
    assert torch.allclose(b.vertices, root + 1.5 * (a.vertices - root), atol=1e-12)


def test_a_local_scale_leaves_the_child_and_an_inherited_one_does_not():
    data = static_animal()
    params = BodyParams.zeros(1, data.n_joints, data.n_betas, like=torch.zeros(1).double())
    scales = torch.zeros(1, data.n_joints, 3).double()
    scales[0, 1] = np.log(2.0)
    params = params.replace(log_joint_scales=scales)
    grandchild = {
        mode: SMIL(data, joint_scale_mode=mode).double()(params).joints[0, [3, 4]].numpy()
        for mode in ('local', 'inherited')
    }
    bone = data.joints[4] - data.joints[3]
    local, inherited = (np.diff(grandchild[m], axis=0)[0] for m in ('local', 'inherited'))
    assert np.allclose(local, bone)
    assert np.allclose(inherited, 2 * bone)


def test_static_joints_ignore_betas():
    data = static_animal()
    body = SMIL(data).double()
    params = random_params(data, 2)
    joints = body(params).joints
    assert torch.equal(joints, body(params.replace(betas=params.betas + 1)).joints)
    vertices = [body(params.replace(betas=params.betas + d), ('vertices',)).vertices for d in (0, 1)]
    assert (vertices[0] - vertices[1]).abs().max() > 0.1


def test_matrices_are_used_as_they_are():
    data = small_animal()
    body = SMIL(data).double()
    params = random_params(data, 2)
    R = params.rotations()
    matrices = params.replace(global_orient=R[:, 0], body_pose=R[:, 1:])
    assert torch.allclose(body(params).joints, body(matrices).joints, atol=1e-12)
    assert matrices.rotations() is not R
    assert torch.equal(matrices.rotations(), R)
    assert torch.allclose(matrices.as_axis_angle().body_pose, params.body_pose, atol=1e-9)


def test_rest_shape_is_the_same_shape():
    data = small_animal()
    body = SMIL(data).double()
    params = random_params(data, 4)
    rest = body.rest_shape(params.betas)
    a, b = body(params, ('joints', 'vertices')), body(params, ('joints', 'vertices'), rest)
    assert torch.equal(a.joints, b.joints)
    assert torch.equal(a.vertices, b.vertices)


def test_shape_directions_of_joints_on_request():
    data = small_animal()
    params = random_params(data, 1)
    driven = SMIL(data, scale_directions=1.0, offset_directions=0.5).double()(params).joints
    by_hand = params.replace(
        log_joint_scales=(1 + torch.einsum('bs,sjc->bjc', params.betas, torch.tensor(data.scaledirs))).log(),
        joint_offsets=0.5 * torch.einsum('bs,sjc->bjc', params.betas, torch.tensor(data.transdirs)),
    )
    assert torch.allclose(driven, SMIL(data).double()(by_hand).joints, atol=1e-12)


@pytest.mark.parametrize('extras', [False, True])
def test_gradients_against_finite_differences(extras):
    data = small_animal(n_vertices=12)
    body = SMIL(data).double()
    params = random_params(data, 2)
    if extras:
        params = params.replace(
            log_joint_scales=0.1 * torch.randn(2, data.n_joints, 3).double(),
            joint_offsets=0.1 * torch.randn(2, data.n_joints, 3).double(),
        )
    names, values = zip(*params.as_dict().items())
    values = [v.clone().requires_grad_() for v in values]

    def points(*tensors):
        out = body(BodyParams(**dict(zip(names, tensors))), ('joints', 'vertices', 'nose'))
        return torch.cat([out.joints, out.vertices, out.keypoints], 1)

    assert torch.autograd.gradcheck(points, values, atol=1e-6)


def test_gradient_at_the_rest_pose_is_finite_and_right():
    data = small_animal()
    body = SMIL(data).double()
    params = body.zero_params(1)
    pose = params.body_pose.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: body(params.replace(body_pose=p)).joints, (pose,), atol=1e-6)


@pytest.mark.parametrize('batch', [1, 3, 70])
def test_blend_equals_its_readable_twin(batch):
    weights = torch.rand(9, 4).double() * (torch.rand(9, 4) > 0.5)
    maps = torch.randn(batch, 4, 3, 4).double().requires_grad_()
    for rows in {1, batch}:
        vertices = torch.randn(rows, 9, 3).double().requires_grad_()
        fast = blend(SkinTable.from_dense(weights), maps, vertices)
        slow = blend_reference(weights, maps, vertices)
        assert torch.allclose(fast, slow, atol=1e-12)
        probe = torch.randn_like(fast)
        got = torch.autograd.grad((fast * probe).sum(), (maps, vertices))
        want = torch.autograd.grad((slow * probe).sum(), (maps, vertices))
        assert all(torch.allclose(g, w, atol=1e-10) for g, w in zip(got, want))


def test_parameters_of_another_model_are_refused():
    body = SMIL(small_animal())
    other = BodyParams.zeros(1, 8, 3)
    with pytest.raises(
        ValueError, match=r'small: body_pose must be \(1, 5, 3\) or \(1, 5, 3, 3\); got \(1, 7, 3\)'
    ):
        body(other)
    with pytest.raises(ValueError, match=r'betas must be \(1, 3\); got \(1, 4\). Is it of another'):
        body(BodyParams.zeros(1, 6, 4))
    with pytest.raises(KeyError, match=r"no keypoint 'noze'.*Did you mean 'nose'"):
        body(BodyParams.zeros(1, 6, 3), need=('noze',))


def test_state_dict_carries_no_model_file():
    assert not SMIL(small_animal()).state_dict()


def test_model_without_shape_space():
    data = replace(
        small_animal(), shapedirs=None, shape_mean=None, shape_cov=None, scaledirs=None, transdirs=None
    )
    out = SMIL(data)(BodyParams.zeros(2, data.n_joints, 0), ('joints', 'vertices'))
    assert out.vertices.shape == (2, data.n_vertices, 3)
    assert np.allclose(out.joints[0], data.joints, atol=1e-5)
