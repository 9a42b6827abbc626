"""Points through soft-argmax and weighted rays: truth, gradients against finite differences, learning through it."""

from dataclasses import replace

import torch

from smilfit.networks import differentiable_points
from tests.networks.blobs import STRIDE, blobs, make_cameras


def _case(n_views=4, batch=2, n_points=3):
    points = 10 * torch.randn(batch, n_points, 3)
    cameras = make_cameras(n_views, batch)
    px, _, _ = cameras.project(points)
    return points, cameras, px, torch.ones(batch, n_views, dtype=torch.bool)


def test_clean_maps_give_the_points_whatever_the_weights():
    points, cameras, px, mask = _case()
    weights = 0.1 + torch.rand(2, 4, 3)
    result, known = differentiable_points(blobs(px), STRIDE, cameras, mask, weights)
    assert known.all()
    torch.testing.assert_close(result, points, atol=1e-2, rtol=0)


def test_a_masked_view_changes_no_bit_and_one_view_fixes_nothing():
    _, cameras, px, mask = _case()
    logits = blobs(px + torch.randn(px.shape))
    mask[0, 1], mask[1, 1:] = False, False
    result, known = differentiable_points(logits, STRIDE, cameras, mask)
    logits[0, 1], cameras.t[0, 1] = float('nan'), float('nan')
    again, _ = differentiable_points(logits, STRIDE, cameras, mask)
    assert torch.equal(again, result)
    assert known.tolist() == [[True] * 3, [False] * 3]
    assert float(result[1].abs().max()) == 0


def test_gradients_agree_with_finite_differences_through_lenses_and_weights():
    _, cameras, px, mask = _case(n_views=3, batch=1, n_points=1)
    cameras = cameras.to(torch.float64)
    mask[0, 2] = False
    # Few cells keep finite differences short: the maps are 4 x 4 of a large stride.
    logits = torch.randn(1, 3, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    weights = (0.5 + torch.rand(1, 3, 1, dtype=torch.float64)).requires_grad_()

    def points(logits, weights):
        return differentiable_points(logits, 128 / 4, cameras, mask, weights)[0]

    assert torch.autograd.gradcheck(points, (logits, weights), atol=1e-6, rtol=1e-4)
    gradient = torch.autograd.grad(points(logits, weights).sum(), logits)[0]
    assert float(gradient[:, 2].abs().max()) == 0
    assert px.isfinite().all()


def test_weights_learn_to_leave_out_a_view_that_errs():
    points, cameras, px, mask = _case()
    wrong = px.clone()
    wrong[:, 1] += 8
    logits = blobs(wrong)
    scores = torch.zeros(1, 4, 1, requires_grad=True)
    optimiser = torch.optim.Adam([scores], lr=0.3)

    def error():
        weights = scores.sigmoid().expand(2, 4, 3)
        result, _ = differentiable_points(logits, STRIDE, cameras, mask, weights)
        return (result - points).square().sum(-1).mean()

    before = float(error().detach())
    for _ in range(40):
        optimiser.zero_grad()
        error().backward()
        optimiser.step()
    assert float(error().detach()) < 0.05 * before
    assert int(scores.flatten().argmin()) == 1


def test_a_lens_is_taken_out():
    points, cameras, _, mask = _case()
    cameras = replace(cameras, dist=8 * cameras.dist, fold=None)
    logits = blobs(cameras.project(points)[0])
    result, _ = differentiable_points(logits, STRIDE, cameras, mask)
    torch.testing.assert_close(result, points, atol=1e-2, rtol=0)
    straight, _ = differentiable_points(logits, STRIDE, replace(cameras, dist=None, fold=None), mask)
    assert float((straight - points).norm(dim=-1).max()) > 0.05
