"""A page is nobody's who has not its whole address, and writes beside its model alone."""

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smilfit.body_models import load_body_model_data, save_body_model
from smilfit.cli.main import main

pytest.importorskip('viser')

from smilfit.apis.viewer.model_scene import ModelScene
from smilfit.apis.viewer.server import ViewerServer
from smilfit.rigs.model_editor import open_editor
from tests.hostile.hostile_pages import (
    BAD_NAMES,
    Visitor,
    enter,
    saved_as,
    scene_names,
    set_control,
    strangers,
    wait_for,
)


def files(folder: Path) -> set[Path]:
    return set(folder.rglob('*'))


@pytest.fixture(scope='module')
def served(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """An editor of `model/ant.smil.json`, what it wrote, and a page of its own."""
    folder = tmp_path_factory.mktemp('border')
    home = folder / 'model'
    home.mkdir()
    file = save_body_model(load_body_model_data('insect'), home / 'ant.smil.json')
    (home / 'link.smil.json').symlink_to(folder / 'planted.smil.json')
    written: list[Path] = []
    with ViewerServer(open_editor(file), port=0, written=written.append) as viewer:
        own = Visitor(viewer.url, origin=viewer.url.rpartition('/')[0].rpartition('/')[0])
        with own.socket() as opened:
            enter(opened)
            assert '/body' in scene_names(opened)
            yield SimpleNamespace(
                folder=folder,
                home=home,
                viewer=viewer,
                own=own,
                opened=opened,
                page=viewer.page,
                written=written,
            )


def test_who_has_the_address_gets_the_page(served):
    status, content = served.own.page()
    assert status == 200
    assert b'<html' in content
    assert len(served.viewer.url.split('/')[3]) >= 22  # 128 bits or more


def test_the_code_is_new_each_time(served):
    with ViewerServer(ModelScene(served.viewer.scene.body, 'x'), port=0) as other:
        assert other.url.split('/')[3] != served.viewer.url.split('/')[3]


@pytest.mark.parametrize('who', list(strangers('http://127.0.0.1:1/code/')))
def test_strangers_see_nothing(who, served):
    from websockets.exceptions import InvalidStatus

    stranger = strangers(served.viewer.url)[who]
    status, content = stranger.page()
    assert status == 403
    assert len(content) < 500
    with pytest.raises(InvalidStatus), stranger.socket():
        pass


@pytest.mark.parametrize('name', BAD_NAMES)
def test_a_name_that_leads_elsewhere_writes_nothing(name, served):
    before = files(served.folder)
    assert saved_as(served.opened, served.page, name) == ''
    assert files(served.folder) == before
    assert not served.written


def test_a_save_goes_beside_the_model_and_is_told(served):
    page: Any = served.page
    set_control(served.opened, page.name, 'eye')
    assert wait_for(lambda: page.name.value == 'eye')
    page.outcome.content = ''
    set_control(served.opened, page.file, 'mine.smil.json')
    set_control(served.opened, page.save, True)
    assert wait_for(lambda: page.outcome.content)
    assert served.written == [served.home / 'mine.smil.json'], page.outcome.content
    assert served.written[0].is_file()
    served.written[0].unlink()
    served.written.clear()


@pytest.mark.parametrize('host', ['256.1.1.1', 'no such host', '192.0.2.77'])
@pytest.mark.parametrize('command', [['model', 'view', 'quadruped']])
def test_an_address_that_is_not_this_machines_is_a_sentence(host, command, capsys):
    assert main([*command, '--host', host, '--port', '0']) == 1
    said = capsys.readouterr().err
    assert said.startswith('error:')
    assert host in said
    assert 'Traceback' not in said


def test_a_taken_port_is_passed_over():
    body = load_body_model_data('quadruped')
    from smilfit.body_models import SMIL

    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with ViewerServer(ModelScene(SMIL(body), 'x'), port=port) as viewer:
            assert viewer.port != port
