"""Tools that are killed, or whose disk is full, at one of their file operations: the same command makes it right.

A part of `python -m benchmarks.reliability faults`, which takes more points of more tools.
"""

import pytest

from smilfit.apis.shipped_configs import configs_folder
from tests.hostile import fault_shim
from tests.hostile.fault_tools import differences
from tests.hostile.faults import inject
from tests.hostile.small_inputs import make_inputs

pytestmark = pytest.mark.skipif(fault_shim.unavailable() is not None, reason=str(fault_shim.unavailable()))


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('faults') / 'inputs'
    return make_inputs(folder, configs_folder() / 'train' / 'multiview_demo.py')


@pytest.mark.parametrize(
    ('tool', 'count'), [('preprocess', 12), ('fit over another fit', 12), ('fit_images', 8)]
)
def test_the_same_command_makes_it_right(inputs, tmp_path, tool, count):
    result = inject([tool], inputs, tmp_path / 'work', count)
    assert len(result) == count
    assert {fault.mode for fault in result} == set(fault_shim.MODES)
    # Where nothing was broken off, nothing was tried.
    assert sum(fault.first == 'signal 9' for fault in result) >= count // 3
    assert sum(fault.first == '1' for fault in result) >= 1
    assert {
        (fault.at, fault.operation, fault.mode): fault.problems for fault in result if fault.problems
    } == {}


def test_differences_are_seen(tmp_path):
    for name, text in (('one', 'a'), ('two', 'b')):
        (tmp_path / name / 'in').mkdir(parents=True)
        (tmp_path / name / 'in' / 'x.json').write_text(text)
        (tmp_path / name / f'{name}.obj').write_text(text)
    result = differences(tmp_path / 'one', tmp_path / 'two')
    assert result == ['one.obj is missing', 'two.obj is left over', 'in/x.json differs']
