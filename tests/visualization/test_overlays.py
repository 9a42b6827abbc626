"""Marks are where they belong, and the caller's picture stays as it was."""

import numpy as np
import pytest
import torch

from smilfit.renderers import ZBufferRenderer
from smilfit.structures import Cameras
from smilfit.visualization import (
    box_around,
    cut,
    draw_keypoints,
    draw_label,
    draw_legend,
    draw_mesh,
    grid_of_views,
)


def camera(width=80, height=60):
    K = torch.tensor([[[100.0, 0, 40], [0, 100, 30], [0, 0, 1]]])
    return Cameras(
        ('one',), K, torch.eye(3)[None], torch.zeros(1, 3), torch.tensor([[width, height]]).float()
    )


def grey(height=60, width=80):
    return np.full((height, width, 3), 100, np.uint8)


def test_a_keypoint_is_drawn_at_its_pixel_and_nowhere_else():
    before = grey()
    xy = np.array([[20.0, 10.0], [60.0, 40.0], [np.nan, 5.0], [1e9, 0.0]])
    seen = np.array([True, False, True, True])
    drawn = draw_keypoints(before, xy, seen, [(0, 1), (0, 2)], colour=(0, 200, 0))
    assert tuple(drawn[10, 20]) == (0, 200, 0)
    changed = np.argwhere((drawn != 100).any(-1))
    assert np.abs(changed - [10, 20]).max() <= 4
    np.testing.assert_allclose(changed.mean(0), [10, 20], atol=0.2)  # no half pixel off
    assert (before == 100).all()


def test_a_bone_joins_its_ends():
    drawn = draw_keypoints(grey(), np.array([[10.0, 30.0], [70.0, 30.0]]), np.array([True, True]), [(0, 1)])
    assert (drawn[30, 15:66] != 100).any(-1).all()


def test_texts_stay_inside_and_change_the_picture():
    for drawn in (
        draw_label(grey(120, 160), 'camera back'),
        draw_legend(grey(120, 160), [('seen', (0, 255, 0)), ('fitted', (255, 0, 0))]),
        draw_keypoints(grey(120, 160), np.array([[159.0, 0.0]]), np.array([True]), names=['a long name Ω']),
    ):
        assert drawn.shape == (120, 160, 3)
        assert (drawn > 200).any()


def test_a_mesh_covers_the_pixels_where_it_projects():
    square = torch.tensor([[-0.1, -0.1, 1.0], [0.1, -0.1, 1.0], [0.1, 0.1, 1.0], [-0.1, 0.1, 1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    drawn = draw_mesh(grey(), square, faces, camera(), ZBufferRenderer(), colour=(0, 0, 255), opacity=1)
    changed = (drawn != 100).any(-1)
    assert changed[21:40, 31:50].all()  # x 30..50, y 20..40 px
    assert not changed[:19].any()
    assert not changed[:, :29].any()
    assert not changed[42:].any()
    assert not changed[:, 52:].any()
    assert drawn[30, 40, 2] > 150
    assert drawn[30, 40, 0] == 0
    half = draw_mesh(grey(), square, faces, camera(), ZBufferRenderer(), colour=(0, 0, 255), opacity=0.5)
    assert half[30, 40, 0] == 50


def test_a_camera_of_another_size_is_refused():
    with pytest.raises(ValueError, match='with the picture of 80 x 60 px; got 1 of 40 x 60 px'):
        draw_mesh(grey(), torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), camera(40), ZBufferRenderer())


def test_the_grid_holds_every_view_unstretched():
    tall = np.full((60, 20, 3), 7, np.uint8)
    grid = grid_of_views([grey(), grey(), tall])
    assert grid.shape == (120, 160, 3)
    assert (grid[:60] == 100).all()
    assert (grid[60:, 30:50] == 7).all()
    assert (grid[60:, :30] == 0).all()
    small = grid_of_views([grey(), grey()], columns=1, cell=(40, 40))
    assert small.shape == (80, 40, 3)
    assert (small[5:35] == 100).all()
    with pytest.raises(ValueError, match='at least one picture; got none'):
        grid_of_views([])


def test_the_box_holds_every_point_and_stays_inside():
    xy = np.array(
        [[[30.0, 20.0], [50.0, 25.0]], [[78.0, 21.0], [np.nan, 0.0]], [[-500.0, 0.0], [40.0, 30.0]]]
    )
    seen = np.array([[True, True], [True, True], [False, True]])
    left, top, right, bottom = box = box_around(xy, seen, (80, 60))
    assert left <= 30 - 16
    assert (top, right) == (3, 80)
    assert bottom >= 30
    assert cut(grey(), box).shape == (bottom - top, right - left, 3)
    with pytest.raises(ValueError, match='at least one seen point; got none'):
        box_around(xy, np.zeros((3, 2), bool), (80, 60))
    with pytest.raises(ValueError, match='must lie in the picture of 80 x 60 px'):
        box_around(np.array([[500.0, 500.0]]), np.array([True]), (80, 60))
