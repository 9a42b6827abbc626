"""Cross-entropy of heat maps: 0 for a perfect one, right gradients, and what takes no part."""

import pytest
import torch

from smilfit.geometry.heatmaps import gaussian_targets, mixture_targets
from smilfit.losses import CentreHeatmapLoss, HeatmapLoss


@pytest.fixture
def places() -> torch.Tensor:
    return torch.tensor([[[10.2, 7.7], [3.0, 20.0]]])


def test_a_perfect_map_costs_nothing_and_an_ignorant_one_the_logarithm_of_its_cells_less_the_entropy(places):
    loss, weight = HeatmapLoss(), torch.ones(1, 2)
    target = gaussian_targets(places, (12, 14), 2)
    perfect = target.clamp_min(1e-30).log() + 3.0
    assert loss(perfect, places, weight, 2).abs() < 1e-5
    flat = torch.log(torch.tensor(12.0 * 14)) - torch.special.entr(target).sum((-1, -2)).mean()
    torch.testing.assert_close(loss(torch.zeros(1, 2, 12, 14), places, weight, 2), flat)


def test_the_gradient_is_softmax_less_target(places):
    logits = torch.randn(1, 2, 12, 14, requires_grad=True)
    weight = torch.tensor([[1.0, 0.5]])
    HeatmapLoss()(logits, places, weight, 2).backward()
    share = logits.detach().flatten(2).softmax(-1).reshape(logits.shape)
    expected = (share - gaussian_targets(places, (12, 14), 2)) * weight[..., None, None] / 1.5
    torch.testing.assert_close(logits.grad, expected, atol=1e-6, rtol=1e-4)


def test_the_gradient_agrees_with_finite_differences(places):
    logits = torch.randn(1, 2, 5, 6, requires_grad=True)
    loss = HeatmapLoss()
    loss(logits, places / 4, torch.ones(1, 2), 2).backward()
    step = torch.zeros_like(logits)
    step[0, 1, 2, 3] = 0.05
    with torch.no_grad():
        up, down = (loss(logits + s * step, places / 4, torch.ones(1, 2), 2) for s in (1, -1))
    torch.testing.assert_close((up - down) / 0.1, logits.grad[0, 1, 2, 3], atol=1e-4, rtol=1e-2)


def test_points_without_weight_and_outside_take_no_part(places):
    logits = torch.randn(1, 3, 12, 14, requires_grad=True)
    px = torch.cat((places[:, :1], torch.tensor([[[torch.nan, torch.inf], [-3.0, 5.0]]])), 1)
    loss = HeatmapLoss()(logits, px, torch.tensor([[1.0, 0.0, 1.0]]), 2)
    loss.backward()
    torch.testing.assert_close(loss, HeatmapLoss()(logits[:, :1], places[:, :1], torch.ones(1, 1), 2))
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, 1:].any()


def test_centres_of_several_animals_share_one_map():
    px = torch.tensor([[[5.0, 6.0], [20.0, 18.0]], [[0.0, 0.0], [0.0, 0.0]]])
    weight = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss = CentreHeatmapLoss(sigma_cells=1.5)
    perfect = mixture_targets(px, weight, (12, 12), 2, 1.5).clamp_min(1e-30).log()
    assert loss(perfect, px, weight, 2).abs() < 1e-4
    assert loss(torch.zeros(2, 12, 12), px, weight, 2) > 0.5
    assert loss(torch.zeros(2, 12, 12), px, 0 * weight, 2) == 0


@pytest.mark.parametrize('kind', [HeatmapLoss, CentreHeatmapLoss])
def test_a_width_must_be_positive(kind):
    with pytest.raises(ValueError, match='sigma_cells must be positive'):
        kind(sigma_cells=0)
