"""A body model is found again by its content: in the file, where it was, beside the file, or among the shipped."""

import shutil
import zlib
from dataclasses import replace

import pytest

from smilfit.body_models import (
    ModelNotFoundError,
    OtherModelError,
    find_model,
    load_body_model_data,
    pack_model,
    reference_to,
    save_body_model,
    unpack_model,
)
from smilfit.body_models.files.finding import MOST_PACKED_BYTES, may_be_packed
from smilfit.files import BadFileError
from smilfit.structures import ModelReference
from tests.animals import small_animal

DATA = small_animal()
# Not to be passed on: it is found by its places alone.
BOUGHT = replace(DATA, licence=None)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder with a model and one for results, and the reference of a file in the latter."""
    folder = tmp_path / 'lab'
    (folder / 'out').mkdir(parents=True)
    monkeypatch.chdir(folder)
    save_body_model(BOUGHT, 'animal.smil.json')
    return folder, reference_to(BOUGHT, 'animal.smil.json', folder / 'out')


def test_it_is_found_from_anywhere_and_with_a_moved_folder(lab, tmp_path, monkeypatch):
    folder, reference = lab
    assert reference.record() == {
        'given': 'animal.smil.json',
        'content_hash': BOUGHT.hash_without_landmarks(),
        'absolute': str(folder / 'animal.smil.json'),
        'relative': '../animal.smil.json',
    }
    assert ModelReference.from_record(reference.record()) == reference
    monkeypatch.chdir('/')
    assert find_model(reference, 'fit', folder=folder / 'out').file == folder / 'animal.smil.json'
    moved = shutil.move(folder, tmp_path / 'moved')
    result = find_model(reference, 'fit', folder=moved / 'out')
    assert result.file == moved / 'animal.smil.json'
    # What is made with it now names its new place.
    assert result.reference.absolute == str(moved / 'animal.smil.json')
    with pytest.raises(
        ModelNotFoundError, match=r'animal\.smil\.json must be there.*Looked at: .*--body-model'
    ):
        find_model(reference, 'fit', folder=tmp_path)
    monkeypatch.chdir(moved)
    assert find_model(reference, 'fit', folder=tmp_path).file == moved / 'animal.smil.json'


def test_another_model_in_its_place_is_refused_with_both_hashes_but_does_not_hide_the_right_one(
    lab, monkeypatch
):
    folder, reference = lab
    other = replace(BOUGHT, v_template=1.1 * BOUGHT.v_template)
    right = shutil.move(folder / 'animal.smil.json', folder / 'kept.smil.json')
    save_body_model(other, folder / 'animal.smil.json')
    with pytest.raises(OtherModelError) as refused:
        find_model(reference, 'fit.npz', folder=folder / 'out')
    for part in ('fit.npz', BOUGHT.content_hash(), other.content_hash(), str(folder / 'animal.smil.json')):
        assert part in str(refused.value)
    kept = replace(reference, relative='../kept.smil.json')
    assert find_model(kept, 'fit.npz', folder=folder / 'out').file == right.resolve()
    (folder / 'animal.smil.json').write_text('{}')
    with pytest.raises(BadFileError, match='"format" must be'):
        find_model(reference, 'fit.npz')


def test_a_model_that_may_be_passed_on_lies_in_the_file(tmp_path):
    path = save_body_model(DATA, tmp_path / 'a.smil.json')
    reference = reference_to(DATA, path)
    assert reference.packed == pack_model(load_body_model_data(path))
    path.unlink()
    result = find_model(reference, 'fit.npz')
    assert result.file is None
    assert result.reference == reference
    assert result.body.content_hash() == DATA.content_hash()


@pytest.mark.parametrize(
    ('licence', 'may'),
    [
        *[(text, True) for text in ('CC0-1.0', 'CC BY-NC 4.0', 'cc-by-4.0', 'MIT', 'Own model of our lab')],
        *[(text, False) for text in (None, '', 'SMPL', 'all rights reserved', 'mitre', 'owner: unknown')],
    ],
)
def test_the_licence_decides(licence, may):
    data = replace(DATA, licence=licence)
    assert may_be_packed(data) is may
    assert (pack_model(data) is not None) is may


def test_a_damaged_model_in_a_file_is_refused_and_found_elsewhere(tmp_path):
    packed = pack_model(DATA)
    bomb = zlib.compress(bytes(65 << 20), 9)
    for bad in (b'', b'no', packed[:-9], bomb, zlib.compress(b'{}'), zlib.compress(b'[' * 100_000)):
        with pytest.raises(BadFileError, match=r'^fit\.npz'):
            unpack_model(bad, 'fit.npz')
    with pytest.raises(BadFileError, match='at most'):
        unpack_model(bytes(MOST_PACKED_BYTES + 1), 'fit.npz')
    path = save_body_model(DATA, tmp_path / 'a.smil.json')
    assert find_model(replace(reference_to(DATA, path), packed=b'no'), 'fit.npz').file == path
    exchanged = pack_model(replace(DATA, v_template=1.1 * DATA.v_template))
    with pytest.raises(OtherModelError, match='in the file itself'):
        find_model(replace(reference_to(DATA, 'a'), packed=exchanged), 'fit.npz')


def test_shipped_models_are_found_by_name_and_a_file_of_that_name_is_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reference = replace(reference_to(load_body_model_data('insect'), 'insect'), packed=None)
    assert find_model(reference, 'fit').file.name == 'insect.smil.json'
    (tmp_path / 'insect').write_text('no model')
    assert find_model(reference, 'fit').file.name == 'insect.smil.json'
