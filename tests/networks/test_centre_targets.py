"""The map of centres: all animals that are known are expected, and nothing is said against those that are not."""

import torch

from smilfit.losses import CentreHeatmapLoss
from smilfit.networks.keypoints.keypoint_targets import CentreTargets, ImageTargets
from tests.networks.blobs import CELLS, STRIDE, blobs

OWN, OTHER = torch.tensor([30.0, 40.0]), torch.tensor([90.0, 80.0])


def _own():
    px = OWN + torch.tensor([[-16.0, 0], [16, 0], [0, -12], [0, 12]])
    return ImageTargets(px[None], torch.ones(1, 4))


def _batch(centres, complete):
    known = torch.stack(centres)[None, None]
    return {
        'centres2d': known,
        'centres_weight': torch.ones(known.shape[:-1]),
        'all_animals': torch.tensor([[complete]]),
    }


def _loss(logits, targets):
    region = targets.region((CELLS, CELLS), STRIDE)
    terms = CentreHeatmapLoss().energy(logits, targets.px, targets.weight, STRIDE, region)
    return (terms.value * terms.weight).sum()


def _map(*centres):
    return blobs(torch.stack(centres), width_cells=2.5).exp().mean(0, keepdim=True).log()


def test_both_are_expected_where_both_are_known():
    targets = CentreTargets.of_batch(_batch([OWN, OTHER], True), _own())
    assert float(_loss(_map(OWN, OTHER), targets)) < 1e-3
    assert float(_loss(_map(OWN), targets)) > 1.0


def test_an_unlabelled_animal_costs_nothing_and_its_cells_have_no_gradient():
    targets = CentreTargets.of_batch(_batch([OWN], False), _own())
    # What a map says of the other animal does not matter, whatever it is.
    for logits in (_map(OWN), _map(OWN, OTHER)):
        logits.requires_grad_(True)
        loss = _loss(logits, targets)
        (slope,) = torch.autograd.grad(loss, logits)
        assert float(loss.detach()) < 0.05
        x, y = (OTHER / STRIDE).long().tolist()
        assert not slope[0, y - 5 : y + 6, x - 5 : x + 6].any()
    # Its own it has to be told still.
    assert float(_loss(_map(OTHER), targets)) > 0.5
    # Where all are known, the same map is wrong.
    everyone = CentreTargets.of_batch(_batch([OWN], True), _own())
    assert float(_loss(_map(OWN, OTHER), everyone)) > 0.5


def test_without_centres_the_own_keypoints_say_where_the_one_animal_is():
    alone = CentreTargets.of_batch({}, _own())
    torch.testing.assert_close(alone.px[0, 0], OWN)
    nothing = _batch([OWN, OTHER], False)
    nothing['centres_weight'] = torch.zeros(1, 1, 2)
    padded = CentreTargets.of_batch(nothing, _own())
    torch.testing.assert_close(padded.px[0, 0], OWN)
    assert padded.weight.tolist() == [[1.0, 0.0]]
    assert padded.complete.all()


def test_crops_move_centres_and_reach():
    targets = CentreTargets.of_batch(_batch([OWN, OTHER], False), _own())
    doubled = targets.moved(torch.tensor([[[2.0, 0, 1], [0, 2, 3]]]))
    torch.testing.assert_close(doubled.px[0], 2 * targets.px[0] + torch.tensor([1.0, 3]))
    torch.testing.assert_close(doubled.reach, 2 * targets.reach)
