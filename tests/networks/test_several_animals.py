"""Two and three animals: who is who between views, and over time while they cross."""

import pytest
import torch

from smilfit.networks.animals.animal_tracks import Tracker, Tracks
from smilfit.networks.animals.several_animals import find_centres, match_views
from tests.networks.blobs import STRIDE, blobs, make_cameras


def _rig(n_views=4, seed=0):
    return make_cameras(n_views, 1, seed).map(lambda x: x[0])


def _detections(centres, cameras, noise_px=1.0, seed=0):
    """Detections (C, M, 1, 2) in an order of its own in each view, and that order (C, M)."""
    generator = torch.Generator().manual_seed(seed)
    px, _, _ = cameras.project(centres)
    px = px + noise_px * torch.randn(px.shape, generator=generator)
    order = torch.stack([torch.randperm(px.shape[1], generator=generator) for _ in range(len(px))])
    return px.gather(1, order.unsqueeze(-1).expand_as(px)).unsqueeze(2), order


def _who(found, order):
    """Which animal each view's detection of a found one is; -1 where unseen."""
    known = found.index >= 0
    return torch.where(known, order.T.gather(0, found.index.clamp_min(0)), -1)


@pytest.mark.parametrize('n_animals', [1, 2, 3])
def test_views_agree_on_who_is_who(n_animals):
    centres = torch.tensor([[20.0, 5, 3], [-15, 12, 0], [0, -20, 6]])[:n_animals]
    cameras = _rig()
    pixels, order = _detections(centres, cameras)
    result = match_views(pixels, torch.ones(pixels.shape[:-1]), cameras, gate_px=6.0)
    who = _who(result, order)
    assert (who == who[:, :1]).all()
    assert sorted(who[:, 0].tolist()) == list(range(n_animals))
    assert float((result.points[:, 0] - centres[who[:, 0]]).norm(dim=-1).max()) < 2.0
    assert result.sure.all()


def test_a_view_may_miss_an_animal_and_another_see_a_ghost():
    centres = torch.tensor([[20.0, 5, 3], [-15, 12, 0]])
    cameras = _rig()
    pixels, order = _detections(centres, cameras)
    weight = torch.ones(pixels.shape[:-1])
    weight[1, order[1].tolist().index(0)] = 0
    ghost = torch.tensor([[[[100.0, 20.0]]]]).expand(4, 1, 1, 2)
    pixels = torch.cat((pixels, ghost), 1)
    weight = torch.cat((weight, torch.tensor([0.0, 0, 1, 0]).reshape(4, 1, 1)), 1)
    result = match_views(pixels, weight, cameras, gate_px=6.0)
    assert len(result.index) == 2
    first = int((result.points[:, 0] - centres[0]).norm(dim=-1).argmin())
    assert int(result.index[first, 1]) == -1
    assert (result.index[1 - first] >= 0).all()
    assert int((result.index == 2).sum()) == 0


def test_two_views_that_cannot_tell_say_so_and_keypoints_tell():
    cameras = _rig(3).select(('cam_1', 'cam_2'))
    eyes = cameras.centres()
    # Two places in the plane of both eyes and the arena's middle: any pairing of their images meets.
    inwards = -eyes.mean(0) / eyes.mean(0).norm()
    centres = torch.stack((10 * inwards, -25 * inwards + 0.1 * (eyes[0] - eyes[1])))
    pixels, _ = _detections(centres, cameras, noise_px=0.0)
    result = match_views(pixels, torch.ones(pixels.shape[:-1]), cameras, gate_px=6.0)
    assert len(result.index) == 2
    assert not result.sure.any()
    points = centres.unsqueeze(1) + 8 * torch.randn(2, 6, 3)
    px = cameras.project(points.flatten(0, 1))[0].unflatten(1, (2, 6))
    px[1] = px[1].flip(0)
    result = match_views(px, torch.ones(px.shape[:-1]), cameras, gate_px=3.0, sure_px=0.5)
    assert result.index.sort(0).values.tolist() == [[0, 0], [1, 1]]
    assert (result.index[:, 0] != result.index[:, 1]).all()
    assert result.sure.all()


