"""Scans and meshes: the body is drawn to them, by L-BFGS and in second order."""

from dataclasses import replace

import pytest
import torch

from smilfit.handlers import MeshInput, PointCloudHandler, PointCloudInput, sample_surface
from smilfit.losses import PointDistanceLoss
from smilfit.registry import build_handler, build_input, build_registrant
from tests.handlers.worm import active, check_point_term, near, point_model, state_of, worm, worm_truth

POSE = dict(fit_global_orient=True, fit_transl=True, fit_body_pose=True, fit_betas=False)


def fit(body, handlers, stages, inputs, start):
    config = dict(
        type='SMPLify',
        body_model=body,
        handlers=handlers,
        stages=[POSE | stage for stage in stages],
        initializer=None,
        optimizer=dict(type='LBFGS', max_iter=10, line_search_fn='strong_wolfe'),
    )
    return build_registrant(config)(inputs, start)


def off(body, result, truth):
    return (result.vertices() - body(truth, ('vertices',)).vertices).norm(dim=-1)


def scan_of(body, truth, n=600, seed=0):
    return sample_surface(body(truth, ('vertices',)).vertices, body.faces, n, seed)


def test_a_scan_is_found_from_a_config_whatever_its_order():
    body, truth = worm(), worm_truth()
    points, _ = scan_of(body, truth, 300)
    clutter = points.clone()
    clutter[:, :30] += 1.5
    handlers = [
        dict(
            type='PointCloudHandler',
            loss=dict(type='PointDistanceLoss', sigma=0.1, loss_weight=10.0),
            template_weight=0.2,
        ),
        dict(type='BodyPosePriorHandler'),
    ]
    stages = [dict(n_iter=8, ftol=1e-7, point_cloud_weight=10.0, body_pose_prior_weight=1e-4)]
    # As many points as each frame happens to have.
    seen = build_input(dict(type='PointCloudInput', points=[clutter[0], clutter[1, 50:]]))
    start = near(truth)
    result = fit(body, handlers, stages, [seen], start)
    before = (body(start, ('vertices',)).vertices - body(truth, ('vertices',)).vertices).norm(dim=-1)
    assert before.mean() > 0.15
    assert off(body, result, truth).mean() < 0.03


def test_a_mesh_of_the_same_topology_is_found_vertex_by_vertex():
    body, truth = worm(), worm_truth()
    seen = MeshInput(body(truth, ('vertices',)).vertices, body.faces)
    stages = [dict(n_iter=15, ftol=1e-12, mesh_weight=1.0)]
    result = fit(body, [dict(type='MeshVertexHandler')], stages, [seen], near(truth, 0.2))
    assert off(body, result, truth).max() < 1e-3


def test_a_mesh_of_another_topology_is_found_as_a_surface():
    body, truth = worm(), worm_truth()
    vertices, faces = body(truth, ('vertices',)).vertices, body.faces
    # Every triangle split at its middle, and the vertices shuffled.
    finer = torch.cat((vertices, vertices[:, faces].mean(2)), 1)
    centre = torch.arange(len(faces)) + vertices.shape[1]
    split = torch.cat([torch.stack((faces[:, k], faces[:, (k + 1) % 3], centre), 1) for k in range(3)])
    order = torch.randperm(finer.shape[1])
    seen = build_handler(dict(type='MeshInput', vertices=finer[:, order], faces=order.argsort()[split]))
    handlers = [dict(type='MeshSurfaceHandler', n_points=250, max_normal_angle_deg=75.0)]
    result = fit(body, handlers, [dict(n_iter=6, ftol=1e-9, mesh_weight=1.0)], [seen], near(truth))
    assert off(body, result, truth).mean() < 0.03
    with pytest.raises(ValueError, match='must have the faces of the body model'):
        fit(body, [dict(type='MeshVertexHandler')], [dict(mesh_weight=1.0)], [seen], truth)


@pytest.mark.parametrize('metric', ['point', 'plane'])
@pytest.mark.parametrize(
    'loss',
    [
        PointDistanceLoss(loss_weight=2.0),
        PointDistanceLoss(sigma=0.05, trim=0.2, max_distance=0.3, reduction='sum'),
    ],
)
def test_second_order_says_the_loss_and_its_gradient(metric, loss):
    body, truth = worm(), worm_truth()
    points, normals = scan_of(body, truth, 200)
    points[0, :5] += 2.0
    mask = torch.rand(2, 200) < 0.9
    seen = PointCloudInput(points, mask, normals)
    handler = PointCloudHandler(loss, template_weight=0.7, metric=metric, max_normal_angle_deg=100.0)
    handler.bind(body)
    state = state_of(body, near(truth))
    check_point_term(handler, state, seen)
    check_point_term(handler, state, seen, 0.3, 'sum')


