"""`--help` waits for nothing that computes, and what it says without it is so."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from smilfit.apis import synthesis_options
from smilfit.apis.preprocessing.data_source import POINTS3D, SLEAP, SMILIFY, annotation_readers
from smilfit.cli import main
from smilfit.cli import models as model
from smilfit.cli.data import preprocess
from smilfit.synthetic.looks import STYLES

ROOT = Path(__file__).parents[2]
# What takes from 0.1 s to seconds to import.
HEAVY = (
    'torch', 'mmengine.runner', 'mmengine.model', 'timm', 'torchvision', 'matplotlib', 'warp', 'cv2', 'h5py',
    'pandas', 'scipy', 'sleap_io', 'trimesh', 'viser', 'onnx', 'smilfit.geometry', 'smilfit.io',
)  # fmt: skip
TOOLS = sorted(path.name for path in (ROOT / 'tools').glob('*.py'))


def imported_by(arguments: list[str]) -> set[str]:
    """Run a command line of tools/ in a process of its own; gives the heavy modules that were imported."""
    code = (
        'import runpy, sys\n'
        'sys.argv = sys.argv[1:]\n'
        'try:\n'
        '    runpy.run_path(sys.argv[0], run_name="__main__")\n'
        'except SystemExit as end:\n'
        '    assert not end.code, end.code\n'
        f'print("heavy:", *(m for m in {HEAVY} if m in sys.modules))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert 'usage:' in done.stdout
    assert not done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize('tool', TOOLS)
def test_help_imports_nothing_heavy(tool):
    assert imported_by([f'tools/{tool}', '--help']) == set()


def test_names_that_help_says_are_those_of_what_it_does_not_import():
    readers = annotation_readers()
    shipped = {name: reader for name, reader in readers.items() if reader.__module__.startswith('smilfit.')}
    assert set(preprocess.FORMATS) == {SLEAP, SMILIFY, POINTS3D, *shipped}
    assert tuple(STYLES) == synthesis_options.STYLES


def test_a_formats_own_help_has_its_options(capsys):
    for name, option in (
        ('coco', '--category'),
        ('sleap', '--trim'),
        ('points3d', '--fps'),
        ('smilify', '--made-with'),
    ):
        with pytest.raises(SystemExit):
            preprocess.main([name, '--help'])
        assert option in capsys.readouterr().out


@pytest.mark.parametrize(
    'words',
    [
        *([name] for name in main.COMMANDS),
        *(['model', name] for name in model.COMMANDS),
        *(['preprocess', name] for name in preprocess.FORMATS),
    ],
    ids=' '.join,
)
def test_help_is_written_for_people(words, capsys):
    with suppress(SystemExit):
        main.main([*words, '--help'])
    shown = capsys.readouterr().out
    # As the pages write names; underscores are read as well.
    assert shown.startswith(f'usage: smilfit {" ".join(words).replace("_", "-")} ')
    # Signs of argparse that were not meant to be read.
    for sign in ('%%', '(default: None)', '==SUPPRESS==', '%('):
        assert sign not in shown
