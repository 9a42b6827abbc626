"""The body models that come with the package: what the generators make, by name, and no user's file is hidden."""

from dataclasses import fields

import numpy as np
import pytest

import smilfit as sf
from smilfit.body_models import SparseMatrix, find_body_model, load_body_model_data, shipped_models
from smilfit.synthetic import shipped_bodies

MOST_BYTES = 2 << 20
# One unit of the last digit that is written: other machines may round the other way.
TOLERANCE = 1.1e-5


@pytest.fixture(scope='module')
def made():
    return shipped_bodies()


@pytest.mark.parametrize('name', ['quadruped', 'insect'])
def test_a_shipped_file_is_what_the_generator_makes(made, name):
    read, fresh = load_body_model_data(name), made[name]
    for f in fields(read):
        one, other = getattr(read, f.name), getattr(fresh, f.name)
        if isinstance(one, SparseMatrix):
            one, other = one.to_dense(), other.to_dense()
        if isinstance(one, np.ndarray):
            assert np.abs(one - other).max() < TOLERANCE, f.name
        elif f.name == 'shape_mixture':
            assert (one is None) == (other is None)
        else:
            assert one == other, f.name
    assert read.licence == 'CC0-1.0'
    assert find_body_model(name).stat().st_size < MOST_BYTES


def test_the_kinds_are_shipped_with_it(made):
    read, fresh = load_body_model_data('quadruped').shape_mixture, made['quadruped'].shape_mixture
    assert read.names == fresh.names
    for name in ('weights', 'means', 'covs'):
        assert np.abs(getattr(read, name) - getattr(fresh, name)).max() < TOLERANCE


def test_every_one_loads_by_name():
    assert shipped_models() == ('insect', 'quadruped')
    for name in shipped_models():
        assert sf.load_body_model(name).data.name == name


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'insect').mkdir()
    assert find_body_model('insect').name == 'insect.smil.json', 'a folder is no body model'
    (tmp_path / 'quadruped').write_text('')
    assert find_body_model('quadruped').resolve() == tmp_path / 'quadruped'


@pytest.mark.parametrize('name', ['quadrupd', 'quadruped.smil.json', 'here/quadruped.smil.json'])
def test_a_misspelt_name_tells_the_near_ones(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"is not there. .*Did you mean 'quadruped'\?"):
        load_body_model_data(name)
