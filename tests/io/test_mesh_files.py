"""Mesh files come back as they were written."""

import numpy as np
import pytest
import trimesh

from smilfit.io import MESH_FORMATS, write_mesh
from tests.animals import small_animal


@pytest.mark.parametrize('kind', MESH_FORMATS)
def test_a_mesh_comes_back(kind, tmp_path):
    data = small_animal()
    # A vertex that no face uses must stay: the file's numbering is the model's.
    vertices = np.concatenate((data.v_template + 123.456, [[1.0, 2.0, 3.0]]))
    path = write_mesh(tmp_path / 'a' / f'body.{kind}', vertices, data.faces)
    back = trimesh.load(path, process=False, maintain_order=True)
    assert np.array_equal(back.faces, data.faces)
    assert len(back.vertices) == len(vertices)
    assert np.allclose(back.vertices, vertices, atol=1e-4, rtol=0)


def test_what_cannot_be_written(tmp_path):
    data = small_animal()
    with pytest.raises(ValueError, match=r"must be one of .*got '.stl'"):
        write_mesh(tmp_path / 'a.stl', data.v_template, data.faces)
    with pytest.raises(ValueError, match='must be finite'):
        write_mesh(tmp_path / 'a.obj', data.v_template * np.nan, data.faces)
