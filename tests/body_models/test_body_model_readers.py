"""Readers of body model files by their ending."""

import shutil

import pytest

from smilfit.body_models import (
    SMIL,
    body_model_reader,
    load_body_model,
    load_body_model_data,
    save_body_model,
)
from smilfit.registry import BODY_MODEL_READERS
from tests.animals import small_animal


@pytest.fixture(autouse=True)
def forget():
    before = dict(BODY_MODEL_READERS.module_dict)
    yield
    BODY_MODEL_READERS.module_dict.clear()
    BODY_MODEL_READERS.module_dict.update(before)


def test_a_registered_ending_is_read_wherever_a_model_is_loaded(tmp_path):
    data = small_animal()
    model = save_body_model(data, tmp_path / 'a.smil.json')
    path = tmp_path / 'a.rig'
    shutil.copyfile(model, path)
    with pytest.raises(ValueError, match=r"must end in \.smil\.json, \.pkl or \.npz; got '\.rig'"):
        load_body_model_data(path)

    @body_model_reader('.rig', '.other')
    def read(path):
        return load_body_model_data(model)

    assert load_body_model_data(path).content_hash() == data.content_hash()
    assert isinstance(load_body_model(path), SMIL)
    assert SMIL(model_path=path).joint_names == data.joint_names
    with pytest.raises(ValueError, match=r"\.npz or \.other or \.rig; got '\.rigg'"):
        load_body_model_data(path.rename(tmp_path / 'a.rigg'))


def test_the_longest_ending_decides(tmp_path):
    data = small_animal()
    path = save_body_model(data, tmp_path / 'a.smil.json')

    @body_model_reader('.smil.json')
    def refuse(path):
        raise IndexError('of the plugin')

    with pytest.raises(
        ValueError, match=r'a\.smil\.json: a body model must be whole .*IndexError: of the plugin'
    ):
        load_body_model_data(path)


def test_what_a_reader_must_be(tmp_path):
    for endings in ((), ('rig',), ('.',)):
        with pytest.raises(ValueError, match='an ending must be a full stop and letters'):
            body_model_reader(*endings)
    with pytest.raises(KeyError, match='npz is already registered'):
        body_model_reader('.npz')(lambda path: None)
    body_model_reader('.nothing')(lambda path: None)
    (tmp_path / 'a.nothing').write_text('')
    with pytest.raises(TypeError, match='must give a BodyModelData; got NoneType'):
        load_body_model_data(tmp_path / 'a.nothing')
