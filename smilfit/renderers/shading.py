"""From geometry to colour: vertex normals, headlight shading, colours on a mesh, a render over an image."""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.renderers.base import RenderOutput


def vertex_normals(vertices: Float[Tensor, '*n V 3'], faces: Int[Tensor, 'F 3']) -> Float[Tensor, '*n V 3']:
    """Average the normals of the faces around each vertex, weighted by their areas; 0 for a lone vertex."""
    a, b, c = (vertices.index_select(-2, faces[:, corner]) for corner in range(3))
    face_normal = torch.linalg.cross(b - a, c - a)
    # All meshes as one: torch adds rows of a matrix nine times faster than those of a stack.
    n_vertices = vertices.shape[-2]
    total, face_normal = torch.zeros_like(vertices).reshape(-1, 3), face_normal.reshape(-1, 3)
    first = n_vertices * torch.arange(vertices.shape[:-2].numel(), device=faces.device)
    for corner in range(3):
        index = (first[:, None] + faces[:, corner]).reshape(-1)
        total = total.index_add(0, index, face_normal)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-30).reshape(vertices.shape)


def shade(
    normals: Float[Tensor, '*n 3'],
    to_light: Float[Tensor, '*#n 3'],
    colour: Float[Tensor, '*#n 3'],
    ambient: float = 0.25,
) -> Float[Tensor, '*n 3']:
    """Shade by Lambert's law, both sides alike: colour (ambient + (1 - ambient) |n . l|).

    Args:
        normals: of unit length.
        to_light: of unit length, towards the light; the viewer's direction makes a headlight.
        colour: RGB in [0, 1].
        ambient: share of the light that comes from everywhere.
    """
    cosine = (normals * to_light).sum(-1, keepdim=True).abs().clamp_max(1)
    return colour * (ambient + (1 - ambient) * cosine)


def interpolate(
    render: RenderOutput, faces: Int[Tensor, 'F 3'], values: Float[Tensor, 'V D']
) -> Float[Tensor, 'N H W D']:
    """Spread values of vertices over the images; 0 where empty."""
    seen = render.face_id >= 0
    spread = values.new_zeros((*seen.shape, values.shape[1]))
    corners = values[faces[render.face_id[seen]]]
    spread[seen] = (render.barycentric[seen].to(values.dtype).unsqueeze(-1) * corners).sum(-2)
    return spread


def paint_faces(render: RenderOutput, face_colour: Float[Tensor, 'F 3']) -> Float[Tensor, 'N H W 3']:
    """Multiply the shading by a colour of each face (render with white for the plain colours)."""
    seen = render.face_id >= 0
    painted = torch.zeros_like(render.shading)
    painted[seen] = render.shading[seen] * face_colour[render.face_id[seen]].to(painted.dtype)
    return painted


def overlay(
    image: UInt8[np.ndarray, 'H W 3'],
    render: RenderOutput,
    index: int = 0,
    opacity: float = 0.6,
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> UInt8[np.ndarray, 'H W 3']:
    """Lay one rendered image over a photograph.

    Args:
        image: RGB of the render's size.
        render: images of which `index` is taken.
        index: which image.
        opacity: of the mesh, where it covers a pixel.
        colour: RGB in [0, 1] that tints the shading.

    Raises:
        ValueError: the image and the render differ in size.
    """
    alpha = render.alpha[index].detach().cpu().numpy()
    if alpha.shape != image.shape[:2]:
        raise ValueError(
            f'overlay: image and render must have one size; got {image.shape[:2]} and {alpha.shape} (rows, '
            f'columns). Render with the cameras of this image.'
        )
    import cv2

    light = np.ascontiguousarray(render.shading[index].detach().cpu().float().numpy())
    rgb = cv2.multiply(light, tuple(255.0 * c for c in (*colour, 0.0)), dtype=cv2.CV_8U)
    share = np.float32(opacity) * alpha.astype(np.float32)
    return cv2.blendLinear(np.ascontiguousarray(image), rgb, 1 - share, share)
