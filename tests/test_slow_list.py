"""What `make test` leaves out is what tests/slow.txt names, and every line of it names something."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LINES = (TESTS / 'slow.txt').read_text().split()


@pytest.mark.parametrize('line', LINES)
def test_a_line_names_tests(line):
    file, _, item = line.partition('::')
    places = list(TESTS.rglob(file))
    assert places
    name = item.split('[')[0]
    assert not item or any(re.search(rf'def {name}\(', place.read_text()) for place in places)


def test_lines_are_in_order_once():
    assert sorted(set(LINES)) == LINES
