"""Scans that would stop the machine end in a sentence that names the file; what they name stays in their folder."""

import hashlib
import json
import os
import sys

import numpy as np
import pytest

from smilfit.cli.fitting.register import main
from smilfit.files import BadFileError
from smilfit.io.meshes.mesh_files import write_mesh
from smilfit.io.meshes.scan_files import find_scans, read_mesh, read_scan_landmarks, scan_digest
from tests.hostile.hostile_scans import glb, mesh_document, small_obj

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def without_view(document):
    document['accessors'][0] = {'componentType': 5126, 'count': 10**9, 'type': 'VEC3'}


def shown_often(document):
    document['nodes'] = [{'mesh': 0}] * 2000
    document['scenes'] = [{'nodes': list(range(2000))}]


def outside(document):
    document['buffers'] = [{'uri': '../../dev/zero', 'byteLength': 100}]


BOMBS = {
    'without_view': (without_view, 'must take at most 512 MiB of memory'),
    'shown_often': (shown_often, 'objects; got .* with its vertices and triangles'),
    'outside': (outside, 'must lie inside'),
}


@pytest.mark.skipif(
    sys.platform != 'linux', reason='memory is bounded by the system where processes are forked'
)
@pytest.mark.parametrize('name', BOMBS)
def test_what_would_fill_the_memory_is_refused(name, tmp_path):
    change, rule = BOMBS[name]
    document, data = mesh_document(100)
    change(document)
    path = tmp_path / 'scan.glb'
    path.write_bytes(glb(document, b'' if name == 'outside' else data))
    with pytest.raises(BadFileError, match=rule) as raised:
        read_mesh(path)
    assert str(raised.value).startswith(str(path))


def test_a_buffer_beside_its_scan_is_read(tmp_path):
    document, data = mesh_document(8)
    document['buffers'][0]['uri'] = 'points.bin'
    (tmp_path / 'points.bin').write_bytes(data)
    (tmp_path / 'scan.glb').write_bytes(glb(document))
    vertices, faces = read_mesh(tmp_path / 'scan.glb')
    assert vertices.shape == (8, 3)
    assert np.array_equal(faces, [[0, k, k + 1] for k in range(1, 7)])


@pytest.mark.parametrize('kind', ['obj', 'ply', 'glb'])
def test_a_scan_comes_back_and_may_be_written_to(kind, tmp_path):
    vertices, faces = read_mesh(write_mesh(tmp_path / f'scan.{kind}', VERTICES, FACES))
    assert np.array_equal(vertices, VERTICES)
    assert np.array_equal(faces, FACES)
    vertices += 1


def test_a_file_of_holes_is_not_gone_through(tmp_path):
    path = tmp_path / 'scan.stl'
    path.write_bytes(b'solid')
    assert scan_digest(path) == hashlib.sha256(b'solid').hexdigest()
    os.truncate(path, 1 << 30)
    with pytest.raises(BadFileError, match='scan.stl: .* with its length'):
        scan_digest(path)


def test_landmarks_are_points(tmp_path):
    beside = tmp_path / 'scan.landmarks.json'
    assert read_scan_landmarks(tmp_path / 'scan.obj') == {}
    beside.write_text(json.dumps({'a': [1, 2, 3]}))
    assert np.array_equal(read_scan_landmarks(tmp_path / 'scan.obj')['a'], [1, 2, 3])
    beside.write_text('{"a": [' + '[],' * 1000 + '0]}')
    with pytest.raises(BadFileError, match="'a' is "):
        read_scan_landmarks(tmp_path / 'scan.obj')


@pytest.mark.skipif(os.name != 'posix', reason='named pipes')
def test_what_is_no_file_is_no_scan(tmp_path):
    os.mkfifo(tmp_path / 'pipe.obj')
    (tmp_path / 'folder.obj').mkdir()
    (tmp_path / 'a.obj').write_text(small_obj())
    assert list(find_scans([tmp_path])) == ['a']


def test_register_says_what_is_wrong_with_which_file(tmp_path, caplog, capsys):
    (tmp_path / 'config.py').write_text("type = 'MeshRegistrant'\n")
    (tmp_path / 'template.obj').write_text(small_obj())
    few, fan, flat = (tmp_path / name for name in ('few.obj', 'fan.obj', 'flat.obj'))
    few.write_text('v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n')
    fan.write_text(small_obj() + 'f 1 2 3\n' * 3000)
    flat.write_text('v 0 0 0\n' * 5 + 'f 1 2 3\n')
    arguments = [
        str(tmp_path / 'config.py'), '--scans', str(few), str(fan), '--out', str(tmp_path / 'out'),
        '--body-model', str(tmp_path / 'template.obj'), '--no-progress',
    ]  # fmt: skip
    assert main(arguments) == 1
    assert f'error: {few}: vertices must be (V, 3), 4 or more; got (3, 3)' in caplog.text
    assert f'error: {fan}: a corner must lie on at most 100 triangles' in caplog.text
    assert 'not registered: fan, few' in capsys.readouterr().out
    arguments[arguments.index('--body-model') + 1] = str(flat)
    assert main(arguments) == 1
    assert f'error: {flat}: the surface must have an extent' in capsys.readouterr().err
