"""Mesh files come back as they were written."""

import json

import numpy as np
import pytest
import trimesh

from smilfit.io import MESH_FORMATS, write_mesh
from tests.animals import small_animal


def _read_obj(path):
    rows = [line.split() for line in path.read_text().splitlines() if line]
    faces = [[int(word.split('/')[0]) - 1 for word in row[1:]] for row in rows if row[0] == 'f']
    return np.array([row[1:4] for row in rows if row[0] == 'v'], dtype=float), np.array(faces)


def _read_ply(path):
    head, body = path.read_bytes().split(b'end_header\n')
    n_vertices, n_faces = (int(line.split()[-1]) for line in head.splitlines() if line.startswith(b'element'))
    assert b'binary_little_endian' in head
    vertices = np.frombuffer(body, '<f4', 3 * n_vertices).reshape(-1, 3)
    faces = np.frombuffer(body, [('n', 'u1'), ('corners', '<i4', 3)], n_faces, vertices.nbytes)
    return vertices, faces['corners']


def _read_glb(path):
    data = path.read_bytes()
    size = int.from_bytes(data[12:16], 'little')
    document, buffer = json.loads(data[20 : 20 + size]), data[28 + size :]
    (primitive,) = document['meshes'][0]['primitives']

    def numbers(accessor, kind):
        result = document['accessors'][accessor]
        start = document['bufferViews'][result['bufferView']].get('byteOffset', 0) + result.get(
            'byteOffset', 0
        )
        width = 3 if result['type'] == 'VEC3' else 1
        return np.frombuffer(buffer, kind, result['count'] * width, start).reshape(-1, 3)

    return numbers(primitive['attributes']['POSITION'], '<f4'), numbers(primitive['indices'], '<u4')


@pytest.mark.parametrize('kind', MESH_FORMATS)
def test_a_mesh_comes_back(kind, tmp_path):
    data = small_animal()
    # A vertex that no face uses must stay: the file's numbering is the model's.
    vertices = np.concatenate((data.v_template + 123.456, [[1.0, 2.0, 3.0]]))
    path = write_mesh(tmp_path / 'a' / f'body.{kind}', vertices, data.faces)
    back = {'obj': _read_obj, 'ply': _read_ply, 'glb': _read_glb}[kind](path)
    assert np.array_equal(back[1], data.faces)
    assert len(back[0]) == len(vertices)
    assert np.allclose(back[0], vertices, atol=1e-4, rtol=0)
    # Some versions of trimesh leave that vertex out when they read; the others are the same.
    assert np.array_equal(
        trimesh.load(path, process=False, maintain_order=True, force='mesh').faces, data.faces
    )


def test_what_cannot_be_written(tmp_path):
    data = small_animal()
    with pytest.raises(ValueError, match=r"must be one of .*got '.stl'"):
        write_mesh(tmp_path / 'a.stl', data.v_template, data.faces)
    with pytest.raises(ValueError, match='must be finite'):
        write_mesh(tmp_path / 'a.obj', data.v_template * np.nan, data.faces)
