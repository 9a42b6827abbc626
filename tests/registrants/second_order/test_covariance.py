"""Covariances: along the tree as from dense equations, never lost where nothing is known, and covering the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, Landmark, SparseMatrix, load_body_model_data
from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    Keypoint2dHandler,
    Keypoint3dMSEHandler,
    Keypoint3dMSEInput,
)
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.second_order.body_problem import BodyProblem, FrameBatch
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.uncertainty.covariance import fit_covariance, without
from smilfit.registrants.second_order.uncertainty.covariance_dense import (
    DenseElimination,
    positive_inverse,
)
from smilfit.registrants.second_order.uncertainty.covariance_passes import small_inverse
from smilfit.registrants.second_order.uncertainty.covariance_tree import (
    KernelPass,
    TreeElimination,
    hangs_on_bones,
)
from smilfit.registrants.second_order.uncertainty.noise import Noise, scaled, statements_of
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage_task import task_of
from smilfit.solvers import LevenbergMarquardt, warp_available
from smilfit.structures import Keypoints2d, Keypoints3d
from tests.animals import marked_animal, random_params, ring_of_cameras, small_animal, static_animal

NOISE = 0.02
POSE = ('global_orient', 'transl', 'body_pose')


def problem_of(fitted, free, transl, count=6, weight=0.6, data=None, names=None):
    """Points of all joints but the root in 3D, some of them not seen, and priors of pose and shape."""
    data = small_animal(n_joints=8) if data is None else data
    body = SMIL(data).double()
    names = data.joint_names[1:] if names is None else names
    points = body(random_params(data, count, seed=4), names).keypoints
    confidence = torch.rand(count, len(names), generator=torch.Generator().manual_seed(0)).double()
    seen = Keypoint3dMSEInput(points, names, confidence * (confidence > 0.3)).resolve(data)
    handlers = (Keypoint3dMSEHandler(KeypointMSELoss(sigma=3.0)), BodyPosePriorHandler(), BetasPriorHandler())
    for handler in handlers:
        handler.bind(body)
    handlers = {h.handler_key: h for h in handlers}
    stage = Stage(weights=dict.fromkeys(handlers, weight))
    task = task_of(body, stage, handlers, {'keypoints3d_mse': seen}, {}, True, None, None)
    point = VariableState.from_params(random_params(data, count), fitted)
    return BodyProblem(FrameBatch(task, VariableLayout.of(body, free, transl, fitted, point)), count), point


def close(a, b):
    """What nothing tells of is large, and is known to its own rounding alone."""
    largest = float(b.abs().amax()) if b.numel() else 0.0
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7 * largest)


@pytest.mark.parametrize(
    'fitted',
    [{}, {'betas': False, 'log_scale': True}, {'betas': True, 'joint_offsets': True, 'log_scale': False}],
)
@pytest.mark.parametrize(('free', 'transl'), [(list(range(8)), True), ([0, 2, 3, 6], False), ([1, 4], True)])
def test_covariances_along_the_tree_are_those_of_dense_equations(fitted, free, transl):
    problem, point = problem_of(fitted, free, transl)
    tree_is_dense(problem, point, problem.frames.task.body.joint_names)


@pytest.mark.skipif(not warp_available(), reason='warp-lang is not installed')
@pytest.mark.parametrize(
    ('model', 'free', 'transl'),
    [('quadruped', range(24), True), (None, [0, 2, 3, 6], False), (None, [1, 4], True)],
)
def test_the_kernels_factor_gives_what_torch_finds_along_the_tree(model, free, transl):
    data = None if model is None else load_body_model_data(model)
    problem, point = problem_of({}, list(free), transl, data=data)
    part, names = problem.frames.evaluate(point), problem.frames.task.body.joint_names
    seen, held = statements_of(part, {'keypoints3d_mse'})
    models, none = [*held, *(s.model for s in seen)], torch.zeros(0, 0).double()
    a, b = (TreeElimination.of(part, problem.layout, models, kernel) for kernel in (True, False))
    assert isinstance(a.passes, KernelPass)
    close(a.diagonal(none), b.diagonal(none))
    close(a.points(names, none), b.points(names, none))
    share = torch.linspace(0.2, 3.0, seen[0].model.hessian.shape[1]).double()
    centre = [*held, *(scaled(s.model, share) for s in seen)]
    for x, y in ((a.between(centre), b.between(centre)), (a.between_ridge(), b.between_ridge())):
        close(x.diagonal(none, none), y.diagonal(none, none))
        close(x.points(names, none, none), y.points(names, none, none))


SHARED = {'betas': True, 'log_scale': True, 'landmark_offsets': True, 'part_sizes': True}


@pytest.mark.parametrize(
    ('free', 'transl', 'fitted'),
    [(list(range(8)), True, {}), ([0, 2, 3, 6], False, {}), (list(range(8)), True, SHARED)],
)
def test_landmarks_on_one_bone_go_along_the_tree(free, transl, fitted):
    """Offsets in the frame of a joint's own bone, of its parent's, and a point of the skin of one bone alone."""
    data = marked_animal(n_joints=8)
    weights = data.weights.to_dense()
    weights[5] = np.eye(8)[4]
    marks = {n: data.landmarks[n] for n in ('mark_on_joint', 'mark_known', 'mark_on_parent')}
    marks['mark_on_bone'] = Landmark({5: 1.0}, 'joint_4', (0.0, 0.2, 0.1))
    data = replace(data, posedirs=None, weights=SparseMatrix.from_dense(weights), landmarks=marks)
    names = (*marks, 'tail', *data.joint_names[2:])
    problem, point = problem_of(fitted, free, transl, data=data, names=names)
    tree_is_dense(problem, point, (*data.joint_names, *marks, 'tail'))
    bent, point = problem_of({}, free, transl, data=data, names=(*names, 'nose'))
    part = bent.frames.evaluate(point)
    models = [s.model for s in statements_of(part, {'keypoints3d_mse'})[0]]
    assert not hangs_on_bones(bent.frames, models, data.joint_names)


def tree_is_dense(problem, point, names):
    block, part = problem.frames, problem.frames.evaluate(point)
    seen, held = statements_of(part, {'keypoints3d_mse'})
    models = [*held, *(s.model for s in seen)]
    assert hangs_on_bones(block, models, names)
    tree, dense = TreeElimination.of(part, block.layout, models), DenseElimination.of(block, part, models)
    close(tree.ridge, dense.ridge)
    close(tree.schur, dense.schur)
    common = positive_inverse(dense.schur)
    close(tree.diagonal(common), dense.diagonal(common))
    close(tree.points(names, common), dense.points(names, common))
    share = torch.linspace(0.2, 3.0, seen[0].model.hessian.shape[1]).double()
    centre = [*held, *(scaled(s.model, share) for s in seen)]
    a, b = tree.between(centre), dense.between(centre)
    close(a.schur, b.schur)
    shared = common @ b.schur @ common
    close(a.diagonal(common, shared), b.diagonal(common, shared))
    close(a.points(names, common, shared), b.points(names, common, shared))
    close(tree.trace(held[0], common), dense.trace(held[0], common))
    close(
        tree.between_ridge().points(names, common, shared),
        dense.between_ridge().points(names, common, shared),
    )


@pytest.mark.parametrize(
    'elimination',
    [
        'tree',
        'dense',
        pytest.param('kernel', marks=pytest.mark.skipif(not warp_available(), reason='no warp')),
    ],
)
def test_what_other_frames_know_of_the_shape_adds_the_rest_of_the_joint_inverse(elimination):
    """Under a shape of known covariance a frame has its block of the inverse of the joint matrix."""
    problem, point = problem_of({'betas': True, 'log_scale': True}, list(range(8)), True)
    block, part, layout = problem.frames, problem.frames.evaluate(point), problem.layout
    seen, held = statements_of(part, {'keypoints3d_mse'})
    models, n, q = [*held, *(s.model for s in seen)], layout.n_own, layout.n_shared
    matrices, _ = block.whole_equations(part, models)
    count = len(matrices)
    joint = torch.zeros(count * n + q, count * n + q).double()
    for i, matrix in enumerate(matrices):
        own = slice(i * n, (i + 1) * n)
        joint[own, own] = matrix[:n, :n]
        joint[own, count * n :] = matrix[:n, n:]
        joint[count * n :, own] = matrix[n:, :n]
        joint[count * n :, count * n :] += matrix[n:, n:]
    inverse = torch.linalg.inv(joint)
    known, nothing = inverse[count * n :, count * n :], torch.zeros(0, 0).double()
    names, held = block.task.body.joint_names, replace(layout, shared=())
    places = part.kinematics.jacobian(point_set(block.task.body, names), layout)
    if elimination != 'dense':
        frames = TreeElimination.of(part, held, models, elimination == 'kernel')
    else:
        frames = DenseElimination.of(replace(block, layout=held), part, models)
    follow, between = frames.follow(layout, models), frames.between(models)
    diagonal, points = between.diagonal(nothing, nothing), between.points(names, nothing, nothing)
    diagonal = diagonal + ((follow.unknowns @ known) * follow.unknowns).sum(-1)
    points = points + follow.points(names) @ known @ follow.points(names).mT
    for i in range(count):
        rows = torch.cat((torch.arange(i * n, (i + 1) * n), torch.arange(count * n, count * n + q)))
        expected = inverse[rows][:, rows]
        torch.testing.assert_close(diagonal[i], expected.diagonal()[:n], rtol=1e-5, atol=1e-12)
        torch.testing.assert_close(points[i], places[i] @ expected @ places[i].mT, rtol=1e-5, atol=1e-9)


def test_alike_noise_gives_twice_its_variance_times_the_inverse_hessian():
    problem, point = problem_of({'betas': True}, list(range(8)), True)
    block, part = problem.frames, problem.frames.evaluate(point)
    seen, held = statements_of(part, {'keypoints3d_mse'})
    models = [*held, *(s.model for s in seen)]
    dense = DenseElimination.of(block, part, models)
    common = positive_inverse(dense.schur)
    between = dense.between(models)
    shared = common @ between.schur @ common
    torch.testing.assert_close(
        between.diagonal(common, shared), dense.diagonal(common), rtol=1e-6, atol=1e-12
    )


def test_the_matrix_of_parameters_is_computed_when_asked_for():
    problem, point = problem_of({'betas': True, 'log_scale': False}, list(range(8)), True)
    result = fit_covariance(problem, point)
    matrix = result.parameters
    torch.testing.assert_close(
        matrix.diagonal(dim1=1, dim2=2).sqrt(), result.parameter_sd(), rtol=1e-6, atol=0
    )
    assert matrix.shape == (6, len(result.columns), len(result.columns))
    wider = result.expanded(torch.arange(6) + 1, 8)
    assert wider.parameters[0].isnan().all()
    assert torch.equal(wider.parameters[1:7], matrix)


def test_small_inverse_inverts():
    factor = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    matrix = factor @ factor.mT + 1e-9 * torch.eye(3).double()
    torch.testing.assert_close(small_inverse(matrix), torch.linalg.inv(matrix), rtol=1e-5, atol=1e-9)


def test_positive_inverse_survives_what_has_no_inverse():
    matrix = torch.stack((torch.zeros(3, 3), torch.ones(3, 3), torch.full((3, 3), torch.nan))).double()
    result = positive_inverse(matrix)
    assert result[2].isnan().all()
    assert not result[1].isnan().any()


def test_what_is_not_known_has_no_covariance_with_the_rest():
    result = without(torch.ones(1, 2, 2).double(), torch.tensor([[True, False]]))
    assert result.tolist() == [[[torch.inf, 0.0], [0.0, 1.0]]]


def fit32(body, seen, handlers, weights, fit, shared=False, n_iter=15):
    stage = Stage(n_iter=n_iter, fit=fit, weights=weights)
    stages = [Stage(n_iter=5, fit=('global_orient', 'transl', 'scale'), weights=weights), stage]
    return SMPLify(
        body, stages, handlers, LevenbergMarquardt(covariance=True), use_one_betas_per_video=shared
    )([seen])


def seen_from(cameras, points, names):
    xy, _, valid = cameras.project(points)
    noisy = xy + torch.randn(xy.shape, generator=torch.Generator().manual_seed(2))
    return Keypoints2d(noisy, valid.to(xy), names, cameras)


def one_turned(data, count):
    params = random_params(data, count, angle=0.25)
    return params.map(lambda x: x.float())


@pytest.mark.parametrize('n_views', [1, 4])
def test_keypoints_in_images_alone_lose_no_fit(n_views):
    data = static_animal(n_joints=8)
    body, names = SMIL(data), data.joint_names
    points = body(one_turned(data, 4), names).keypoints
    cameras = ring_of_cameras(n_views).to(torch.float32)
    seen = seen_from(cameras, points, names)
    fit = ('global_orient', 'transl', 'scale', 'body_pose')
    result = fit32(body, seen, [Keypoint2dHandler()], {'keypoints2d_mse': 1.0}, fit, shared=True)
    sd, columns = result.covariance.parameter_sd(), result.covariance.columns
    assert not sd.isnan().any()
    # No joint hangs below a leaf: nothing tells of its turn.
    leaves = set(range(8)) - set(data.parents.tolist())
    for joint in leaves:
        turns = [columns.index(f'{names[joint]}.turn_{axis}') for axis in 'xyz']
        assert sd[:, turns].isinf().all()
    if n_views == 4:
        keypoints = result.covariance.keypoint_sd()
        assert (keypoints < 1).all()


@pytest.mark.parametrize('weight', [1e-12, 1e-5])
def test_weak_priors_and_3d_keypoints_lose_no_fit(weight):
    data = static_animal(n_joints=8)
    body, names = SMIL(data), data.joint_names
    points = body(one_turned(data, 4), names).keypoints
    noisy = points + NOISE * torch.randn(points.shape, generator=torch.Generator().manual_seed(2))
    seen = Keypoints3d(noisy, torch.ones(noisy.shape[:2]), names)
    prior = BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose')
    handlers = [Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')), prior]
    weights = {'keypoints3d_mse': 1.0, 'pose': weight}
    result = fit32(body, seen, handlers, weights, (*POSE, 'scale', 'betas')).covariance
    assert not result.parameter_sd().isnan().any()
    assert result.keypoint_sd().isfinite().all()


def test_what_hangs_on_an_unknown_direction_alone_is_infinite():
    """The end of a limb is not seen: its place is not known, that of all others is."""
    data = static_animal(n_joints=8)
    body, names = SMIL(data), data.joint_names
    leaf = max(set(range(8)) - set(data.parents.tolist()))
    points = body(one_turned(data, 4), names).keypoints
    noisy = points + NOISE * torch.randn(points.shape, generator=torch.Generator().manual_seed(2))
    confidence = torch.ones(noisy.shape[:2])
    confidence[:, leaf] = 0
    seen = Keypoints3d(noisy, confidence, names)
    handlers = [Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum'))]
    result = fit32(body, seen, handlers, {'keypoints3d_mse': 1.0}, POSE).covariance
    sd = result.keypoint_sd()[:, : len(names)]
    assert sd[:, leaf].isinf().any(-1).all()
    assert sd[:, [j for j in range(8) if j != leaf]].isfinite().all()


def covered(covariance, result, clean, body):
    sd = covariance.keypoint_sd()[:, : body.n_joints]
    return ((body(result.params).joints - clean).abs() < 1.645 * sd).double()


def test_noise_of_groups_is_parted():
    """Every second joint is four times as noisy, which nobody said; both kinds of intervals hold."""
    torch.manual_seed(0)
    data = static_animal(n_joints=8)
    body, names = SMIL(data).double(), data.joint_names
    params = random_params(data, 200, angle=0.2)
    clean = body(params, names).keypoints.detach()
    noise = torch.where(torch.arange(8) % 2 == 1, 0.04, 0.01).double()
    seen = Keypoints3d(clean + noise[:, None] * torch.randn_like(clean), torch.ones(200, 8).double(), names)
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
    ]
    weights = {'keypoints3d_mse': 0.5 / 0.01**2, 'pose': 0.5 / 0.2**2}
    stage = Stage(n_iter=30, fit=POSE, weights=weights)
    result = SMPLify(body, [stage], handlers, LevenbergMarquardt(covariance=True))([seen], params)
    inside = covered(result.covariance, result, clean, body)
    for kind in (0, 1):
        assert float(inside[:, kind::2].mean()) == pytest.approx(0.9, abs=0.05)


def test_outliers_do_not_widen_intervals():
    torch.manual_seed(0)
    data = static_animal(n_joints=8)
    body, names = SMIL(data).double(), data.joint_names
    params = random_params(data, 200, angle=0.2)
    clean = body(params, names).keypoints.detach()
    points = clean + NOISE * torch.randn_like(clean)
    points = points + 2.0 * torch.randn_like(clean) * (torch.rand(200, 8, 1) < 0.1)
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(6 * NOISE, reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
    ]
    weights = {'keypoints3d_mse': 0.5 / NOISE**2, 'pose': 0.5 / 0.2**2}
    stage = Stage(n_iter=30, fit=POSE, weights=weights)
    seen = Keypoints3d(points, torch.ones(200, 8).double(), names)
    result = SMPLify(body, [stage], handlers, LevenbergMarquardt(covariance=True))([seen], params)
    assert 2 * result.covariance.noise**2 == pytest.approx(1.0, abs=0.15)
    assert float(covered(result.covariance, result, clean, body).mean()) == pytest.approx(0.9, abs=0.04)


def test_nothing_observed_is_reported():
    with pytest.raises(ValueError, match='covariance needs observations to estimate the noise from'):
        Noise.of((), ())
