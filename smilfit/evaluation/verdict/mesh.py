"""Triangles of a fitted mesh against those at rest: torn ones and inverted ones."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.structures import BodyParams

# An edge so many times longer than at rest has torn the skin.
TORN = 3.0


@torch.no_grad()
def torn_share(
    body: SMIL, params: BodyParams, vertices: Float[Tensor, 'B V 3'] | None = None
) -> Float[Tensor, ' B']:
    """Give the share of the skin (of its area at rest) whose triangles have an edge `TORN` times as long as at rest.

    Scale is taken out by the median edge. `vertices` are those of the bodies, where the caller has them.
    """
    faces, rest = body.faces, body.rest_vertices(body.zero_params(1).betas)
    before = _edges(rest, faces)
    after = _edges(posed(body, params) if vertices is None else vertices, faces)
    ratio = after / before.clamp_min(1e-9 * body.rest_size)
    ratio = ratio / ratio.flatten(1).median(1).values[:, None, None]
    return _share((ratio > TORN).any(-1), rest, faces)


@torch.no_grad()
def inverted_share(
    body: SMIL, params: BodyParams, vertices: Float[Tensor, 'B V 3'] | None = None
) -> Float[Tensor, ' B']:
    """Give the share of the skin (of its area at rest) that is turned inside out.

    A triangle is inverted where its normal points against that at rest, turned by the bones that carry it
    (skinning weights blend their rotations). `vertices` are those of the bodies, where the caller has them.
    """
    faces, rest = body.faces, body.rest_vertices(body.zero_params(1).betas)
    params = params.to(body.v_template)
    turns = _world_rotations(body, params)
    weights = torch.as_tensor(body.data.weights.to_dense()).to(turns)
    blended = (weights @ turns.flatten(2)).unflatten(2, (3, 3))
    carried = sum(blended[:, faces[:, corner]] for corner in range(3))
    turned = (carried @ _normals(rest, faces)[0].unsqueeze(-1)).squeeze(-1)
    vertices = posed(body, params) if vertices is None else vertices
    against = (turned * _normals(vertices, faces)).sum(-1) < 0
    return _share(against, rest, faces)


@torch.no_grad()
def posed(body: SMIL, params: BodyParams) -> Float[Tensor, 'B V 3']:
    """Give the vertices of bodies."""
    return body(params.to(body.v_template), ('vertices',)).vertices


def _world_rotations(body: SMIL, params: BodyParams) -> Tensor:
    local = params.rotations()
    found: list[Tensor] = []
    for j, parent in enumerate(body.data.parents.tolist()):
        found.append(local[:, j] if parent < 0 else found[parent] @ local[:, j])
    return torch.stack(found, 1)


def _edges(vertices: Tensor, faces: Tensor) -> Tensor:
    corners = vertices[:, faces]
    return (corners - corners.roll(1, dims=2)).norm(dim=-1)


def _normals(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = vertices[:, faces].unbind(2)
    return torch.linalg.cross(b - a, c - a)


def _share(bad: Tensor, rest: Tensor, faces: Tensor) -> Tensor:
    area = _normals(rest, faces)[0].norm(dim=-1)
    return (bad * area).sum(-1) / area.sum()
