"""A fitted body from viewpoints that no camera had: from its side, from above, from the front, in its own frame."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.drawing.marks import BODY, put_text, scale_of
from smilfit.drawing.overlays import grid_of_views
from smilfit.io.lookup_proposals import body_axes
from smilfit.renderers import MeshPainter
from smilfit.structures import BodyParams, Cameras

# How far the eye is, in body sizes: nearly no perspective. How much of an image the body fills.
_FAR, _FILLED = 20.0, 0.88
_PAPER = 245
VIEWS = ('side', 'above', 'front')


def free_views(
    body: SMIL,
    params: BodyParams,
    side_px: int = 300,
    label: str = '',
    mesh_painter: MeshPainter | None = None,
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw one body from its side, from above and from the front, its root's turn taken back.

    Where these are on a model that does not say it, the names of its joints tell.

    Args:
        body: the body.
        params: of one body.
        side_px: of each view.
        label: for the first view.
        mesh_painter: of the body's faces; a new one if None.
    """
    plain = params.as_axis_angle()
    still = plain.replace(
        global_orient=torch.zeros_like(plain.global_orient),
        transl=torch.zeros_like(plain.transl),
        scale=torch.ones_like(plain.scale),
    )
    with torch.no_grad():
        vertices = body(still.to(body.v_template), ('vertices',)).vertices[0].cpu().double()
    axes = body_axes(body.data)
    forward, left, up = (torch.from_numpy(axis) for axis in (axes.forward, axes.left, axes.up))
    # Rows: to the right, down and into the image.
    looks = {'side': (forward, -up, left), 'above': (forward, left, -up), 'front': (left, -up, -forward)}
    low, high = vertices.amin(0), vertices.amax(0)
    centre, size = (low + high) / 2, float((high - low).norm())
    painter, tiles = mesh_painter or MeshPainter(body.faces), []
    for name in VIEWS:
        rotation = torch.stack(looks[name])
        spread = ((vertices - centre) @ rotation.T)[:, :2].abs().max()
        focal = _FILLED * 0.5 * side_px * _FAR * size / float(spread.clamp_min(1e-9))
        camera = _camera(name, rotation, centre, _FAR * size, focal, side_px)
        canvas = np.full((side_px, side_px, 3), _PAPER, np.uint8)
        if bool(vertices.isfinite().all()):
            canvas = painter.paint(canvas, vertices, camera, tuple(c / 255 for c in BODY.colour), 1.0)
        scale = scale_of(canvas)
        text = f'{label}  {name}' if label and name == VIEWS[0] else name
        put_text(canvas, text, (round(8 * scale), round(22 * scale)), max(0.65 * scale, 0.4))
        tiles.append(canvas)
    return grid_of_views(tiles, columns=len(tiles))


def _camera(
    name: str, rotation: Tensor, middle: Tensor, distance: float, focal: float, side_px: int
) -> Cameras:
    centre = (side_px - 1) / 2
    K = torch.tensor([[[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]]])
    t = torch.tensor([0.0, 0.0, distance]).double() - rotation @ middle
    size = torch.full((1, 2), float(side_px))
    return Cameras((name,), K, rotation.float().unsqueeze(0), t.float().unsqueeze(0), size)
