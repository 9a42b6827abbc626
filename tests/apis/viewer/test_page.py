"""The page in a real browser, and the command that serves it."""

import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from smilfit.apis.viewer import ViewerServer, open_scene
from smilfit.cli.fitting import view
from tests.apis.viewer.conftest import DOUBTED, SESSION

viser = pytest.importorskip('viser', reason='the extra "view" is not installed')
headless = pytest.importorskip('tests.apis.viewer.headless')
# What the libraries of the server warn of when a browser goes away.
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::ResourceWarning')


@pytest.fixture
def browser(tmp_path):
    if headless.find_chromium() is None:
        pytest.skip(f'no browser is here: none of {", ".join(headless.NAMES)}')
    return lambda url: headless.Page(url, tmp_path)


def coloured(picture: np.ndarray) -> int:
    """Count px of the scene (left of the panel, below the head) that are neither white nor grey."""
    scene = picture[200:, :850].astype(int)
    return int((np.ptp(scene, axis=-1) > 40).sum())


def test_a_fit_is_seen_and_moves_and_nothing_is_wrong(made, browser):
    with ViewerServer(open_scene(made / 'fit'), port=0) as viewer, browser(viewer.url) as page:
        headless.wait_until(lambda: bool(viewer.server.get_clients()), 60, 'the page')
        headless.wait_until(lambda: coloured(page.screenshot()) > 500, 60, 'the animal')
        assert page.evaluate("document.querySelectorAll('canvas').length") >= 1
        first = page.screenshot()
        viewer.page.slider.value = DOUBTED
        headless.wait_until(lambda: viewer.page.row == DOUBTED, 20, 'the frame')
        text = "document.body.innerText.includes('doubtful: a bone is long')"
        headless.wait_until(lambda: page.evaluate(text), 20, 'the reason')
        assert (page.screenshot() != first).any()
        # Loaded again it shows what it showed.
        page.send('Page.reload')
        headless.wait_until(lambda: page.evaluate(text), 60, 'the reason after a reload')
        headless.wait_until(lambda: coloured(page.screenshot()) > 500, 60, 'the animal after a reload')
        assert page.errors == []


def test_a_model_is_seen_with_its_weights(browser):
    with ViewerServer(open_scene('quadruped'), port=0) as viewer, browser(viewer.url) as page:
        headless.wait_until(lambda: bool(viewer.server.get_clients()), 60, 'the page')
        headless.wait_until(lambda: coloured(page.screenshot()) > 500, 60, 'the animal')
        before = viewer.page._mesh.vertices.copy()
        viewer.page.betas[0].value = 2.0
        headless.wait_until(
            lambda: not np.array_equal(viewer.page._mesh.vertices, before), 20, 'another shape'
        )
        viewer.page.show_weights.value = True
        headless.wait_until(lambda: type(viewer.page._mesh).__name__ == 'GlbHandle', 20, 'colours')
        assert page.errors == []


def test_points_without_cameras_are_seen(points, browser):
    with ViewerServer(open_scene(points / 'run.h5'), port=0) as viewer, browser(viewer.url) as page:
        headless.wait_until(lambda: bool(viewer.server.get_clients()), 60, 'the page')
        headless.wait_until(lambda: coloured(page.screenshot()) > 50, 60, 'the points')
        viewer.page.slider.value = 2
        headless.wait_until(lambda: viewer.page.row == 2, 20, 'the frame')
        assert page.errors == []


def test_every_box_can_be_switched(made):
    with ViewerServer(open_scene(made / 'fit'), port=0) as viewer:
        page = viewer.page
        boxes = (
            page.show_mesh,
            page.show_cameras,
            page.show_images,
            page.show_names,
            *page.show_points.values(),
        )
        for box in boxes:
            box.value = not box.value
        page.look_from.value = viewer.scene.cameras.names[1]
        page.draw(2)
        assert not page._mesh.visible
        assert len(page._labels) == 0 or page.show_names.value
        assert viewer.tunnel.startswith(f'ssh -L {viewer.port}:127.0.0.1:{viewer.port} ')


def test_the_command_serves_until_it_is_stopped(made):
    command = [sys.executable, '-m', 'smilfit.cli.main', 'view', str(made / 'fit' / SESSION), '--port', '0']
    # A shell's background jobs, and with them all that they start, are deaf to SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            url = lines[1].split()[1]
            with urllib.request.urlopen(url) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert ' frames; 3 cameras; ' in lines[0]
    assert lines[2].startswith('from another machine: ssh -L')
    assert process.returncode == 130
    assert errors.strip() == view.STOPPED


def test_what_is_missing_is_a_sentence(monkeypatch, capsys):
    assert view.main(['nowhere']) == 1
    assert 'nowhere: the path must be there' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, 'viser', None)
    assert view.main(['nowhere']) == 1
    assert "pip install 'smilfit[view]'" in capsys.readouterr().err
