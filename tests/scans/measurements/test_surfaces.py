"""Areas, volumes, girths and geodesics against shapes whose numbers are known."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from smilfit.body_models import BodyModelData, SparseMatrix
from smilfit.rigs.triangles import face_areas
from smilfit.scans.measurements.geodesics import nearest_point, shortest_path
from smilfit.scans.measurements.girths_and_volumes import section_across, volume_of
from smilfit.scans.measurements.surface import NotMeasurableError, Surface


def model_of(vertices: np.ndarray, faces: np.ndarray) -> BodyModelData:
    """Make a model of one bone, whose skin all is."""
    weights = np.zeros((len(vertices), 2))
    weights[:, 0] = 1.0
    return BodyModelData(
        name='shape',
        v_template=np.asarray(vertices, float),
        faces=np.asarray(faces),
        joint_names=('a', 'b'),
        parents=np.array([-1, 0]),
        weights=SparseMatrix.from_dense(weights),
        joints=np.array([[0.0, 0, -1], [0, 0, 1]]),
    )


def ball(level: int = 4) -> tuple[np.ndarray, Surface]:
    """Make a sphere of radius 1."""
    mesh = trimesh.creation.icosphere(level)
    return np.array(mesh.vertices), Surface.of(model_of(mesh.vertices, mesh.faces))


def long_way(vertices: np.ndarray, surface: Surface, a: np.ndarray, b: np.ndarray) -> float:
    ends = (nearest_point(vertices, surface, np.asarray(p, float)) for p in (a, b))
    return shortest_path(vertices, surface, *ends).length(vertices, surface.faces)


def test_area_volume_and_girth_of_a_ball():
    vertices, surface = ball()
    assert face_areas(vertices, surface.faces).sum() == pytest.approx(4 * np.pi, rel=5e-3)
    result = volume_of(vertices, surface)
    assert result.value == pytest.approx(4 / 3 * np.pi, rel=5e-3)
    assert (result.n_border_edges, result.n_pieces, result.open_percent, result.remarks()) == (0, 1, 0.0, [])
    start, end = np.array([0.0, 0, -1]), np.array([0.0, 0, 1])
    centre = section_across(vertices, surface, start, end, 0.5, (0, 1))
    assert centre.closed
    assert centre.length == pytest.approx(2 * np.pi, rel=5e-3)
    assert centre.hull_length == pytest.approx(centre.length, rel=1e-6)
    high = section_across(vertices, surface, start, end, 0.9, (0, 1))
    assert high.length == pytest.approx(2 * np.pi * 0.6, rel=1e-2)


def test_a_hole_is_told_and_closed():
    vertices, surface = ball(3)
    kept = vertices[surface.faces].mean(1)[:, 2] < 0.9
    cut = Surface.of(model_of(vertices, surface.faces[kept]))
    result = volume_of(vertices, cut)
    height = 0.1
    cap = np.pi * height**2 * (3 - height) / 3
    assert result.value == pytest.approx(volume_of(vertices, surface).value - cap, rel=1e-2)
    assert result.n_border_edges > 5
    assert 0 < result.open_percent < 5
    assert 'open' in result.remarks()[0]


def test_geodesics_on_a_sphere_are_arcs():
    vertices, surface = ball(3)
    rng = np.random.default_rng(0)
    for _ in range(4):
        a, b = (p / np.linalg.norm(p) for p in rng.normal(size=(2, 3)))
        assert long_way(vertices, surface, a, b) == pytest.approx(np.arccos(a @ b), rel=1e-2)


@pytest.mark.parametrize('stretch', [1.0, 6.0])
def test_geodesics_on_a_flat_grid_are_straight(stretch):
    # Stretched triangles are thin; along the edges the way would be up to 41 % too long.
    x, y = np.meshgrid(np.arange(13.0), stretch * np.arange(13.0), indexing='ij')
    vertices = np.stack((x.ravel(), y.ravel(), 0 * x.ravel()), 1)
    at = np.arange(169).reshape(13, 13)
    low, right, up, far = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel()
    faces = np.concatenate((np.stack((low, right, far), 1), np.stack((low, far, up), 1)))
    surface = Surface.of(model_of(vertices, faces))
    for a, b in (((0.2, 11.9), (11.7, 0.4)), ((0, 3.3), (12, 9.1)), ((5, 0), (5.3, 12))):
        ends = np.array([(*a, 0.0), (*b, 0.0)]) * (1, stretch, 1)
        assert long_way(vertices, surface, *ends) == pytest.approx(
            np.linalg.norm(ends[0] - ends[1]), rel=2e-3
        )


def test_seams_are_no_borders_and_separate_pieces_have_no_way():
    box = trimesh.creation.box((2.0, 2.0, 2.0))
    corners = box.vertices[box.faces].reshape(-1, 3)
    loose = np.arange(len(corners)).reshape(-1, 3)
    surface = Surface.of(model_of(corners, loose))
    assert volume_of(corners, surface).value == pytest.approx(8.0)
    assert volume_of(corners, surface).n_border_edges == 0
    # From the middle of one side over an edge to that of the next, and to that of the other side.
    assert long_way(corners, surface, [0, 0, 1], [1, 0, 0]) == pytest.approx(2.0, rel=1e-3)
    assert long_way(corners, surface, [0, 0, 1], [0, 0, -1]) == pytest.approx(4.0, rel=1e-3)
    both = np.concatenate((box.vertices, box.vertices + 5))
    apart = Surface.of(model_of(both, np.concatenate((box.faces, box.faces + 8))))
    with pytest.raises(NotMeasurableError, match='separate pieces'):
        long_way(both, apart, both[0], both[10])


def test_a_girth_is_of_the_bones_own_skin():
    """Two legs side by side: the plane cuts both, and each leg has its own girth."""
    leg = trimesh.creation.cylinder(0.5, 4.0, sections=64).subdivide()
    vertices = np.concatenate((leg.vertices, leg.vertices * (2, 2, 1) + (3, 0, 0)))
    faces = np.concatenate((leg.faces, leg.faces + len(leg.vertices)))
    weights = np.zeros((len(vertices), 2))
    weights[: len(leg.vertices), 0] = weights[len(leg.vertices) :, 1] = 1
    data = replace(model_of(vertices, faces), weights=SparseMatrix.from_dense(weights))
    surface, low, high = Surface.of(data), np.array([0.0, 0, -2]), np.array([0.0, 0, 2])
    thin = section_across(vertices, surface, low, high, 0.5, (0,))
    assert thin.length == pytest.approx(np.pi, rel=2e-3)
    thick = section_across(vertices, surface, low + (3, 0, 0), high + (3, 0, 0), 0.5, (1,))
    assert thick.length == pytest.approx(2 * np.pi, rel=2e-3)
    # Where both are the bone's, the one around it counts.
    assert section_across(vertices, surface, low, high, 0.5, (0, 1)).length == pytest.approx(np.pi, rel=2e-3)
    with pytest.raises(NotMeasurableError, match='no skin'):
        section_across(vertices, surface, low + (0, 0, 10), high + (0, 0, 10), 0.5, (0,))