def test_mesh_vertices_in_second_order():
    body, truth = worm(), worm_truth()
    handler = build_handler(dict(type='MeshVertexHandler', loss=dict(type='KeypointMSELoss', sigma=0.2)))
    handler.bind(body)
    seen = MeshInput(
        body(truth, ('vertices',)).vertices, body.faces, torch.rand(2, body.data.n_vertices).double()
    )
    check_point_term(handler, state_of(body, near(truth)), seen)


def test_the_second_order_model_never_lies_below():
    """With closest points held, the model's energy bounds the loss from above for any motion of the vertices."""
    body, truth = worm(), worm_truth()
    seen = PointCloudInput(scan_of(body, truth, 150)[0])
    handler = PointCloudHandler(PointDistanceLoss(), template_weight=0.5)
    handler.bind(body)
    state = state_of(body, near(truth))
    model = point_model(active(handler, seen), state)
    energy = active(handler, seen).per_frame(state)
    for size in (0.01, 0.1):
        step = size * torch.randn(2, body.data.n_vertices, 3).double()
        bound = energy + (model.gradient * step).sum((1, 2))
        bound = bound + 0.5 * torch.einsum('bvi,bvij,bvj->b', step, model.hessian, step)
        moved = replace(state, output=replace(state.output, vertices=state.output.vertices + step))
        assert handler(moved, seen) <= bound.sum() + 1e-12


def test_a_body_cannot_lower_its_loss_by_fleeing():
    loss = PointDistanceLoss(trim=0.3, max_distance=1.0)
    weight = torch.ones(1, 10).double()
    near_by = torch.linspace(0.1, 0.9, 10).double().reshape(1, 10, 1)
    assert loss(near_by, weight) < loss(near_by + 5, weight)
    assert loss(near_by + 5, weight) == pytest.approx(0.7)


def test_frames_without_points_cost_nothing():
    body, truth = worm(), worm_truth()
    points = scan_of(body, truth, 40)[0]
    handler = PointCloudHandler(template_weight=1.0)
    handler.bind(body)
    state = state_of(body, near(truth))
    half = PointCloudInput(points, torch.tensor([[True], [False]]).expand(2, 40))
    model = point_model(active(handler, half), state)
    assert active(handler, half).per_frame(state)[1] == 0
    assert model.gradient[1].abs().sum() == 0
    torch.testing.assert_close(handler(state, half), handler(state_of(body, near(truth)[0]), half[0]))
    assert handler(state, PointCloudInput(points, torch.zeros(2, 40, dtype=torch.bool))) == 0


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: PointCloudInput(torch.rand(1, 3, 3), confidence=-torch.ones(1, 3)), 'must not be negative'),
        (
            lambda: PointCloudInput([torch.rand(3, 3)], confidence=[torch.rand(4)]),
            'confidence must be as many',
        ),
        (lambda: PointCloudHandler(metric='line'), 'metric must be one of'),
        (lambda: PointCloudHandler(template_weight=-1.0), 'must not be negative'),
        (lambda: PointDistanceLoss(trim=1.0), 'trim must be in'),
        (lambda: PointDistanceLoss(sigma=0.0), 'sigma must be positive'),
        (
            lambda: MeshInput(torch.rand(1, 3, 3), torch.tensor([[0, 1, 3]])),
            'faces must name vertices 0 to 2',
        ),
        (lambda: MeshInput(torch.rand(1, 3, 3), torch.zeros(0, 3).long()), 'must have faces'),
        (lambda: MeshInput(torch.full((1, 3, 3), torch.nan), torch.tensor([[0, 1, 2]])), 'must be finite'),
    ],
)
def test_wrong_scans(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_normals_that_are_asked_for_must_be_there():
    body, truth = worm(), worm_truth()
    handler = PointCloudHandler(max_normal_angle_deg=60.0)
    seen = PointCloudInput(scan_of(body, truth, 20)[0])
    with pytest.raises(ValueError, match='call bind'):
        handler(state_of(body, truth), seen)
    handler.bind(body)
    with pytest.raises(ValueError, match="needs the points' normals"):
        handler(state_of(body, truth), seen)
