"""glTF files that would fill the memory or never end are refused in a sentence that names them, or read quickly."""

import numpy as np
import pytest

from smilfit.files import BadFileError
from smilfit.rigs import build_model, read_rig
from smilfit.rigs.clip_poses import MOST_SECONDS, check_length
from tests.hostile.hostile_rigs import FILES, READ, chain

# Those that take a second or more to make or to refuse are rows of the benchmark.
SLOW = {
    'JSON of 10,000,000 lists',
    'JSON of 6,000,000 keys',
    '20,000 clips of 1,000 keys',
    'coordinates of 1e38',
}
REFUSED = sorted(set(FILES) - READ - SLOW)


@pytest.mark.parametrize('name', REFUSED)
def test_it_is_refused_by_name(name, tmp_path):
    path = tmp_path / 'bomb.glb'
    path.write_bytes(FILES[name]())
    with pytest.raises(BadFileError, match=r'bomb\.glb: '):
        read_rig(path)


def test_a_chain_of_five_thousand_joints_is_a_rig(tmp_path):
    path = tmp_path / 'chain.glb'
    path.write_bytes(FILES['a chain of 5,000 joints']())
    rig = read_rig(path)
    assert len(rig.joint_names) == 5002
    assert np.array_equal(rig.parents, np.arange(-1, 5001))


def test_more_joints_than_any_animal_has_are_refused(tmp_path):
    path = tmp_path / 'chain.glb'
    path.write_bytes(chain(6_000, 6_000))
    with pytest.raises(ValueError, match='at most 6000 joints'):
        build_model(read_rig(path))


def test_clips_have_a_longest_duration():
    check_length('a.npz', 'walk', np.array([0.0, MOST_SECONDS]))
    for times in ([0.0, MOST_SECONDS + 1], [0.0, np.nan], [1.0, 0.0]):
        with pytest.raises(BadFileError, match=r'a\.npz: .*the clip walk'):
            check_length('a.npz', 'walk', np.array(times))
