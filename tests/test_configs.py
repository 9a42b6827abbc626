"""Every shipped config reads and builds; every tool answers --help with defaults and units."""

import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from smilfit.apis.fitting.fit_config import of_size
from smilfit.body_models import SMIL
from smilfit.cli.main import COMMANDS, main, usage
from smilfit.registrants import MeshRegistrant, SMPLify
from smilfit.registry import build_registrant
from smilfit.synthetic import make_quadruped

ROOT = Path(__file__).resolve().parents[1]
FIT = sorted((ROOT / 'configs' / 'fit').glob('*.py'))


@pytest.mark.parametrize('path', FIT, ids=lambda p: p.stem)
def test_fit_configs_build(path):
    cfg = of_size(Config.fromfile(path).to_dict(), 100.0)
    registrant = build_registrant({**cfg, 'body_model': SMIL(make_quadruped())})
    assert isinstance(registrant, SMPLify)
    assert all(stage.weights for stage in registrant.stages)
    assert len(path.read_text().splitlines()) <= 80


@pytest.mark.parametrize('name', ['scans', 'template'])
def test_register_configs_build(name):
    cfg = Config.fromfile(ROOT / 'configs' / 'register' / f'{name}.py').to_dict()
    registrant = build_registrant({**cfg, 'body_model': SMIL(make_quadruped())})
    assert isinstance(registrant, MeshRegistrant)
    assert registrant.deformation


@pytest.mark.parametrize('tool', sorted(COMMANDS))
def test_tools_have_help(tool, monkeypatch, capsys):
    script = ROOT / 'tools' / f'{tool}.py'
    monkeypatch.setattr(sys, 'argv', [str(script), '--help'])
    with pytest.raises(SystemExit, match='0'):
        runpy.run_path(str(script), run_name='__main__')
    assert 'usage:' in capsys.readouterr().out
    assert len(script.read_text().splitlines()) <= 10


def test_one_command_for_all(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.strip() == usage()
    assert main(['trian']) == 2
    assert "Did you mean 'train'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(['fit', '--help'])
    assert stop.value.code == 0
    assert 'usage: smilfit fit' in capsys.readouterr().out
