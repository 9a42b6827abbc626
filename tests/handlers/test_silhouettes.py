"""Masks draw the body, through a renderer and by distances in the image."""

import pytest
import torch

from smilfit.handlers import SilhouetteDistanceHandler, SilhouetteHandler, SilhouetteInput
from smilfit.handlers.silhouettes import sample_distance
from smilfit.losses import (
    PointDistanceLoss,
    SilhouetteBCELoss,
    SilhouetteIoULoss,
    SilhouetteL1Loss,
    SilhouetteL2Loss,
)
from smilfit.registry import build_handler, build_registrant
from smilfit.renderers import SilhouetteRenderer, ZBufferRenderer
from tests.animals import ring_of_cameras
from tests.handlers.worm import active, check_point_term, near, point_model, state_of, worm, worm_truth

WIDTH, HEIGHT = 64, 48


def cameras_of(dist=0.0, n=3):
    affine = torch.tensor([[0.16, 0, -20.0], [0, 0.16, -14.0]]).double().expand(n, 2, 3)
    size = torch.tensor([[WIDTH, HEIGHT]]).double().expand(n, 2)
    return ring_of_cameras(n, 8.0, dist).transformed(affine, size)


def masks_of(body, params, cameras):
    given = SilhouetteInput(torch.zeros(params.batch_size, len(cameras), HEIGHT, WIDTH).double(), cameras)
    vertices = body(params, ('vertices',)).vertices.repeat_interleave(len(cameras), 0)
    alpha = ZBufferRenderer()(vertices, body.faces, given.flat_cameras()).alpha
    return alpha.reshape(given.masks.shape)


def fit(body, handler, seen, start, n_iter, **stage):
    config = dict(
        type='SMPLify',
        body_model=body,
        handlers=[handler, dict(type='BodyPosePriorHandler')],
        stages=[dict(n_iter=n_iter, ftol=1e-7, silhouette_weight=1.0, fit_betas=False, **stage)],
        optimizer=dict(type='LBFGS', max_iter=8, line_search_fn='strong_wolfe'),
        initializer=None,
    )
    return build_registrant(config)([seen], start)


def off(body, params, truth):
    return (body(params, ('vertices',)).vertices - body(truth, ('vertices',)).vertices).norm(dim=-1).mean()


def test_masks_are_found_through_a_renderer():
    body, truth = worm(), worm_truth(1)
    cameras = cameras_of(-0.05)
    seen = SilhouetteInput(masks_of(body, truth, cameras) > 0, cameras)
    handler = dict(
        type='SilhouetteHandler',
        renderer=dict(type='SilhouetteRenderer', sigma=3e-4),
        loss=dict(type='SilhouetteL2Loss', loss_weight=100.0),
    )
    start = near(truth, 0.1, 1)
    result = fit(body, handler, seen, start, 4)
    assert off(body, result.params, truth) < 0.35 * off(body, start, truth)


@pytest.mark.parametrize('kind', ['L2', 'L1', 'BCE', 'IoU', 'DistanceTransform'])
def test_every_measure_finds_the_place(kind):
    body, truth = worm(), worm_truth(1)
    cameras = cameras_of(n=2)
    seen = SilhouetteInput(masks_of(body, truth, cameras), cameras)
    loss = dict(type=f'Silhouette{kind}Loss')
    handler = dict(type='SilhouetteHandler', loss=loss)
    start = truth.replace(transl=truth.transl + torch.tensor([0.1, -0.1, 0.05]))
    result = fit(body, handler, seen, start, 2, fit_body_pose=False, fit_global_orient=False)
    assert (result.params.transl - truth.transl).norm() < 0.05


def test_masks_are_found_by_distances():
    body, truth = worm(), worm_truth(2)
    cameras = cameras_of(-0.05)
    seen = build_handler(dict(type='SilhouetteInput', masks=masks_of(body, truth, cameras), cameras=cameras))
    handler = dict(
        type='SilhouetteDistanceHandler', loss=dict(type='PointDistanceLoss', sigma=10.0), n_mask_points=150
    )
    start = near(truth, 0.15, 2)
    result = fit(body, handler, seen, start, 5, body_pose_prior_weight=1e-3)
    assert off(body, result.params, truth) < 0.4 * off(body, start, truth)


@pytest.mark.parametrize('dist', [0.0, -0.05])
@pytest.mark.parametrize(
    'loss', [PointDistanceLoss(), PointDistanceLoss(sigma=3.0, trim=0.1, reduction='sum')]
)
def test_distances_in_second_order(dist, loss):
    body, truth = worm(), worm_truth(2)
    cameras = cameras_of(dist)
    weight = torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 2.0]]).double()
    seen = SilhouetteInput(masks_of(body, truth, cameras), cameras, weight)
    handler = SilhouetteDistanceHandler(loss, mask_weight=0.6, n_mask_points=80)
    state = state_of(body, near(truth, 0.2))
    check_point_term(handler, state, seen)
    model = point_model(active(handler, seen), state)
    shifted = state_of(body, near(truth, 0.2), camera_shift=torch.zeros(3, 6).double())
    moving = point_model(active(handler, seen), shifted, by_view=True)
    torch.testing.assert_close(moving.views.hessian.sum(1), model.hessian)
    assert model.views is None
    # Whichever frames are left, a frame's term stays what it was.
    alone = point_model(active(handler, seen[1]), state_of(body, near(truth, 0.2)[1]))
    torch.testing.assert_close(alone.gradient.sign(), model.gradient[1:].sign())


