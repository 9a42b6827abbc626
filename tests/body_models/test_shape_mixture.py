"""Kinds of animals in one shape space: their moments, their way through a file, and every way to be wrong."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from smilfit.body_models import ShapeMixture, check_body_model, load_body_model_data, save_body_model
from smilfit.body_models.files.smil_json import SCHEMA
from tests.animals import small_animal

DIRECTIONS = np.random.default_rng(0).normal(size=(2, 3, 3))
PARTS = {
    'names': ('cat', 'camel'),
    'weights': np.array([0.25, 0.75]),
    'means': np.array([[0.0, 1.0, 2.0], [1.0, -1.0, 0.5]]),
    'covs': DIRECTIONS @ DIRECTIONS.transpose(0, 2, 1),
}


def test_the_moments_are_those_of_many_specimens():
    mixture = ShapeMixture(**PARTS)
    rng = np.random.default_rng(1)
    drawn = [
        rng.multivariate_normal(mean, cov, n)
        for mean, cov, n in zip(mixture.means, mixture.covs, (25000, 75000))
    ]
    specimens = np.concatenate(drawn)
    mean, cov = mixture.moments()
    assert np.abs(specimens.mean(0) - mean).max() < 0.03
    assert np.abs(np.cov(specimens.T) - cov).max() < 0.02 * np.abs(cov).max()


def test_it_survives_the_model_file_and_the_hash_knows_it(tmp_path):
    plain = small_animal()
    data = replace(plain, shape_mixture=ShapeMixture(**PARTS))
    path = save_body_model(data, tmp_path / 'a.smil.json')
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    back = load_body_model_data(path)
    assert back.shape_mixture.names == PARTS['names']
    for name in ('weights', 'means', 'covs'):
        assert np.array_equal(getattr(back.shape_mixture, name), PARTS[name])
    assert back.content_hash() == data.content_hash() != plain.content_hash()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'names': ('cat', 'cat')}, 'names must differ'),
        ({'means': np.zeros((3, 3))}, r'means must have shape \(2, S\)'),
        ({'weights': np.array([0.5, 0.6])}, 'sum to 1'),
        ({'weights': np.array([1.5, -0.5])}, 'above 0'),
        ({'means': np.full((2, 3), np.nan)}, 'means must be finite'),
        ({'covs': np.eye(3)[None].repeat(3, 0)}, r'covs must have shape \(2, 3, 3\)'),
        ({'covs': np.triu(np.ones((2, 3, 3)))}, "'cat' must be symmetric"),
        ({'covs': -np.eye(3)[None].repeat(2, 0)}, 'no variance below 0'),
    ],
)
def test_what_is_no_mixture_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ShapeMixture(**(PARTS | change))


def test_a_kind_that_is_not_there_names_the_near_ones():
    mixture = ShapeMixture(**PARTS)
    assert mixture.index('camel') == 1
    with pytest.raises(KeyError, match=r"no kind 'cam'.*camel"):
        mixture.index('cam')


def test_it_must_be_of_the_models_coefficients():
    with pytest.raises(ValueError, match='shape_mixture must be over 2 coefficients; got 3'):
        check_body_model(replace(small_animal(n_betas=2), shape_mixture=ShapeMixture(**PARTS)), 'here')


def test_rows_of_a_file_that_do_not_fit_are_named(tmp_path):
    path = save_body_model(
        replace(small_animal(), shape_mixture=ShapeMixture(**PARTS)), tmp_path / 'a.smil.json'
    )
    document = json.loads(path.read_text())
    document['shape']['mixture'][1]['mean'] = [1.0]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r'a.smil.json: shape.mixture\[1\] must have 3 means'):
        load_body_model_data(path)
