"""The painter lays bodies where they project, says what its colours mean, and leaves the rest alone."""

import numpy as np
import pytest
import torch

from smilfit.drawing import OverlayPainter, Panel, ShownBody, View, enlarge, grid_of_views, look
from smilfit.drawing.marks import ANNOTATED, BODY, FITTED, MARKS, START_BODY
from smilfit.structures import Cameras

SQUARE = torch.tensor([[-0.1, -0.1, 1.0], [0.1, -0.1, 1.0], [0.1, 0.1, 1.0], [-0.1, 0.1, 1.0]])
PAINTER = OverlayPainter(torch.tensor([[0, 1, 2], [0, 2, 3]]))
NOWHERE = np.full((1, 2), np.nan)


def camera(width=80, height=60, names=('one',)):
    K = torch.tensor([[[100.0, 0, 40], [0, 100, 30], [0, 0, 1]]]).double().expand(len(names), 3, 3)
    R, t = torch.eye(3).double().expand_as(K), torch.zeros(len(names), 3).double()
    return Cameras(names, K, R, t, torch.tensor([[width, height]]).double().expand(len(names), 2))


def grey(height=60, width=80):
    return np.full((height, width, 3), 100, np.uint8)


def view(image=None):
    return View(grey() if image is None else image, camera(), np.eye(2, 3))


def tile(**parts):
    """One tile without its label, which would be in the way."""
    return PAINTER.tile(Panel(**{'label': '', 'view': view(), 'annotated': NOWHERE} | parts))


def has(image, mark):
    return bool((image == mark.colour).all(-1).any())


@pytest.mark.parametrize('surface', [BODY, START_BODY])
def test_a_mesh_covers_the_pixels_where_it_projects_and_no_others(surface):
    drawn = tile(body=ShownBody(SQUARE, NOWHERE, surface))
    changed = (drawn != 100).any(-1)
    assert changed[21:40, 31:50].all()  # x 30..50, y 20..40 px
    outside = np.ones((60, 80), bool)
    outside[19:42, 29:52] = False
    assert not changed[outside].any()
    # Seen from the front, the square is as bright as its colour.
    np.testing.assert_allclose(drawn[30, 40], 0.4 * 100 + 0.6 * np.array(surface.colour), atol=2)


def test_nothing_to_draw_leaves_the_image_alone():
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    before = noise.copy()
    far = np.array([[np.nan, 5.0], [1e9, 0.0], [np.inf, 0.0]])
    lost = ShownBody(SQUARE * torch.nan, far)
    assert (tile(view=view(noise), annotated=far, body=lost) == before).all()
    behind = ShownBody(SQUARE * -1, far)
    assert (tile(view=view(noise), body=behind) == before).all()
    drawn = tile(view=view(noise), annotated=np.array([[70.0, 50.0]]), body=ShownBody(SQUARE, NOWHERE))
    assert (noise == before).all()
    assert (drawn[:18] == before[:18]).all()
    assert (drawn[:, :28] == before[:, :28]).all()


def test_marks_of_many_keypoints_are_smaller_and_do_not_change_with_what_is_seen():
    def drawn(n):
        xy = np.full((n, 2), np.nan)
        xy[0] = 20.0, 10.0
        return (tile(annotated=xy) != 100).any(-1).sum()

    assert drawn(1) == drawn(24) > drawn(49) >= drawn(200) > 0


def test_points_and_masks_have_their_own_colours():
    xy = np.array([[20.0, 10.0]])
    fitted = tile(body=ShownBody(SQUARE * torch.nan, xy))
    assert has(fitted, FITTED)
    assert not has(fitted, ANNOTATED)
    both = tile(annotated=xy, body=ShownBody(SQUARE * torch.nan, xy))
    assert tuple(both[10, 20]) == ANNOTATED.colour
    assert has(both, FITTED)
    mask = np.zeros((60, 80), bool)
    mask[20:41, 30:51] = True
    outlined = tile(mask=mask)
    assert has(outlined[19:22, 32:48], ANNOTATED)
    assert (outlined[25:36, 35:46] == 100).all()
    assert (outlined[:17] == 100).all()


def test_every_overlay_has_a_legend_below_of_what_it_may_show():
    plain = Panel('annotated', view(), NOWHERE)
    end = Panel('fit', view(), NOWHERE, body=ShownBody(SQUARE, NOWHERE))
    start = Panel('start', view(), NOWHERE, body=ShownBody(SQUARE, NOWHERE, START_BODY))
    for panels, marks in (
        ([plain], [ANNOTATED]),
        ([plain, end], [ANNOTATED, FITTED, BODY]),
        ([plain, start, end], list(MARKS)),
    ):
        sheet = PAINTER.draw(panels, columns=len(panels))
        assert sheet.shape[1] == 80 * len(panels)
        legend = sheet[60:]
        assert [mark for mark in MARKS if has(legend, mark)] == marks
    # All frames of a video have one size and legend, whatever one of them shows.
    lost = Panel('fit', view(), NOWHERE, body=ShownBody(SQUARE * torch.nan, NOWHERE))
    assert (PAINTER.draw([lost])[60:] == PAINTER.draw([end])[60:]).all()


def test_a_view_moves_points_as_its_camera_does():
    points = torch.tensor([[[0.1, -0.05, 1.2], [-0.2, 0.1, 0.9]]]).double()
    behind = camera().project(points)[0][0, 0].numpy()
    for shown in (enlarge(grey(), camera(), 200), view()):
        np.testing.assert_allclose(
            shown.shown(behind), shown.camera.project(points)[0][0, 0].numpy(), atol=1e-9
        )
    assert enlarge(grey(), camera(), 200).image.shape == (150, 200, 3)
    with pytest.raises(ValueError, match='there must be one camera; got 2'):
        View(grey(), camera(names=('one', 'two')), np.eye(2, 3))


def test_a_window_shows_its_part_and_black_outside():
    image = grey()
    image[30, 40] = 255
    through = look(image, np.array([[1.0, 0.0, -30.0], [0.0, 1.0, -20.0]]), (64, 20))
    assert through.shape == (20, 64, 3)
    assert (through[10, 10] == 255).all()
    assert (through[:, 51:] == 0).all()


def test_the_grid_holds_every_view_unstretched():
    tall = np.full((60, 20, 3), 7, np.uint8)
    grid = grid_of_views([grey(), grey(), tall])
    assert grid.shape == (120, 160, 3)
    assert (grid[:60] == 100).all()
    assert (grid[60:, 30:50] == 7).all()
    assert (grid[60:, :30] == 0).all()
    assert grid_of_views([grey(), grey(30, 40)], columns=1).shape == (120, 80, 3)
    with pytest.raises(ValueError, match='at least one image; got none'):
        grid_of_views([])
