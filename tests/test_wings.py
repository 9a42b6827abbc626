"""The core without wings: it fits, judges, draws and shows while every module of them is left out.

This file is also the program that does so, in a process of its own: `python tests/test_wings.py FOLDER`.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The modules of each wing, with all that they hold.
WINGS = {
    'networks': ('smilfit.networks',),
    'cameras': ('smilfit.cameras',),
    'rigs': ('smilfit.rigs',),
    'scans': ('smilfit.scans',),
    'synthetic': ('smilfit.synthetic',),
    'smilify': ('smilfit.smilify',),
}
# What wings import of each other; all import the core.
ALSO = {'smilify': ('networks',), 'scans': ('rigs',), 'synthetic': ('rigs',)}
# Commands of a wing, which import it when they run.
COMMANDS = (
    'smilfit.cli.demo',
    'smilfit.cli.networks.*',
    'smilfit.cli.data.calibrate',
    'smilfit.cli.models',
    'smilfit.cli.fitting.register',
    'smilfit.cli.data.synthesize',
)


def _is_of(name: str, modules: Sequence[str]) -> bool:
    return any(fnmatch(name, module) or name.startswith(f'{module}.') for module in modules)


class LeftOut(MetaPathFinder):
    """Refuses modules as Python does where their files are not there."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = tuple(modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for what is left out; leave the rest to other finders."""
        if _is_of(fullname, self.modules):
            raise ModuleNotFoundError(f'No module named {fullname!r}', name=fullname)
        return None


def fit_without_wings(folder: Path) -> dict[str, object]:
    """Preprocess points of a quadruped, and fit and judge them; returns what each fit was."""
    import numpy as np
    import torch

    import smilfit as sf
    from smilfit.apis import DataSource, fit, preprocess, viewer
    from smilfit.apis.shipped_configs import find_config
    from smilfit.registry import read_config

    body = sf.load_body_model('quadruped')
    with torch.no_grad():
        joints = body(body.zero_params(3), ('joints',)).joints.double() * 120 + 5
    np.savez(folder / 'run.npz', xyz=joints.numpy(), names=np.array(body.joint_names))
    preprocess(DataSource('points3d', folder / 'run.npz', unit='mm'), folder / 'run.h5', 'quadruped')
    second = read_config(find_config('fit/points3d_lm.py')).to_dict()
    stages = [{**stage, 'optimizer': {'type': 'LBFGS'}, 'n_iter': 15} for stage in second['stages'][:3]]
    made: dict[str, object] = {}
    for name, cfg in (('second', second), ('first', {**second, 'stages': stages})):
        run = fit(cfg, folder / 'run.h5', folder / name, video=False, verdict=name == 'second')
        made[name] = {
            'engines': sorted({stage['engine'] for stage in run.results['run'].history}),
            'miss': run.points['run'].median() / run.points['run'].size,
            'verdicts': [verdict.word for verdict in run.verdicts.values()],
            'page': run.report.stat().st_size,
        }
    made['viewer'] = viewer.Scene.__name__
    return made


def imports_of(path: Path) -> set[str]:
    """Collect the modules that a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'))))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return names | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


def test_the_core_fits_judges_and_shows_without_wings(tmp_path):
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert 'kernel' in made['second']['engines']
    assert made['first']['engines'] == ['gradient']
    assert made['second']['verdicts'] == ['good']
    for name in ('first', 'second'):
        assert made[name]['miss'] < 0.02
        assert made[name]['page'] > 10_000


def test_rooms_of_registries_and_wings_are_there():
    # A registry passes over what is left out: a name misspelt here would be taken for a wing's.
    from smilfit.registry import EXPORTERS, REGISTRIES

    for registry in (*REGISTRIES, EXPORTERS):
        for room in registry._locations:
            assert import_module(room)


@pytest.mark.parametrize('wing', [None, *WINGS])
def test_nothing_imports_a_wing_that_need_not_be_there(wing):
    may = () if wing is None else (wing, *ALSO.get(wing, ()))
    others = [module for name, modules in WINGS.items() if name not in may for module in modules]
    looked_at, wrong = 0, []
    for path in sorted((ROOT / 'smilfit').rglob('*.py')):
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        own = [name for name, modules in WINGS.items() if _is_of(module, modules)]
        if own != ([] if wing is None else [wing]) or _is_of(module, COMMANDS):
            continue
        looked_at += 1
        wrong += [f'{module} imports {name}' for name in imports_of(path) if _is_of(name, others)]
    assert looked_at
    assert not wrong


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    sys.meta_path.insert(0, LeftOut([module for modules in WINGS.values() for module in modules]))
    print(json.dumps(fit_without_wings(Path(sys.argv[1]))))
