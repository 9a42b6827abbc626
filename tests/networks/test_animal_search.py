"""Two animals in several views, by maps that say the truth: both are found, boxed and kept apart while they cross."""

import numpy as np
import pytest
import torch
from torch import nn

from smilfit.geometry.heatmaps import cell_to_px, gaussian_targets
from smilfit.networks.animals.animal_boxes import OwnBoxes
from smilfit.networks.animals.animal_tracks import Tracker, identify
from smilfit.networks.animals.several_animals import AnimalSearch, without_twins
from smilfit.networks.keypoints.consensus import MeetInSpace
from smilfit.networks.keypoints.two_passes import TwoPasses
from tests.networks.blobs import CELLS, PIXELS, STRIDE, make_cameras

K, EXTENT = 6, torch.tensor(22.0)
GATE = 0.5 * float(EXTENT)


class TrueNetwork(nn.Module):
    """Says where keypoints are in a crop of an image that holds its own px and number, from the truth.

    It does as a trained one: in a crop the animal in its middle is seen, in a whole image both are.
    """

    def __init__(self, px):
        """Px (n, A, K, 2) of every image."""
        super().__init__()
        self.px = px
        self.n_keypoints, self.stride, self.centre = K, STRIDE, True

    def forward(self, crops):
        # Two px far apart say where the crop is.
        number = (1000 * crops[:, 2].flatten(1).amax(1)).round().long() - 1
        shown = []
        for crop, i in zip(crops, number.tolist()):
            inside = (crop[2] > 0.9 * crop[2].max()).nonzero()
            (y0, x0), (y1, x1) = inside[0].tolist(), inside[-1].tolist()
            first, last = (PIXELS * crop[:2, y, x] - 1 for y, x in ((y0, x0), (y1, x1)))
            scale = (x1 - x0) / (last - first)[0]
            px = (self.px[i] - first) * scale + torch.tensor([x0, y0])
            shown.append(self._maps(px, scale))
        return torch.stack(shown)

    def _maps(self, px, scale):
        centre_point = px.mean(1)
        far = (centre_point - cell_to_px(torch.tensor((CELLS - 1) / 2), STRIDE)).square().sum(-1)
        share = torch.tensor([1.0] * len(px)) if scale < 1.2 else (far == far.min()) + 0.05
        blobs = gaussian_targets(px, (CELLS, CELLS), STRIDE)
        maps = torch.einsum('a,akhw->khw', share / share.sum(), blobs)
        centre = gaussian_targets(centre_point, (CELLS, CELLS), STRIDE, 2.5).mean(0, keepdim=True)
        return (0.98 * torch.cat((maps, centre)) + 0.02 / CELLS**2).log()

    def split(self, logits):
        return logits[:, :K], logits[:, K]


def _ramps(n_moments, n_views):
    """Images (B, C, 3, H, W) that hold x and y of each px, and their own number."""
    axis = (torch.arange(PIXELS) + 1) / PIXELS
    images = torch.zeros(n_moments * n_views, 3, PIXELS, PIXELS)
    images[:, 0], images[:, 1] = axis, axis.unsqueeze(-1)
    images[:, 2] = ((torch.arange(len(images)) + 1) / 1000)[:, None, None]
    return images.unflatten(0, (n_moments, n_views))


def _scene(paths, n_views=4, seed=0):
    """Animals with keypoints (T, A, K, 3) about paths (T, A, 3), the cameras, and the network that sees them."""
    generator = torch.Generator().manual_seed(seed)
    shape = 7 * torch.randn(paths.shape[1], K, 3, generator=generator)
    shape = shape - shape.mean(1, keepdim=True)
    points = paths.unsqueeze(2) + shape
    cameras = make_cameras(n_views, len(paths), seed, lens=False)
    px = cameras.project(points.flatten(1, 2))[0].unflatten(2, points.shape[1:3])
    vision = TwoPasses(nn.Identity(), TrueNetwork(px.flatten(0, 1)), OwnBoxes(), MeetInSpace(), PIXELS)
    return points, cameras, vision


def _crossing(n_frames=16):
    t = torch.linspace(-1, 1, n_frames).unsqueeze(-1)
    one = torch.cat((24 * t, 0 * t + 5, 0 * t), -1)
    return torch.stack((one, -one), 1)


def _look(vision, cameras, mask, most=2):
    images = _ramps(*mask.shape)
    return vision.several(images, mask, cameras, EXTENT, AnimalSearch(), most)


def _whose(seen, found, points):
    """Which animal each found one is, and how far its points are from the truth."""
    far = (seen.points.xyz.unsqueeze(1) - points[found.moment]).norm(dim=-1).mean(-1)
    return far.min(1)


def test_both_are_found_in_every_frame_and_keep_their_identities_through_a_crossing():
    points, cameras, vision = _scene(_crossing())
    mask = torch.ones(len(points), 4, dtype=torch.bool)
    seen, result = _look(vision, cameras, mask)
    far, who = _whose(seen, result, points)
    assert torch.bincount(result.moment).tolist() == [2] * len(points)
    assert float(far.max()) < 1.5
    places = seen.points.xyz.mean(1).reshape(len(points), 2, 3).double().numpy()
    tracks = identify(places, np.ones(places.shape[:2], bool), Tracker(gate=GATE), 2)
    mine = who.reshape(-1, 2).numpy()[np.arange(len(points)), tracks.slot]
    assert (mine == mine[:, :1]).all()
    assert sorted(mine[:, 0]) == [0, 1]


def test_a_single_view_shows_both():
    points, cameras, vision = _scene(_crossing(6)[[0, 1, 4, 5]])
    mask = torch.tensor([True, False, False, False]).expand(4, -1).contiguous()
    seen, result = _look(vision, cameras, mask)
    px = cameras.project(points.flatten(1, 2))[0].unflatten(2, points.shape[1:3])[:, 0]
    assert torch.bincount(result.moment).tolist() == [2] * 4
    error = (seen.pixels()[:, 0].unsqueeze(1) - px[result.moment]).norm(dim=-1).mean(-1)
    assert sorted(error.argmin(1).reshape(4, 2).sum(1).tolist()) == [1] * 4
    # A keypoint that leaves the image has none.
    assert float(error.min(1).values.max()) < 2.5


def test_more_animals_than_there_should_be_are_left_out_and_told():
    _, cameras, vision = _scene(_crossing(4))
    mask = torch.ones(4, 4, dtype=torch.bool)
    _, result = _look(vision, cameras, mask, most=1)
    assert torch.bincount(result.moment).tolist() == [1] * 4
    assert result.counts['animals_beyond_the_number'] == 4
    _, result = _look(vision, cameras, mask, most=3)
    assert torch.bincount(result.moment).tolist() == [2] * 4


def test_no_view_is_no_animal():
    _, cameras, vision = _scene(_crossing(2))
    seen, result = _look(vision, cameras, torch.tensor([[True] * 4, [False] * 4])[:, :4])
    assert result.moment.tolist() == [0, 0]
    assert len(seen.boxes) == 2


def test_two_looks_at_one_animal_are_one():
    points = torch.randn(3, K, 3, generator=torch.Generator().manual_seed(0))
    points[1] = points[0] + 0.01
    confidence = torch.tensor([0.5, 0.9, 0.1]).unsqueeze(1).expand(3, K)
    keep = without_twins(torch.tensor([0, 0, 0]), points, confidence, 0.5)
    assert keep.tolist() == [False, True, True]
    keep = without_twins(torch.tensor([0, 1, 1]), points, confidence, 0.5)
    assert keep.all()


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match='least and gate must be in'):
        AnimalSearch(least=0.0)
