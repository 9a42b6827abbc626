"""What the pages name is there: dependencies, rooms, files, registered classes; what is gone is named nowhere."""

import ast
import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest

from smilfit.registry import UnknownNameError
from smilfit.registry.build import find_class
from smilfit.solvers import LevenbergMarquardt
from tests.test_import_order import CORE, WINGS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / 'docs').rglob('*.md'), *ROOT.glob('*.md')])
# Names of classes, functions and keys that the contract of losses, handlers and solvers no longer has.
GONE = (
    *('QuadraticTerm', 'couples_frames', 'HandlerLosses', 'LossSet', 'PointTerm', 'ParameterTerm'),
    *('second_order(', '.reweight', 'reweight(', 'tree back end', 'quadratic terms', 'whole mean'),
)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding='utf-8')


def named(requirement: str) -> str:
    return re.match(r'[\w-]+', requirement)[0]


def test_every_dependency_has_its_line():
    project = text_of('pyproject.toml')
    required = re.search(r'^dependencies = \[\n(.*?)^\]', project, re.DOTALL | re.MULTILINE)[1]
    extras = re.search(r'^\[project\.optional-dependencies\]\n(.*?)^\[', project, re.DOTALL | re.MULTILINE)[1]
    wanted = {named(r) for r in re.findall(r'"(.*?)"', required)}
    wanted |= {named(r) for line in extras.splitlines() for r in re.findall(r'"(.*?)"', line)}
    cells = re.findall(r'^\| (.+?) \|', text_of('docs/dependencies.md'), re.MULTILINE)[1:]
    listed = [name for cell in cells for name in re.sub(r' \(extra .*?\)', '', cell).split(', ')]
    assert sorted(listed) == sorted(wanted)


def test_the_rooms_of_the_page_are_those_of_the_imports():
    rows = re.findall(r'^\| `(\w+)/` \| (core|wing) \|', text_of('docs/architecture.md'), re.MULTILINE)
    assert [name for name, part in rows if part == 'core'] == list(CORE)
    assert [name for name, part in rows if part == 'wing'] == list(WINGS)


def test_files_that_the_architecture_names_are_there():
    missing = []
    for name in re.findall(r'`([\w/]+\.py)`', text_of('docs/architecture.md')):
        places = (
            ROOT,
            ROOT / 'smilfit',
            ROOT / 'smilfit/registrants/second_order',
            ROOT / 'smilfit/registrants/second_order/uncertainty',
        )
        if not any((place / name).is_file() for place in places):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_names_that_are_gone_are_named_nowhere(page):
    text = page.read_text(encoding='utf-8')
    assert [name for name in GONE if name in text] == []


# Types that a page registers itself, or that stand for a user's.
OWN = {'MyHook', 'MarkerLoss', 'MarkerHandler', 'CalmTailLoss', 'EasyBendLoss'}


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_types_in_configs_are_registered(page):
    text = page.read_text(encoding='utf-8')
    here = set(re.findall(r'^[ +]?class (\w+)', text, re.MULTILINE)) | OWN
    types = set(re.findall(r"""type=['"](\w+)['"]""", text)) - here
    assert sorted(name for name in types if not is_registered(name)) == []


def is_registered(name: str) -> bool:
    try:
        return find_class(name) is not None
    except UnknownNameError:
        return False


def test_the_arguments_of_levenberg_marquardt_are_those_of_its_table():
    table = re.search(
        r'^\| argument of `LevenbergMarquardt`.*?\n\n', text_of('docs/fitting.md'), re.DOTALL | re.MULTILINE
    )
    rows = re.findall(r'^\| `(\w+)` \| (.+?) \|', table[0], re.MULTILINE)
    result = {name: ast.literal_eval(usual.strip('`')) for name, usual in rows}
    signature = inspect.signature(LevenbergMarquardt).parameters
    assert result == {name: parameter.default for name, parameter in signature.items()}


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r'\]\((?!https?:|#)([^)#\s]+)', page.read_text(encoding='utf-8')):
            if not (page.parent / target).exists():
                broken.append(f'{page.name}: {target}')
    assert not broken


def test_every_page_of_the_site_is_in_its_menu():
    menu = text_of('mkdocs.yml').partition('\nnav:')[2]
    named = re.findall(r': ([\w/]+\.md)$', menu, re.MULTILINE)
    made = {'security.md', 'contributing.md', 'changelog.md', *reference()}
    pages = {str(page.relative_to(ROOT / 'docs')) for page in (ROOT / 'docs').rglob('*.md')}
    assert sorted(named) == sorted(pages | made)


def reference() -> dict[str, str]:
    return dict(runpy.run_path(str(ROOT / 'docs/scripts/reference.py'))['reference_pages']())


def test_the_reference_has_all_public_names():
    import smilfit
    import smilfit.apis

    text = '\n'.join(reference().values())
    described = set(re.findall(r'^## (\w+)$', text, re.MULTILINE))
    wanted = {n for room in (smilfit, smilfit.apis) for n in room.__all__ if n != '__version__'}
    # Types that are no classes have no entry.
    assert wanted - described <= {'ProgressCallback'}
    assert '* `path`: ' in text
    assert '**Raises**' in text


def test_the_gallery_is_of_its_examples(tmp_path, monkeypatch):
    made = runpy.run_path(str(ROOT / 'docs/scripts/gallery.py'))
    assert made['page']() == text_of('docs/gallery.md')
    assert sorted(made['EXAMPLES']) == sorted(p.stem for p in (ROOT / 'docs/examples').glob('*.py'))
    # One is run; all are when the pictures are made.
    monkeypatch.setattr(sys, 'argv', ['', 'no demo', str(tmp_path / 'picture.png')])
    runpy.run_path(str(ROOT / 'docs/examples/kinds_of_animals.py'))
    assert (tmp_path / 'picture.png').stat().st_size > 10_000


def test_headings_that_links_name_are_there():
    broken = []
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for target, heading in re.findall(r'\]\(((?!https?:)[^)#\s]*)#([\w-]+)\)', text):
            of = (page.parent / target).read_text(encoding='utf-8') if target else text
            result = {slug(line) for line in re.findall(r'^#+ (.+)$', of, re.MULTILINE)}
            if heading not in result:
                broken.append(f'{page.name}: {target}#{heading}')
    assert not broken


def slug(heading: str) -> str:
    """As mkdocs makes it."""
    plain = re.sub(r'[^\w\s-]', '', heading).strip().lower()
    return re.sub(r'[-\s]+', '-', plain)
