"""Folders of results that others made: nothing is changed through links in them."""

import os
import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.files import LinkedOutputError, OutputFolder, real_folder
from tests.hostile.hostile_outputs import ATTACKS, PART, contents, lay, write

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='links need rights elsewhere')

# Results are written all the same: the link loses its name, what it leads to stays.
WRITTEN = {
    name
    for name in ATTACKS
    if any(word in name for word in ('file ', 'marker', 'dataset', 'staging', 'dropped', 'a mesh is'))
}


@pytest.mark.parametrize('attack', ATTACKS)
def test_nothing_is_changed_through_a_link(attack: str, tmp_path: Path) -> None:
    place = tmp_path / attack
    lay(place)
    before = contents(place / 'victim')
    with (
        nullcontext()
        if attack in WRITTEN
        else pytest.raises(LinkedOutputError, match=re.escape(f'{place}/out'))
    ):
        write(place)
    assert contents(place / 'victim') == before


def test_a_part_is_made_where_a_link_had_its_file(tmp_path: Path) -> None:
    place = tmp_path / 'part file is a link'
    lay(place)
    write(place)
    assert not (place / 'out' / PART / '0.obj').is_symlink()
    assert OutputFolder(place / 'out').files(PART)


def test_results_may_be_a_link_to_a_folder_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / 'real').mkdir()
    (tmp_path / 'out').symlink_to(tmp_path / 'real')
    assert check_output_folder(tmp_path / 'out', '--out') == tmp_path / 'out'
    assert real_folder(tmp_path / 'out', 'meshes') == tmp_path / 'out' / 'meshes'


def test_a_link_to_nothing_is_refused_as_results(tmp_path: Path) -> None:
    (tmp_path / 'out').symlink_to(tmp_path / 'none')
    with pytest.raises(FileNotFoundError, match='link to nothing'):
        check_output_folder(tmp_path / 'out', '--out')


def test_results_in_the_inputs_are_refused_by_any_name(tmp_path: Path) -> None:
    (tmp_path / 'fit').mkdir()
    (tmp_path / 'other').symlink_to(tmp_path / 'fit')
    for out in ('fit', 'fit/new', 'other/new', 'fit/../other'):
        with pytest.raises(ValueError, match='--out: must not'):
            check_not_an_input(tmp_path / out, (tmp_path / 'fit',), '--out')
    check_not_an_input(tmp_path / 'fits', (tmp_path / 'fit',), '--out')
