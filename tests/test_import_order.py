"""A room imports only rooms of a smaller number; `import smilfit` and --help stay light."""

import ast
import functools
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'smilfit'
# The core from the ground up: a room imports only rooms before it. Wings import the core; test_wings reads who
# imports them.
CORE = (
    'registry', 'options', 'files', 'geometry', 'structures', 'body_models', 'losses', 'solvers', 'renderers',
    'handlers', 'io', 'datasets', 'registrants', 'evaluation', 'drawing', 'apis', 'cli',
)  # fmt: skip
WINGS = ('networks', 'cameras', 'rigs', 'scans', 'synthetic', 'smilify')
ROOMS = (*CORE, *WINGS)


@functools.cache
def facts_of(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Read the names of what a file imports, and of the functions that it calls by one or two words."""
    imports, calls = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        match node:
            case ast.ImportFrom(module=str(module)):
                imports.add(module)
            case ast.Import(names=names):
                imports |= {alias.name for alias in names}
            case ast.Call(func=ast.Name(id=name)):
                calls.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=room), attr=name)):
                calls.add(f'{room}.{name}')
    return frozenset(imports), frozenset(calls)


def imports_of(path: Path) -> frozenset[str]:
    return facts_of(path)[0]


def test_every_room_is_numbered():
    result = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name not in ('__pycache__', '.mim')}
    assert result == set(ROOMS)


@pytest.mark.parametrize('room', CORE)
def test_rooms_import_downwards_only(room):
    above = CORE[CORE.index(room) + 1 :]
    wrong = []
    for path in sorted((PACKAGE / room).rglob('*.py')):
        for name in imports_of(path):
            parts = name.split('.')
            if parts[0] == 'smilfit' and len(parts) > 1 and parts[1] in above:
                wrong.append(f'{path.relative_to(PACKAGE)} imports {name}')
    assert not wrong


def test_only_the_command_line_prints_and_parses():
    for room in ROOMS:
        if room == 'cli':
            continue
        for path in (PACKAGE / room).rglob('*.py'):
            assert 'argparse' not in imports_of(path), path
            assert 'print' not in facts_of(path)[1], path


def test_nothing_below_visualization_imports_matplotlib():
    for room in ROOMS:
        if room in ('drawing', 'apis', 'cli', *WINGS):
            continue
        for path in (PACKAGE / room).rglob('*.py'):
            assert not {n for n in imports_of(path) if n.split('.')[0] == 'matplotlib'}, path


OF_OUR_OWN_CHILD = 'files/child_process.py'


def test_nothing_imports_what_runs_pickles():
    running = {'pickle', '_pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal'}
    result = {p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob('*.py') if imports_of(p) & running}
    # A child that we forked for our function hands back what that made of a file.
    assert result == {OF_OUR_OWN_CHILD}


def test_nothing_reads_pickles_or_checkpoints_unsafely():
    for path in PACKAGE.rglob('*.py'):
        calls = facts_of(path)[1]
        assert path == PACKAGE / OF_OUR_OWN_CHILD or not calls & {'pickle.load', 'pickle.loads'}, path
        assert 'torch.load' not in calls, path


def test_import_smilfit_is_light():
    code = (
        'import sys, smilfit; '
        "heavy = [m for m in ('torch', 'matplotlib', 'cv2', 'sleap_io', 'mmengine') if m in sys.modules]; "
        'assert not heavy, heavy; assert "SMPLify" in dir(smilfit)'
    )
    done = subprocess.run([sys.executable, '-c', code], check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0


def test_help_is_light():
    code = (
        'import sys\n'
        'from smilfit.cli.main import main\n'
        'from smilfit.cli.data.format_facts import format_facts\n'
        "lines = [(command,) for command in ('fit', 'train', 'test')]\n"
        "formats = ('points3d', 'smilify', *format_facts()['session_formats'], *format_facts()['readers'])\n"
        "for line in [*lines, *(('preprocess', name) for name in formats), ('model', 'view')]:\n"
        '    try:\n'
        "        main([*line, '--help'])\n"
        '    except SystemExit as stop:\n'
        '        assert stop.code == 0\n'
        "heavy = [m for m in ('torch', 'timm', 'matplotlib', 'cv2') if m in sys.modules]\n"
        'assert not heavy, heavy'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    'module',
    ['apis', 'apis.progress', 'cli.fitting.fit', 'cli.networks.train', 'cli.networks.testing', 'cli.demo'],
)
def test_commands_are_light_until_they_work(module):
    code = (
        f'import sys, smilfit.{module}; '
        "heavy = [m for m in ('torch', 'matplotlib', 'cv2', 'sleap_io', 'h5py') if m in sys.modules]; "
        'assert not heavy, heavy'
    )
    done = subprocess.run([sys.executable, '-c', code], check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ('modules', 'more'),
    [
        ('smilfit.apis.fitting.fit_run, smilfit.apis.preprocessing.make_dataset', ()),
        ('smilfit.networks.inference.infer', ('scipy', 'matplotlib', 'mmengine.runner', 'pandas')),
    ],
)
def test_a_fit_waits_for_nothing_that_trains(modules, more):
    heavy = ('timm', 'torch._dynamo', 'roma', 'trimesh', 'sleap_io', 'torchvision', *more)
    code = (
        'import sys\n'
        f'import {modules}\n'
        f'heavy = [m for m in {heavy} if m in sys.modules]\n'
        'assert not heavy, heavy'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr


def test_public_names_of_apis_are_there():
    room = import_module('smilfit.apis')
    for name in room.__all__:
        assert getattr(room, name) is not None
    assert set(room.__all__) <= set(dir(room))
    with pytest.raises(AttributeError, match='no attribute'):
        room.nothing  # noqa: B018


@pytest.mark.parametrize('room', ['networks', 'networks.engine', 'smilify', 'drawing'])
def test_lazy_names_are_there_and_are_not_those_of_modules(room):
    package = import_module(f'smilfit.{room}')
    for name in package.__all__:
        assert getattr(package, name) is not None
        # A module of the same name would take the name's place once it is imported.
        assert not (PACKAGE / room.replace('.', '/') / f'{name}.py').exists()
    with pytest.raises(AttributeError, match='no attribute'):
        package.nothing  # noqa: B018
