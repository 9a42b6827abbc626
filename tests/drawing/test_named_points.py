"""Named points over images and over a model: every one in its place, no label over another."""

import numpy as np
import pytest

from smilfit.drawing.lookup_page import lookup_page
from smilfit.drawing.named_points import (
    NamedPoint,
    Side,
    _camera,
    _pixels,
    _spread,
    crop_around,
    model_views,
    plot_named_points,
)
from smilfit.io.lookup_proposals import body_axes, propose_lookup
from smilfit.synthetic import make_quadruped


def test_labels_keep_their_order_and_distance():
    wanted = np.array([50.0, 10.0, 11.0, 12.0, 98.0, 99.0])
    places = _spread(wanted, 8.0, 0.0, 100.0)
    assert (np.argsort(places) == np.argsort(wanted)).all()
    assert np.diff(np.sort(places)).min() >= 8.0 - 1e-9
    assert places.min() >= 0
    assert places.max() <= 100
    assert places[0] == 50.0


def test_a_model_is_seen_from_the_side_that_is_named():
    body = make_quadruped()
    axes = body_axes(body)
    centre = (body.v_template.min(0) + body.v_template.max(0)) / 2
    camera = _camera(body.v_template, centre, Side(axes.left, axes.up))
    pixels = _pixels(camera, body.v_template)
    width, height = camera.size[0].tolist()
    assert ((pixels > 0) & (pixels < (width, height))).all()
    nose, tail, back, paw = (
        pixels[i]
        for i in (
            body.v_template[:, 0].argmax(),
            body.v_template[:, 0].argmin(),
            body.v_template[:, 2].argmax(),
            body.v_template[:, 2].argmin(),
        )
    )
    # From its left, an animal looks to the left of the image and stands upright.
    assert nose[0] < tail[0]
    assert back[1] < paw[1]


def test_points_of_the_far_half_are_left_out_where_asked():
    body = make_quadruped()
    axes = body_axes(body)
    points = [NamedPoint('near', (0.0, 0.1, 0.0)), NamedPoint('far', (0.0, -0.1, 0.0))]
    sides = {'one': Side(axes.left, axes.up, near_half=True), 'both': Side(axes.left, axes.up)}
    figures = model_views(body.v_template, body.faces, points, sides)
    names = {title: {t.get_text() for t in figure.axes[0].texts} for title, figure in figures.items()}
    assert names == {'one': {'near'}, 'both': {'near', 'far'}}


def test_points_that_something_hides_are_left_out_where_asked():
    body = make_quadruped()
    axes = body_axes(body)
    tail = tuple(body.joints[body.joint_names.index('tail_1')].tolist())
    nose = tuple(body.v_template[body.v_template[:, 0].argmax()].tolist())
    points = [NamedPoint('nose', nose), NamedPoint('tail base', tail)]
    sides = {'front': Side(axes.forward, axes.up, near_half=True), 'whole': Side(axes.forward, axes.up)}
    figures = model_views(body.v_template, body.faces, points, sides)
    names = {title: {t.get_text() for t in figure.axes[0].texts} for title, figure in figures.items()}
    assert names == {'front': {'nose'}, 'whole': {'nose', 'tail base'}}


def test_points_go_along_with_the_cut():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20, 30] = image[40, 50] = 255
    xy = np.array([[30.0, 20.0], [50.0, 40.0], [np.nan, np.nan]])
    cut, moved = crop_around(image, xy, 112)
    for x, y in np.rint(moved[:2]).astype(int):
        assert cut[y, x].min() > 100
    assert np.isnan(moved[2]).all()
    figure = plot_named_points(cut, moved, ('a', '$b', 'c'))
    assert [t.get_text() for t in figure.axes[0].texts] == ['a', r'\$b']


@pytest.mark.parametrize('names', [[], ['nose', 'left_shoulder', 'spleen']])
def test_the_page_names_what_has_no_place(names):
    body = make_quadruped()
    axes = body_axes(body)
    html = lookup_page(body, axes, propose_lookup(body, names, axes), {}).html()
    assert ('Without a place: spleen.' in html) == bool(names)
    assert 'All joints of the model' in html
    assert 'Keypoint set sleap' in html
