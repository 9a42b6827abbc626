"""Closest points against dense sampling, and the search against every triangle."""

import pytest
import torch

from smilfit.geometry.surface_search import (
    FacesAround,
    closest_of_segments,
    closest_on_surface,
    closest_on_triangles,
)
from tests.renderers.render_scenes import sphere


def test_no_point_of_a_triangle_is_closer():
    points, corners = torch.randn(200, 3).double(), torch.randn(200, 3, 3).double()
    corners[0] = corners[0, :1]  # a point
    corners[1, 2] = 0.3 * corners[1, 0] + 0.7 * corners[1, 1]  # a segment
    shares = closest_on_triangles(points, corners)
    torch.testing.assert_close(shares.sum(-1), torch.ones(200).double())
    assert shares.min() > -1e-12
    result = ((shares.unsqueeze(-1) * corners).sum(1) - points).norm(dim=-1)
    grid = torch.tensor([[i, j, 60 - i - j] for i in range(61) for j in range(61 - i)]).double() / 60
    sampled = (torch.einsum('gk,nkc->ngc', grid, corners) - points[:, None]).norm(dim=-1).amin(1)
    assert (result <= sampled + 1e-12).all()
    assert (sampled - result).max() < 0.1


def test_no_points_of_two_segments_are_closer():
    first, second = torch.randn(300, 2, 3).double(), torch.randn(300, 2, 3).double()
    first[:3, 1] = first[:3, 0]  # points
    second[1:5, 1] = second[1:5, 0] + 2 * (first[1:5, 1] - first[1:5, 0])  # points and parallels
    s, t = (x.unsqueeze(-1) for x in closest_of_segments(first, second))
    result = (first[:, 0] * (1 - s) + first[:, 1] * s - second[:, 0] * (1 - t) - second[:, 1] * t).norm(
        dim=-1
    )
    step = torch.linspace(0, 1, 41).double()
    on_first = first[:, None, 0] + step[:, None] * (first[:, None, 1] - first[:, None, 0])
    on_second = second[:, None, 0] + step[:, None] * (second[:, None, 1] - second[:, None, 0])
    sampled = torch.cdist(on_first, on_second).amin((1, 2))
    assert (result <= sampled + 1e-9).all()
    assert (sampled - result).max() < 0.1


@pytest.mark.parametrize('with_normals', [False, True])
def test_search_finds_what_every_triangle_would(with_normals):
    vertices, faces = sphere(12, 16)
    batch = torch.stack((vertices, 1.5 * vertices + 0.3))
    points = 1.2 * torch.randn(2, 80, 3).double()
    observed = torch.rand(2, 80) < 0.8
    observed[1, :40] = False
    around = FacesAround.of(faces, len(vertices))
    normals = torch.nn.functional.normalize(points, dim=-1) if with_normals else None
    closest = closest_on_surface(points, observed, batch, around, 3, normals, -1.0)
    assert torch.equal(closest.matched, observed)
    corners = batch[:, None].expand(2, 80, -1, 3)[:, :, faces]
    shares = closest_on_triangles(points[:, :, None].expand(2, 80, len(faces), 3), corners)
    slow = ((shares.unsqueeze(-1) * corners).sum(-2) - points[:, :, None]).norm(dim=-1).amin(-1)
    fast = (closest.on(batch) - points).norm(dim=-1)
    torch.testing.assert_close(fast[observed], slow[observed])


def test_normals_tell_the_sides_of_a_sheet_apart():
    sheet = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]).double()
    both = torch.cat((sheet, sheet - torch.tensor([0, 0, 0.05]).double()))
    faces = torch.tensor([[0, 1, 2], [3, 5, 4]])
    point = torch.tensor([[[0.2, 0.2, 0.01]]]).double()
    around = FacesAround.of(faces, 6)

    def found(normal, cosine):
        seen = torch.ones(1, 1, dtype=torch.bool)
        return closest_on_surface(point, seen, both[None], around, 6, normal, cosine)

    assert found(None, -1.0).vertices.max() == 2
    down = torch.tensor([[[0.0, 0, -1]]]).double()
    assert found(down, 0.5).vertices.min() == 3
    sideways = torch.tensor([[[1.0, 0, 0]]]).double()
    assert not found(sideways, 0.5).matched.any()
