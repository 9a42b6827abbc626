"""`landmarks.json`: read as written, each fault an error."""

import json
from dataclasses import replace

import pytest

from smilfit.body_models.data import Landmark
from smilfit.body_models.files.landmark_file import (
    FittedLandmarks,
    expect_fitted,
    read_landmark_file,
    write_landmark_file,
)
from tests.animals import small_animal

EXPECTED = {
    'hip skin': Landmark({3: 0.25, 7: 0.75}, 'joint_1', sd=0.1),
    'nape': Landmark('joint_2', 'joint_2'),
}
FOUND = EXPECTED | {'hip skin': replace(EXPECTED['hip skin'], offset=(0.1, -1 / 3, 0.0), sd=0.01)}


def _found(body=None):
    body = body or small_animal()
    return FittedLandmarks(body.name, body.hash_without_landmarks(), 'session_1', FOUND, EXPECTED)


def test_read_as_written(tmp_path):
    path = write_landmark_file(tmp_path / 'landmarks.json', _found())
    assert read_landmark_file(path) == _found()


def test_the_next_session_expects_what_was_found(tmp_path):
    known = EXPECTED | {'new': Landmark('joint_3', 'joint_3', sd=1.0)}
    body = small_animal()
    assert expect_fitted(known, _found(), body, 'f') == FOUND
    # The model of the next session may have its landmarks already.
    assert expect_fitted(known, _found(), replace(body, landmarks=known), 'f') == FOUND


def test_each_misfit_is_an_error():
    body = small_animal()
    with pytest.raises(
        ValueError, match='f: the body model must be the one that the landmarks were found on'
    ):
        expect_fitted(EXPECTED, _found(), small_animal(seed=1), 'f')
    with pytest.raises(KeyError, match="none of 2 is. Did you mean 'hip_skin'"):
        expect_fitted({'hip_skin': EXPECTED['nape']}, _found(), body, 'f')
    moved = EXPECTED | {'nape': Landmark('joint_3', 'joint_2')}
    with pytest.raises(ValueError, match='nape must have the anchor and the bone of the lookup'):
        expect_fitted(moved, _found(), body, 'f')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format': 'x'}, "format must be 'smilfit-landmarks'"),
        ({'version': 2}, 'version must be from 1 to 1'),
        ({'version': True}, 'version must be from 1 to 1'),
        ({'landmarks': []}, 'landmarks must be an object'),
        ({'landmarks': {'a': {'anchor': 'b'}}}, "landmarks.a must have the key 'bone'"),
        ({'landmarks': {'a': {'anchor': 'b', 'bone': 'b', 'sd': 'wide'}}}, 'landmarks.a.sd must'),
        ({'session': ''}, 'session must be a name'),
        ({'landmarks': {str(i): {} for i in range(5001)}}, 'landmarks must be at most 5000'),
    ],
)
def test_hostile_files(tmp_path, change, message):
    path = write_landmark_file(tmp_path / 'landmarks.json', _found())
    path.write_text(json.dumps(json.loads(path.read_text()) | {'expected': {}} | change))
    with pytest.raises(ValueError, match=message):
        read_landmark_file(path)


def test_unknown_keys_name_the_near_ones(tmp_path):
    path = write_landmark_file(tmp_path / 'landmarks.json', _found())
    path.write_text(json.dumps(json.loads(path.read_text()) | {'sesion': 'x'}))
    with pytest.raises(KeyError, match="unknown key 'sesion'. Did you mean 'session'"):
        read_landmark_file(path)
