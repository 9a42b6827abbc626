"""Pickles of body models whose values have another kind or shape than their keys need."""

import numpy as np

from tests.hostile.pickle_writer import (
    NONE,
    TRUE,
    array,
    filled,
    integer,
    kind,
    listed,
    mapped,
    model,
    raw,
    real,
    several,
    text,
)


def _many_joints(count: int, parent: int = 0) -> bytes:
    """Write a body of one vertex whose joints all have one name, which a list of them would be searched for."""
    parents = np.full(count, parent)
    parents[0] = -1
    weights = np.zeros((1, count))
    weights[0, 0] = 1
    return model(
        v_template=array([[0.0, 0.0, 0.0]]),
        f=array(np.zeros((1, 3)), 'i4'),
        weights=array(weights),
        kintree_table=array([parents, np.arange(count)], 'i4'),
        J=array(np.zeros((count, 3))),
        J_regressor=array([]),
        shapedirs=array([]),
        J_names=listed(*[text('joint')] * count),
    )


def wrong_types() -> dict[str, bytes]:
    words = listed(*[text('ab')] * 4)
    return {
        'weights_of_text': model(weights=words),
        'weights_of_text_array': model(weights=filled(kind('S2'), several(integer(4)), raw(b'abababab'))),
        'weights_ragged': model(weights=listed(listed(integer(1)), listed(integer(1), integer(2)))),
        'weights_a_dict': model(weights=mapped({text('a'): integer(1)})),
        'weights_nothing': model(weights=NONE),
        'weights_one_number': model(weights=real(1.0)),
        'weights_one_row': model(weights=array([1.0, 0.0])),
        'weights_beyond_64_bits': model(weights=listed(listed(integer(2**200), integer(1)))),
        'v_template_text': model(v_template=text('ab')),
        'v_template_true': model(v_template=TRUE),
        'v_template_flat': model(v_template=array([1.0, 2.0, 3.0])),
        'v_template_empty': model(v_template=array(np.zeros((0, 3)))),
        'kintree_one_number': model(kintree_table=integer(0)),
        'kintree_empty': model(kintree_table=array([], 'i4')),
        'kintree_between': model(kintree_table=array([[-1, 0.5], [0, 1]])),
        'kintree_not_a_number': model(kintree_table=array([[np.nan, 0], [0, 1]])),
        'faces_between': model(f=array([[0, 0.5, 1]])),
        'faces_beyond_64_bits': model(f=array([[0, 1, 1e30]])),
        'faces_below': model(f=array([[0, 1, -1]], 'i4')),
        'faces_flat': model(f=array([0, 1, 2], 'i4')),
        'faces_one_number': model(f=integer(3)),
        'names_a_number': model(J_names=integer(3)),
        'names_twice_of_20000_joints': _many_joints(20_000),
        'parents_of_20000_joints': _many_joints(20_000, parent=5),
        'names_of_numbers': model(J_names=listed(real(1.0), real(2.0))),
        'shapedirs_one_number': model(shapedirs=real(1.0)),
        'shapedirs_flat': model(shapedirs=array([1.0, 2.0])),
        'posedirs_one_number': model(posedirs=real(1.0)),
        'static_joints_of_an_array': model(static_joint_locs=array([1.0, 0.0])),
        'sym_verts_between': model(sym_verts=array([0.5])),
        'sym_verts_beyond': model(sym_verts=array([10**9], 'i4')),
        'regressor_one_number': model(J_regressor=real(1.0)),
        'regressor_flat': model(J_regressor=array([1.0])),
        'mean_one_number': model(shape_mean_betas=real(1.0)),
        'limits_of_text': model(joint_limits=words),
    }