def test_nothing_seen_is_no_animal():
    cameras = _rig()
    result = match_views(torch.zeros(4, 2, 1, 2), torch.zeros(4, 2, 1), cameras, gate_px=6.0)
    assert result.index.shape == (0, 4)
    assert result.points.shape == (0, 1, 3)


def test_centres_are_the_peaks_of_a_map():
    px = torch.tensor([[30.0, 40.0], [90.0, 70.0]])
    logits = (blobs(px).exp().mean(0, keepdim=True)).log()
    result, share = find_centres(logits, STRIDE, most=3)
    order = result[0, :2, 0].argsort()
    torch.testing.assert_close(result[0, order], px, atol=0.1, rtol=0)
    torch.testing.assert_close(share[0], torch.tensor([0.5, 0.5, 0.0]), atol=0.01, rtol=0)


def _run(paths, tracker, hidden=()):
    """Follow paths (T, A, D), each frame's detections in an order of its own; give identities (T, A) and sureness."""
    generator = torch.Generator().manual_seed(1)
    tracks = Tracks.none(paths.shape[-1])
    identities = torch.full(paths.shape[:2], -1)
    surely = torch.ones(paths.shape[:2], dtype=torch.bool)
    for t, places in enumerate(paths):
        shown = [a for a in torch.randperm(len(places), generator=generator).tolist() if (t, a) not in hidden]
        tracks, identity, sure = tracker.follow(tracks, places[shown])
        identities[t, shown], surely[t, shown] = identity, sure
    return identities, surely


def _crossing(n_frames=40, passing=6.0, noise=0.4):
    """Two animals walk towards each other and past, a third one crosses their way later; mm."""
    t = torch.linspace(-1, 1, n_frames).unsqueeze(-1)
    zero = torch.zeros_like(t)
    paths = [
        (60 * t, zero + passing / 2, zero),
        (-60 * t, zero - passing / 2, zero),
        (zero + 25, 50 * t - 20, zero),
    ]
    paths = torch.stack([torch.cat(path, -1) for path in paths], 1)
    return paths + noise * torch.randn(paths.shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize('n_animals', [2, 3])
def test_identities_survive_a_crossing(n_animals):
    identities, sure = _run(_crossing()[:, :n_animals], Tracker(gate=15.0))
    assert (identities == identities[:1]).all()
    assert len(set(identities[0].tolist())) == n_animals
    assert float(sure.float().mean()) > 0.9


def test_boxes_of_one_view_cross_too():
    paths = _crossing(noise=0.2)
    paths[..., 2] = 40 + torch.randn(paths.shape[:2])
    identities, _ = _run(paths[:, :2], Tracker(gate=20.0))
    assert (identities == identities[:1]).all()


def test_a_meeting_in_which_they_may_have_changed_places_is_told():
    """They walk up to each other, stand in one place, and leave: nothing tells which one left where."""
    valid = torch.tensor([[-20.0, 0, 0], [20.0, 0, 0]])
    share = torch.cat((torch.linspace(1, 0.02, 15), torch.full((5,), 0.02), torch.linspace(0.02, 1, 15)))
    identities, sure = _run(share[:, None, None] * valid, Tracker(gate=15.0))
    assert len(set(identities.flatten().tolist())) == 2
    assert not sure[15:20].all()
    assert sure[:10].all()


def test_one_who_hides_comes_back_and_one_who_stays_away_is_given_up():
    paths = _crossing()[:, :2]
    hidden = {(t, 1) for t in range(8, 13)}
    identities, _ = _run(paths, Tracker(gate=15.0, max_missed=6), hidden)
    seen = identities[identities[:, 1] >= 0, 1]
    assert (seen == seen[0]).all()
    identities, _ = _run(paths, Tracker(gate=15.0, max_missed=2), hidden)
    assert int(identities[-1, 1]) == 2


def test_a_gate_must_be_positive():
    with pytest.raises(ValueError, match='the gate must be positive'):
        Tracker(gate=0.0)
