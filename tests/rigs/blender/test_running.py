"""Blender is found as documented, runs without a window or a user's settings, and fails in words."""

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from smilfit.rigs import blender as room
from smilfit.rigs.blender import BlenderError, NoBlenderError, find_blender, run_in_blender
from smilfit.rigs.blender.running import beside_environment


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No variable, no program on the PATH, no environment beside the one that runs."""
    monkeypatch.delenv('SMILFIT_BLENDER', raising=False)
    monkeypatch.setenv('PATH', str(tmp_path / 'programs'))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    return tmp_path


def program(path: Path, text: str = 'exit 3') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


def script(folder: Path, text: str) -> Path:
    path = folder / 'script.py'
    path.write_text(f'import bpy, os, sys\n{text}\n')
    return path


def test_the_variable_comes_first_then_the_path_then_the_environment_beside(nowhere, monkeypatch):
    beside = program(beside_environment(nowhere))
    assert find_blender().prefix == (str(beside), '-I')
    on_path = program(nowhere / 'programs' / 'blender')
    assert find_blender().prefix[:2] == (str(on_path), '--background')
    assert {'--factory-startup', '--disable-autoexec'} <= set(find_blender().prefix)
    named = program(nowhere / 'mine' / 'python3.11')
    monkeypatch.setenv('SMILFIT_BLENDER', str(named))
    assert find_blender().prefix == (str(named), '-I')
    assert find_blender().command('a.py', 'b')[-3:] == [str(Path('a.py').resolve()), '--', 'b']


@pytest.mark.skipif(find_spec('bpy') is not None, reason='this Python has bpy')
def test_without_blender_it_is_said_how_to_get_one(nowhere, monkeypatch):
    with pytest.raises(NoBlenderError, match=r'Blender must be there .*/pip install .*SMILFIT_BLENDER'):
        find_blender()
    monkeypatch.setenv('SMILFIT_BLENDER', 'nothing-of-this-name')
    with pytest.raises(NoBlenderError, match="got 'nothing-of-this-name', which is no program"):
        find_blender()


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [
        ('blender', 'echo no display; exit 3', 'exit code 3; it printed last: no display'),
        ('blender', 'kill -9 $$', r'signal 9 \(SIGKILL\)'),
        ('python3', f'exec {sys.executable} "$@"', 'No module named'),
    ],
)
def test_a_blender_that_does_not_start_is_told(nowhere, monkeypatch, tmp_path, name, text, said):
    monkeypatch.setenv('SMILFIT_BLENDER', str(program(nowhere / 'mine' / name, text)))
    with pytest.raises(NoBlenderError, match=f'does not start: .*{said}'):
        run_in_blender(script(tmp_path, ''))


def test_a_script_has_its_arguments_its_folder_and_none_of_the_users_settings(blender, tmp_path, monkeypatch):
    monkeypatch.setenv('BLENDER_USER_SCRIPTS', str(tmp_path))
    (tmp_path / 'startup').mkdir()
    (tmp_path / 'startup' / 'mine.py').write_text('print("started by the user")\n')
    (tmp_path / 'beside.py').write_text('WORD = "beside"\n')
    path = script(
        tmp_path,
        'from beside import WORD\n'
        'allowed = bpy.context.preferences.filepaths.use_scripts_auto_execute\n'
        'print(WORD, sys.argv[1:], bpy.app.background, allowed)\n'
        'print(bpy.utils.resource_path("USER"))',
    )
    printed = run_in_blender(path, 'a b', tmp_path, blender=blender)
    assert f"beside ['a b', '{tmp_path}'] True False" in printed
    assert 'started by the user' not in printed
    folder = next(line for line in printed.splitlines() if 'smilfit-blender-' in line)
    assert not os.path.exists(folder)


@pytest.mark.parametrize(
    ('text', 'kind', 'said'),
    [
        ('raise KeyError("bone")', 'KeyError', 'bone'),
        ('sys.exit("no armature")', 'SystemExit', 'no armature'),
        ('bpy.ops.wm.open_mainfile(filepath="none.blend")', 'RuntimeError', 'none.blend'),
        ('os.abort()', '', r'ended by itself with signal 6 \(SIGABRT\)'),
    ],
)
def test_a_script_that_fails_is_an_error_of_its_kind(blender, tmp_path, text, kind, said):
    with pytest.raises(BlenderError, match=said) as failed:
        run_in_blender(script(tmp_path, text), blender=blender)
    assert failed.value.kind == kind
    assert not kind or kind == 'SystemExit' or 'script.py' in failed.value.trace


def test_what_takes_too_long_is_stopped_with_its_children(blender, tmp_path):
    text = (
        'import subprocess, time\n'
        'child = subprocess.Popen(["sleep", "60"])\n'
        'print(child.pid, file=open(sys.argv[1], "w"), flush=True)\n'
    )
    with pytest.raises(BlenderError, match='still at work after 3 s') as failed:
        run_in_blender(
            script(tmp_path, text + 'time.sleep(60)'), tmp_path / 'pid', limit_s=3, blender=blender
        )
    assert failed.value.kind == 'TimeoutError'
    child = int((tmp_path / 'pid').read_text())
    for _ in range(100):
        if not _runs(child):
            break
        time.sleep(0.05)
    assert not _runs(child)


def _runs(number: int) -> bool:
    """Check whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f'/proc/{number}/stat').read_text().rsplit(') ', 1)[1][0] != 'Z'
    except FileNotFoundError:
        return False


def test_the_room_names_what_it_gives():
    assert set(room.__all__) <= set(dir(room))