def test_cameras_of_frames_of_their_own():
    """Crops: each frame has cameras of its own, and the silhouettes follow them."""
    body, truth = worm(), worm_truth(2)
    cameras = cameras_of(-0.05)
    shift = torch.eye(2, 3).double().expand(2, 3, 2, 3).clone()
    shift[1, :, 0, 2] = 5.0
    moved = cameras.transformed(shift, cameras.size)
    same, by_frame = masks_of(body, truth, cameras), masks_of(body, truth, moved)
    assert torch.equal(same[0], by_frame[0])
    assert torch.equal(same[1, :, :, :-5], by_frame[1, :, :, 5:])
    seen = SilhouetteInput(by_frame, moved)
    handler = SilhouetteHandler(SilhouetteRenderer(sigma=1e-5))
    state = state_of(body, truth)
    assert handler(state, seen) < 0.02
    apart = handler(state_of(body, truth[1]), seen[1])
    torch.testing.assert_close(active(handler, seen).per_frame(state)[1], apart / 2)


@pytest.mark.parametrize(
    ('loss', 'formula'),
    [
        (SilhouetteL2Loss(), lambda a, m: (a - m).square().mean()),
        (SilhouetteL1Loss(), lambda a, m: (a - m).abs().mean()),
        (SilhouetteBCELoss(eps=1e-9), torch.nn.functional.binary_cross_entropy),
        (SilhouetteIoULoss(), lambda a, m: 1 - (a * m).sum() / (a + m - a * m).sum()),
    ],
)
def test_silhouette_losses_are_their_formulas(loss, formula):
    alpha, mask = torch.rand(2, 3, 5, 7).double(), (torch.rand(2, 3, 5, 7) < 0.5).double()
    weight = torch.tensor([[1.0, 0.0, 2.0], [1.0, 1.0, 0.5]]).double()
    by_hand = torch.stack([formula(a, m) for a, m in zip(alpha.flatten(0, 1), mask.flatten(0, 1))])
    expected = (by_hand * weight.flatten()).sum() / weight.sum()
    torch.testing.assert_close(loss(alpha, mask, weight), expected)
    assert loss(alpha, mask, weight, reduction_override='none').shape == (2, 3)
    assert loss(0 * mask, 0 * mask) < 1e-6


def test_distance_maps_are_read_between_pixels_and_beyond_the_image():
    mask = torch.zeros(1, 1, 20, 30).double()
    mask[0, 0, 5:10, 5:10] = 1
    seen = SilhouetteInput(mask, one_camera(30, 20))
    at = torch.tensor([[7.0, 7], [12, 7], [12.5, 7], [33.0, 7], [12, 12]]).double()[None, None]
    read = sample_distance(seen.distance_px(), at.requires_grad_())
    expected = torch.tensor([0, 3, 3.5, 24, 18**0.5]).double()
    torch.testing.assert_close(read[0, 0], expected)
    (uphill,) = torch.autograd.grad(read.sum(), at)
    torch.testing.assert_close(uphill[0, 0, 2], torch.tensor([1.0, 0]).double())
    empty = SilhouetteInput(0 * mask, one_camera(30, 20))
    assert empty.distance_px().abs().sum() == 0
    assert not empty.points_px(10)[1].any()
    points, valid = seen.points_px(20)
    assert valid.sum() == 20
    few, some = seen.points_px(100)
    assert some.sum() == 25
    for xy in (points[valid], few[some]):
        assert (mask[0, 0, xy[:, 1].long(), xy[:, 0].long()] == 1).all()
        assert len(xy.unique(dim=0)) == len(xy)


def one_camera(width, height):
    return ring_of_cameras(1, 8.0).transformed(
        torch.eye(2, 3).double()[None], torch.tensor([[width, height]]).double()
    )


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: SilhouetteInput(torch.zeros(1, 2, 20, 30), one_camera(30, 20)), 'a view for each camera'),
        (lambda: SilhouetteInput(torch.zeros(1, 1, 20, 20), one_camera(30, 20)), 'must be the masks'),
        (
            lambda: SilhouetteInput(torch.full((1, 1, 20, 30), 2.0), one_camera(30, 20)),
            r'must be in \[0, 1\]',
        ),
        (lambda: SilhouetteHandler(ZBufferRenderer()), 'renderer must be differentiable'),
        (lambda: SilhouetteDistanceHandler(mask_weight=-1.0), 'must not be negative'),
    ],
)
def test_wrong_masks(make, message):
    with pytest.raises(ValueError, match=message):
        make()
