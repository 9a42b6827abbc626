"""The table of parameters: what it says holds of the parameters, and a row that cannot be is refused."""

import re
from dataclasses import fields

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.registrants import Stage
from smilfit.registrants.clip_fit import without_shape
from smilfit.structures import PARAMETERS, BodyParams, ParameterSpec, parameter_names, register_parameter
from tests.animals import random_params, small_animal

BODY = [PARAMETERS[n] for n in parameter_names(of='body')]


def test_fields_of_body_params_are_the_tables_rows():
    assert {f.name for f in fields(BodyParams)} - {'further'} == {spec.name for spec in BODY}
    required = {f.name for f in fields(BodyParams) if f.name != 'further' and f.default is not None}
    assert required == set(parameter_names(of='body', optional=False))


def test_a_body_at_rest_has_the_shapes_of_the_table():
    body = SMIL(small_animal())
    full = body.zero_params(2).with_rest(parameter_names(of='body'), body.sizes)
    for spec in BODY:
        value = getattr(full, spec.name)
        # This model has no expression and no landmarks: nothing of them is there.
        assert (value is None) == (spec.name in ('expression', 'landmark_offsets'))
        if value is not None:
            assert value.shape == (2, *spec.row(body.sizes))
            assert torch.equal(spec.from_free(spec.free(value)), value)
    plain, rested = (body(p, ('joints', 'vertices')) for p in (body.zero_params(2), full))
    assert torch.allclose(plain.vertices, rested.vertices, atol=1e-6)


def test_rotations_go_between_vectors_and_matrices():
    params = random_params(small_animal(), 2)
    for spec in (s for s in BODY if s.kind == 'rotation'):
        value = getattr(params, spec.name)
        matrix = spec.as_matrix(value)
        assert spec.is_matrix(matrix)
        assert not spec.is_matrix(value)
        assert torch.allclose(spec.as_axis_angle(matrix), value)
        assert spec.as_matrix(matrix) is matrix
        assert torch.equal(
            spec.rest(tuple(matrix.shape[1:]), 2, matrix), spec.as_matrix(torch.zeros_like(value))
        )


def test_a_stage_that_says_nothing_fits_what_the_table_says():
    assert Stage().fit == ('global_orient', 'transl', 'body_pose', 'betas')
    assert Stage(fit=('betas', 'scale', 'transl', 'cameras')).extras == ('betas', 'scale')


def test_windows_hold_what_a_clip_shares():
    stage = without_shape(Stage(fit=tuple(PARAMETERS)))
    assert stage.fit == ('global_orient', 'transl', 'body_pose', 'expression')


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ParameterSpec('two words', (3,), ''), "name must be an identifier; got 'two words'"),
        (lambda: ParameterSpec('bend', ('J', 4), 'rad', 'rotation'), 'rotation must end in 3'),
        (lambda: register_parameter(ParameterSpec('map', (3,), '')), "must be free in BodyParams; got 'map'"),
        (lambda: register_parameter(ParameterSpec('betas', (3,), '')), "free in BodyParams; got 'betas'"),
        (lambda: register_parameter(ParameterSpec('bend', (3,), '', optional=False)), "'bend' must be an optional"),
        (lambda: register_parameter(ParameterSpec('focal', ('J',), '')), "'focal' must be registered once"),
        (lambda: ParameterSpec('bend', ('Z', 3), '').row({'J': 4, 'V': 9}), "sizes of the body, J, V; got 'Z'. Add"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message) + '|' + message):
        make()
    assert 'bend' not in PARAMETERS
