"""The package stays small enough to hold in one's head: these numbers may only fall."""

from collections import Counter
from pathlib import Path

from tests.test_import_order import CORE

PACKAGE = Path(__file__).resolve().parents[1] / 'smilfit'
MOST_LINES, MOST_LINES_OF_CORE, MOST_FILES = 125_650, 80_030, 654
# A file holds one subject; a folder past 18 files has subjects of its own.
MOST_LINES_OF_A_FILE = 600
MOST_FILES_OF_A_FOLDER = 18


def test_lines_and_files_only_fall():
    lines = {path: path.read_text(encoding='utf-8').count('\n') for path in PACKAGE.rglob('*.py')}
    of_core = sum(n for path, n in lines.items() if path.relative_to(PACKAGE).parts[0] in CORE)
    assert sum(lines.values()) <= MOST_LINES
    assert of_core <= MOST_LINES_OF_CORE
    assert len(lines) <= MOST_FILES
    assert {path.name: n for path, n in lines.items() if n > MOST_LINES_OF_A_FILE} == {}


def test_folders_are_of_a_persons_size():
    folders = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob('*.py'))
    assert {name: n for name, n in folders.items() if n > MOST_FILES_OF_A_FOLDER} == {}
