"""Crops on batches: labels move with what they label, through any combination of changes."""

import pytest
import torch

from smilfit.body_models.sides import mirrored_order, names_of_other_side
from smilfit.networks import CropAugment, ImageNoise
from smilfit.networks.keypoints.batch_crops import (
    _averaged,
    _sampled,
    box_affine,
    compose_affine,
    cut,
    invert_affine,
    map_px,
    point_boxes,
    whole_boxes,
)
from smilfit.networks.keypoints.crop_augment import swap_where

NAMES = ('nose', 'paw_L', 'paw_R', 'tail')
SWAP = torch.tensor([0, 2, 1, 3])
QUIET = dict(brightness=0, contrast=0, noise=0, blur=0, erase=0)


def dots(px: torch.Tensor, side: int = 96, sigma: float = 2.5) -> torch.Tensor:
    """Draw each image's first three keypoints as blobs in red, green and blue."""
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing='xy'), -1).float()
    return torch.exp(-0.5 * (grid - px[:, :3, None, None]).square().sum(-1) / sigma**2)


def centroids(images: torch.Tensor) -> torch.Tensor:
    grid = torch.arange(images.shape[-1]).float()
    mass = images.sum((-1, -2))
    x, y = ((images.sum(d) * grid).sum(-1) / mass for d in (-2, -1))
    return torch.stack((x, y), -1)


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    px = 30 + 36 * torch.rand(24, 4, 2)
    return dots(px), px, torch.ones(24, 4)


def test_dots_move_with_their_labels_through_any_combination_and_left_becomes_right(scene):
    images, px, weight = scene
    augment = CropAugment(64, margin=1.8, zoom=0.3, whole=0.3, noise=ImageNoise(**QUIET))
    batch = augment(images, px, weight, SWAP)
    assert batch.mirrored.any()
    assert not batch.mirrored.all()
    # Channels keep their colours in a mirror, names do not: the point at the red dot is still called nose.
    result = centroids(batch.images)
    expected = swap_where(batch.mirrored, batch.px, SWAP)[:, :3]
    clear = ((expected > 12) & (expected < 51)).all(-1)
    assert clear.float().mean() > 0.4
    assert (result - expected)[clear].norm(dim=-1).max() < 0.25
    torch.testing.assert_close(batch.to_stored(batch.px, SWAP), px, atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_crops(scene):
    augment = CropAugment(48)
    torch.manual_seed(1)
    first = augment(*scene, SWAP)
    torch.manual_seed(1)
    second = augment(*scene, SWAP)
    third = augment(*scene, SWAP)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.px, second.px)
    assert not torch.equal(first.px, third.px)


def test_a_whole_box_of_the_same_size_gives_the_image_back():
    images = torch.rand(2, 3, 32, 32)
    boxes = whole_boxes(2, (32, 32), images)
    assert boxes.tolist() == [[0, 0, 32]] * 2
    torch.testing.assert_close(cut(images, box_affine(boxes, 32), 32), images, atol=1e-5, rtol=0)
    part = cut(images, box_affine(torch.tensor([[4.0, 6.0, 16.0]] * 2), 16), 16)
    torch.testing.assert_close(part, images[..., 6:22, 4:20], atol=1e-5, rtol=0)


def test_what_shrinks_is_averaged_and_not_picked():
    board = (torch.arange(128) % 2).float()
    images = (board[:, None] + board).remainder(2).expand(1, 3, 128, 128)
    small = cut(images, box_affine(whole_boxes(1, (128, 128), images), 32), 32)
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=1e-5, rtol=0)


@pytest.mark.parametrize('shrink', [1, 2, 3, 5, 8])
def test_shrinking_keeps_places(shrink):
    px = torch.tensor([[[60.0, 81.0], [130.0, 40.0], [150.0, 151.0]]])
    affine = box_affine(whole_boxes(1, (192, 192), px), 192 // shrink)
    small = cut(dots(px, 192, 6.0), affine, 192 // shrink)
    torch.testing.assert_close(centroids(small), map_px(affine, px), atol=0.05, rtol=0)


def test_images_that_shrink_alike_are_cut_together_as_each_by_itself():
    """The way of a CPU, level by level, against that of a GPU, on one canvas."""
    torch.manual_seed(1)
    images = torch.rand(5, 3, 50, 61)
    boxes = torch.tensor([[0.0, 0, 16], [5, 3, 40], [-4, -6, 61], [0, 0, 61], [20, 10, 30]])
    affine = box_affine(boxes, 16)
    level = torch.tensor([0.0, 1, 2, 2, 1])
    canvas = _sampled(_averaged(images, level), invert_affine(affine), 2.0**level, 16)
    torch.testing.assert_close(cut(images, affine, 16), canvas)


def test_a_box_that_is_none_gives_no_numbers_and_leaves_the_others():
    images, boxes = torch.rand(2, 3, 40, 40), torch.tensor([[0.0, 0, 20], [torch.nan, 0, torch.nan]])
    result = cut(images, box_affine(boxes, 16), 16)
    assert bool(result[1].isnan().all())
    assert torch.equal(result[:1], cut(images[:1], box_affine(boxes[:1], 16), 16))


def test_affine_maps_compose_and_invert():
    first, second = torch.randn(2, 5, 2, 3).double().unbind(0)
    px = torch.randn(5, 7, 2).double()
    torch.testing.assert_close(map_px(compose_affine(second, first), px), map_px(second, map_px(first, px)))
    torch.testing.assert_close(map_px(invert_affine(first), map_px(first, px)), px)


def test_boxes_hold_the_known_points_and_are_the_whole_image_where_none_is_known():
    px = torch.tensor([[[10.0, 20.0], [30.0, 50.0], [1e6, 0.0]]] * 2)
    weight = torch.tensor([[1.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    boxes = point_boxes(px, weight, (64, 80), 1.0)
    assert boxes[0].tolist() == [5.0, 20.0, 31.0]
    assert boxes[1].tolist() == [0.0, -8.0, 80.0]


def test_points_that_leave_the_crop_have_no_weight(scene):
    batch = CropAugment(32, margin=1.0, shift=0.5)(*scene, SWAP)
    outside = ((batch.px < -0.5) | (batch.px > 31.5)).any(-1)
    assert outside.any()
    assert torch.equal(batch.weight == 0, outside)


def test_light_noise_and_holes_keep_images_in_range_and_differ_by_image():
    images = torch.full((6, 3, 24, 24), 0.5)
    noisy = ImageNoise(blur=1.0, erase=1.0)(images)
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert len({round(float(x), 5) for x in noisy.mean((1, 2, 3))}) == 6
    assert torch.equal(ImageNoise(**QUIET)(images), images)


def test_left_and_right_come_from_names_and_must_be_whole():
    assert mirrored_order(NAMES) == (0, 2, 1, 3)
    assert names_of_other_side('LeftEar') == ('RightEar',)
    assert names_of_other_side('paw_R') == ('paw_L',)
    assert mirrored_order(('leg_L1_tip', 'leg_R1_tip', 'LeftEar', 'RightEar', 'tail')) == (1, 0, 3, 2, 4)
    with pytest.raises(ValueError, match="'paw_L' has none of 'paw_R'"):
        mirrored_order(('nose', 'paw_L'))


def test_mirrored_images_need_the_order_and_options_must_be_in_range(scene):
    with pytest.raises(ValueError, match='swap is None'):
        CropAugment(32)(*scene)
    with pytest.raises(ValueError, match='mirror must be from 0 to 1'):
        CropAugment(32, mirror=2)
    with pytest.raises(ValueError, match='erase must be from 0 to 1'):
        ImageNoise(erase=-1)
