"""The term of XRMoCap's form on the page of migration: its edits are counted, and what they make of it runs."""

import ast
import importlib
import re
import sys
from itertools import groupby
from pathlib import Path

import pytest
import torch

from smilfit.registrants import SMPLify
from smilfit.registry import HANDLERS, INPUTS, LOSSES, build_handler
from smilfit.solvers import LBFGS, Adam, LevenbergMarquardt
from tests.registrants.clip import make_clip

TEXT = (Path(__file__).resolve().parents[1] / 'docs' / 'migration.md').read_text(encoding='utf-8')
(EDITS,) = re.findall(r'```diff\n(.*?)```', TEXT, re.DOTALL)
(CONFIG,) = re.findall(r'```python\n# in a config\n(.*?)```', TEXT, re.DOTALL)
LINES = EDITS.splitlines()


def code(sign: str) -> str:
    """Return the file before (`'-'`) or after (`'+'`) the edits."""
    return '\n'.join(line[1:] for line in LINES if line[:1] in ('', ' ', sign)) + '\n'


def classes(source: str) -> dict[str, str]:
    """Return every class's own text."""
    result = (n for n in ast.parse(source).body if isinstance(n, ast.ClassDef))
    return {node.name: ast.get_source_segment(source, node) for node in result}


def edits_by_class() -> dict[str, int]:
    """Count the places that change, by class; those of the imports under ''."""
    result = {}
    for part in re.split(r'\n ?\n ?\n', EDITS):
        name = re.search(r'class (\w+)', part)
        changed = [line[:1] in ('+', '-') for line in part.splitlines()]
        result[name[1] if name else ''] = sum(place for place, _ in groupby(changed))
    return result


def test_the_page_counts_its_edits():
    result = edits_by_class()
    places = re.search(r'Input changes in \*\*(\d+) places\*\*, its handler in \*\*(\d+)\*\*', TEXT)
    gone, come = re.search(r'\*\*(\d+) lines\*\* go and \*\*(\d+)\*\* come', TEXT).groups()
    of_input, of_handler = map(int, places.groups())
    assert result == {'': 1, 'MarkerLoss': 0, 'MarkerInput': of_input, 'MarkerHandler': of_handler}
    signs = [line[:1] for line in LINES]
    assert (signs.count('-'), signs.count('+')) == (int(gone), int(come))


def test_the_loss_is_not_edited():
    before, after = classes(code('-')), classes(code('+'))
    assert before.keys() == after.keys()
    assert before['MarkerLoss'] == after['MarkerLoss']


@pytest.fixture(scope='module')
def marker(tmp_path_factory):
    """Import the edited file; afterwards nobody knows its classes."""
    folder = tmp_path_factory.mktemp('my_lab')
    (folder / 'marker.py').write_text(code('+'), encoding='utf-8')
    sys.path.insert(0, str(folder))
    yield importlib.import_module('marker')
    sys.path.remove(str(folder))
    sys.modules.pop('marker')
    for registry in (LOSSES, INPUTS, HANDLERS):
        for name in [n for n in registry.module_dict if n.startswith('Marker')]:
            registry.module_dict.pop(name)


@pytest.mark.parametrize(
    'solver', [LBFGS(), Adam(lr=0.05), LevenbergMarquardt()], ids=lambda s: type(s).__name__
)
def test_the_edited_term_fits_under_every_solver(marker, solver):
    cfg: dict = {}
    exec(CONFIG, cfg)
    body, truth, points = make_clip()
    joint = body.joint_names[-1]
    handlers = [build_handler(term | {'joint': joint}) for term in cfg['handlers']]
    place = points.select((joint,)).xyz[:, 0]
    seen = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]).double()
    observed = marker.MarkerInput(place, seen)
    assert observed.get_batch_size() == observed.batch_size == 5
    still = dict(fit_body_pose=False, fit_betas=False, fit_global_orient=False)
    stages = [stage | still | {'n_iter': 200, 'ftol': 1e-12} for stage in cfg['stages']]
    start = truth.replace(transl=truth.transl + 0.3)
    result = SMPLify(body, stages, handlers, solver)([observed], init_params=start)
    off = (result.joints()[:, -1] - place).norm(dim=-1)
    assert off[seen > 0].max() < 1e-2 * 0.3 * 3**0.5
    torch.testing.assert_close(result.params.transl[2], start.transl[2])
