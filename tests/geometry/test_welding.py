"""Vertices on one place are one, however many lie there."""

import numpy as np
import pytest

from smilfit.geometry.surface_graph import SAME_PLACE, first_of_place, surface_graph


def test_the_first_vertex_of_a_place_stands_for_it():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [5, 0, 0], [1, 0, 0], [0, 2, 0.0]])
    assert first_of_place(vertices).tolist() == [0, 1, 0, 3, 1, 5]


@pytest.mark.parametrize('size', [1e-6, 1.0, 1e6])
def test_the_tolerance_is_a_share_of_the_size(size):
    step = SAME_PLACE * size
    vertices = np.array([[0, 0, 0], [0.4 * step, 0, 0], [size, 0, 0], [size, 3 * step, 0]])
    assert first_of_place(vertices).tolist() == [0, 0, 2, 3]


def test_very_many_vertices_on_few_places_are_no_work():
    vertices = np.repeat(np.eye(3), 30_000, 0)
    assert np.unique(first_of_place(vertices)).tolist() == [0, 30_000, 60_000]


def test_a_mesh_without_extent_is_one_place():
    assert first_of_place(np.ones((4, 3))).tolist() == [0, 0, 0, 0]
    assert first_of_place(np.zeros((0, 3))).tolist() == []


def test_the_graph_of_many_loose_triangles_is_in_one_piece():
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(0)
    corners = (rng.normal(size=(500, 1, 3)) + 1e-3 * rng.normal(size=(500, 3, 3))).reshape(-1, 3)
    # A piece of many vertices sees none but its own.
    fan = np.stack([np.cos(np.linspace(0, 6, 40)), np.sin(np.linspace(0, 6, 40)), np.zeros(40)], 1) * 1e-2 + 9
    faces = np.arange(1500).reshape(-1, 3)
    rows = 1500 + np.stack([np.zeros(38), np.arange(1, 39), np.arange(2, 40)], 1).astype(int)
    graph = surface_graph(np.concatenate([corners, fan]), np.concatenate([faces, rows]))
    assert connected_components(graph, directed=False)[0] == 1
