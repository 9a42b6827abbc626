"""Boxes from a first look: around the animal in every view that shows it, and in no other."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks import GivenBoxes, MeetInSpace, OwnBoxes
from smilfit.networks.animals.animal_boxes import boxes_around, part_by_nearest
from tests.networks.blobs import CELLS, PIXELS, STRIDE, blobs, make_cameras


def find_boxes(logits, stride, cameras, mask, meet=None, **options):
    """Box what views agree on in a first look."""
    agreed = (meet or MeetInSpace())(logits, stride, cameras, mask, prior=1.0)
    return boxes_around(agreed, cameras, mask, **options)


@pytest.fixture
def scene():
    """Nine points of a small animal in two frames, seen from four sides."""
    animal = 6 * torch.randn(2, 9, 3) + torch.tensor([[[8.0, -5.0, 3.0]], [[-10.0, 4.0, 0.0]]])
    cameras = make_cameras(4, 2)
    px, _, _ = cameras.project(animal)
    return cameras, px, torch.ones(2, 4, dtype=torch.bool)


def _holds(square, px):
    low, high = square[..., None, :2], square[..., None, :2] + square[..., None, 2:] - 1
    return ((px >= low) & (px <= high)).all(-1)


def test_boxes_hold_all_points_by_the_margin(scene):
    cameras, px, mask = scene
    result = find_boxes(blobs(px, 0.8), STRIDE, cameras, mask, margin=1.5)
    assert result.visible.all()
    assert _holds(result.square, px).all()
    extent = (px.amax(2) - px.amin(2)).amax(-1) + 1
    torch.testing.assert_close(result.square[..., 2], 1.5 * extent, atol=1.5, rtol=0)
    centre = result.square[..., :2] + (result.square[..., 2:] - 1) / 2
    torch.testing.assert_close(centre, (px.amax(2) + px.amin(2)) / 2, atol=0.7, rtol=0)
    assert float(result.score.min()) > 0.6


def test_a_view_that_fails_is_boxed_by_the_others(scene):
    cameras, px, mask = scene
    clean = find_boxes(blobs(px), STRIDE, cameras, mask)
    logits = blobs(px)
    logits[:, 2] = 0
    result = find_boxes(logits, STRIDE, cameras, mask)
    assert result.visible.all()
    torch.testing.assert_close(result.square[:, 2], clean.square[:, 2], atol=1.0, rtol=0)
    assert _holds(result.square, px).all()


def test_two_views_that_agree_on_few_points_box_what_each_sees(scene):
    cameras, _, mask = scene
    mask[:, 2:] = False
    px, _, _ = cameras.project(24 * torch.rand(2, 12, 3) - 12)
    # Four points in common; of the others each view hides its half.
    logits = blobs(px)
    logits[:, 0, 4:8] = logits[:, 1, 8:] = 0
    result = find_boxes(logits, STRIDE, cameras, mask)
    for view, hidden in enumerate((range(4, 8), range(8, 12))):
        seen = [k for k in range(12) if k not in hidden]
        assert _holds(result.square[:, view : view + 1], px[:, view : view + 1, seen]).all()


def test_a_view_that_looks_elsewhere_has_no_box(scene):
    cameras, px, mask = scene
    aside = axis_angle_to_rotmat(torch.tensor([0.0, 0.6, 0.0]))
    R, t = cameras.R.clone(), cameras.t.clone()
    R[:, 3], t[:, 3] = aside @ R[:, 3], t[:, 3] @ aside.T
    cameras = replace(cameras, R=R, t=t)
    logits = blobs(px)
    logits[:, 3] = torch.randn(2, 9, CELLS, CELLS)
    mask[0, 1] = False
    result = find_boxes(logits, STRIDE, cameras, mask)
    assert result.visible.tolist() == [[True, False, True, False], [True, True, True, False]]
    assert result.square[1, 3].tolist() == [0.0, 0.0, PIXELS]
    assert float(result.score[:, 3].abs().max()) == 0


def test_one_view_takes_its_own_peaks_and_no_stray(scene):
    cameras, px, mask = scene
    mask[:, 1:] = False
    stray = px.clone()
    stray[:, 0, 4] = torch.tensor([4.0, 124.0])
    rest = [0, 1, 2, 3, 5, 6, 7, 8]
    result = find_boxes(blobs(stray), STRIDE, cameras, mask)
    expected = find_boxes(blobs(px[:, :, rest]), STRIDE, cameras, mask)
    assert result.visible.tolist() == [[True, False, False, False]] * 2
    torch.testing.assert_close(result.square[:, 0], expected.square[:, 0], atol=0.1, rtol=0)
    nothing = find_boxes(torch.randn(2, 4, 9, CELLS, CELLS), STRIDE, cameras, mask)
    assert not nothing.visible.any()


def test_several_animals_have_boxes_of_their_own():
    cameras = make_cameras(4)
    animals = 3 * torch.randn(2, 1, 9, 3) + torch.tensor([[[[22.0, 10.0, 0.0]]], [[[-20.0, -12.0, 0.0]]]])
    px = torch.stack([cameras.project(animal)[0][0] for animal in animals])
    logits = (blobs(px[0]).exp() + blobs(px[1]).exp()).log()
    seen = torch.ones(2, 4, dtype=torch.bool)
    parts = part_by_nearest(logits, STRIDE, px.mean(2), seen)
    both = cameras.map(lambda x: x.expand(2, *x.shape[1:]))
    result = find_boxes(parts, STRIDE, both, seen)
    alone = torch.stack([find_boxes(blobs(p[None]), STRIDE, cameras, seen[:1]).square[0] for p in px])
    torch.testing.assert_close(result.square, alone, atol=0.5, rtol=0)
    seen[1, 2] = False
    hidden = part_by_nearest(logits, STRIDE, px.mean(2), seen)
    assert float(hidden[1, 2].abs().max()) == 0
    assert torch.equal(hidden[0, 2], logits[2])


def test_a_second_look_is_taken_at_the_first_ones_boxes(scene):
    """Images of 256 px that a look shows at half the size, and one view that sees nothing of one animal."""
    cameras, px, mask = scene
    twice = torch.tensor([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]).expand(2, 4, 2, 3)
    whole = torch.tensor([0.0, 0.0, 2.0 * PIXELS]).expand(2, 4, 3)
    to_crop = torch.tensor([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25]]).expand(2, 4, 2, 3)
    looks = []

    def look(boxes, view_mask):
        looks.append((boxes, view_mask))
        points = MeetInSpace()(logits, STRIDE, cameras, view_mask, 420.0)
        return SimpleNamespace(points=points, cameras=cameras, to_crop=to_crop)

    logits = blobs(px)
    OwnBoxes(margin=1.2)(look, whole, mask)
    assert torch.equal(looks[0][0], whole)
    stored = px @ twice[0, 0, :, :2].T + twice[0, 0, :, 2]
    assert _holds(looks[1][0], stored).all()
    small = find_boxes(logits, STRIDE, cameras, mask, margin=1.2).square
    torch.testing.assert_close(looks[1][0][..., 2], 2 * small[..., 2])
    assert looks[1][1].all()
    logits = torch.randn(logits.shape)
    OwnBoxes()(look, whole, mask)
    assert torch.equal(looks[3][0], whole)
    assert looks[3][1].all()
    GivenBoxes()(look, whole, mask)
    assert torch.equal(looks[4][0], whole)
    assert len(looks) == 5
    with pytest.raises(ValueError, match='margin must be at least 1'):
        OwnBoxes(margin=0.5)
