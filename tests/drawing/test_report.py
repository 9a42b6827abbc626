"""The page holds what was put in, asks the network for nothing and runs no text as markup."""

import base64
import html
import re

import cv2
import numpy as np
import pytest

from smilfit.drawing import Report, figure_png, write_video
from smilfit.drawing.marks import FIT_MARKS, MARKS, START_BODY
from smilfit.drawing.plots import new_axes

EVIL = '<script>alert("x")</script> & \'y\''


def noise_image(height=24, width=32):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def images(page):
    result = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(d), np.uint8), cv2.IMREAD_COLOR) for _, d in result]


def test_links_lead_from_where_the_page_lies(tmp_path):
    (tmp_path / 'a session').mkdir()
    (tmp_path / 'a session' / 'v.mp4').write_bytes(b'no codec')
    page = Report('t', folder=tmp_path).add_video(tmp_path / 'a session' / 'v.mp4').html()
    assert 'href="a%20session/v.mp4"' in page


def test_the_legend_has_every_colour_and_word():
    page = html.unescape(Report('t').add_legend().html())
    for mark in MARKS:
        assert f'{mark.hex}"></i>{mark.word}</span>' in page
    assert START_BODY.hex not in Report('t').add_legend(FIT_MARKS).html()


def test_every_text_is_escaped(tmp_path):
    report = Report(EVIL, EVIL).add_section(EVIL, EVIL).add_numbers([(EVIL, EVIL, EVIL)])
    report.add_table([{EVIL: EVIL, 'n': 1.5}], EVIL).add_figure(noise_image(), EVIL).add_link(EVIL, EVIL)
    (tmp_path / 'v<b>.mp4').write_bytes(b'no codec')
    report.add_video(tmp_path / 'v<b>.mp4', EVIL)
    page = report.html()
    assert '<script' not in page
    assert '<b>' not in page
    assert 'alert("x")' not in page
    assert page.count('&lt;script&gt;') >= 10


def test_the_page_needs_nothing_outside(tmp_path):
    page = Report('t').add_section('a').add_figure(noise_image()).add_section('b').html()
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == []
    assert 'http' not in page.replace('http-equiv', '')
    assert "default-src 'none'" in page


def test_figures_of_every_kind_are_inside_at_full_size(tmp_path):
    figure, axes = new_axes('title', 'x', 'y', 2.0, 1.0)
    axes.plot([0, 1], [0, 1])
    png = figure_png(figure, dpi=100)
    (tmp_path / 'f.png').write_bytes(png)
    report = Report('t').add_figure(png).add_figure(tmp_path / 'f.png').add_figure(figure)
    report.add_images([noise_image(), noise_image(48, 64)], ['one', 'two'])
    result = images(report.save(tmp_path / 'deep' / 'r.html').read_text(encoding='utf-8'))
    assert [image.shape[:2] for image in result] == [(100, 200), (100, 200), (130, 260), (24, 32), (48, 64)]
    assert not list((tmp_path / 'deep').glob('*.tmp'))


def test_colours_are_not_swapped():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    blue, green, shown_red = images(Report('t').add_figure(red).html())[0].mean((0, 1))
    assert shown_red > 200 > 50 > max(blue, green)


def test_videos_that_browsers_play_are_embedded_and_others_linked(tmp_path):
    write_video(tmp_path / 'quick.mp4', [noise_image(32, 32)] * 3, 10)
    write_video(tmp_path / 'browser.mp4', [noise_image(32, 32)] * 3, 10, codec='vp09')
    page = Report('t').add_video(tmp_path / 'quick.mp4').add_video(tmp_path / 'browser.mp4').html()
    assert page.count('<video') == 1
    assert 'href="quick.mp4"' in page


def test_bad_parts_are_named():
    with pytest.raises(ValueError, match=r"must have the columns \['a'\]; got \['b'\]"):
        Report('t').add_table([{'a': 1}, {'b': 2}])
    with pytest.raises(ValueError, match='an image must be PNG or JPEG'):
        Report('t').add_figure(b'GIF89a--')
    with pytest.raises(ValueError, match=r'must be RGB uint8 \(H, W, 3\); got float64'):
        Report('t').add_figure(np.zeros((4, 4, 3)))


def test_an_empty_table_says_so():
    assert 'Cameras: nothing to show.' in Report('t').add_table([], 'Cameras').html()
