"""Where a rig faces, by its format and by the names of its joints: what differs is told, and nothing is turned."""

from dataclasses import replace

import pytest

from smilfit.body_models import load_body_model_data
from smilfit.rigs.suspicions import facing


@pytest.mark.parametrize(
    ('up', 'forward', 'found', 'told'),
    [
        # The shipped animal has its back at +z and looks along +x.
        ('+z', '+x', '+x', ''),
        ('+z', '-y', '+x', 'looks along +x, not -y as its format has it'),
        ('+y', '+z', '+z', 'its back at +z and its head at +x'),
        ('-z', '+x', '+x', 'Are left and right exchanged'),
        # With the head above, and left and right as they are of one that stands upright.
        ('+x', '-z', '-z', ''),
        ('+x', '+z', '+z', 'its back at +z'),
        (None, None, None, ''),
    ],
)
def test_names_are_held_against_the_format(up, forward, found, told):
    data = replace(load_body_model_data('quadruped'), up_axis=up, forward_axis=forward)
    result = facing(data)
    assert result.forward_axis == found
    assert told in result.note + result.suspected
    assert bool(told) == bool(result.note + result.suspected)


def test_names_that_say_nothing_leave_it_to_the_format():
    data = load_body_model_data('quadruped')
    names = tuple(f'joint_{j}' for j in range(data.n_joints))
    plain = replace(data, joint_names=names, joint_symmetry=(), keypoint_sets={}, forward_axis='-y')
    assert facing(plain) == ('-y', '', '')
