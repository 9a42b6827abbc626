"""A fitted body from viewpoints that no camera had: from its side, from above, from the front, in its own frame."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.renderers import Renderer, ZBufferRenderer, overlay
from smilfit.structures import BodyParams, Cameras
from smilfit.visualization.marks import BODY, put_text, scale_of
from smilfit.visualization.overlays import grid_of_views

# How far the eye is, in body sizes: nearly no perspective. How much of an image the body fills.
_FAR, _FILLED = 20.0, 0.88
_PAPER = 245
VIEWS = ('side', 'above', 'front')


def free_views(
    body: SMIL,
    params: BodyParams,
    axes: Float[Tensor, '3 3'],
    side_px: int = 300,
    label: str = '',
    renderer: Renderer | None = None,
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw one body from its side, from above and from the front, its root's turn taken back.

    Args:
        body: the body.
        params: of one body.
        axes: the directions forward, left and up of the body at rest, as rows.
        side_px: of each view.
        label: for the first view.
        renderer: a z-buffer if None.
    """
    plain = params.as_axis_angle()
    still = plain.replace(
        global_orient=torch.zeros_like(plain.global_orient),
        transl=torch.zeros_like(plain.transl),
        scale=torch.ones_like(plain.scale),
    )
    with torch.no_grad():
        vertices = body(still.to(body.v_template), ('vertices',)).vertices[0].cpu().double()
    forward, left, up = axes.double()
    # Rows: to the right, down and into the image.
    looks = {'side': (forward, -up, left), 'above': (forward, left, -up), 'front': (left, -up, -forward)}
    low, high = vertices.amin(0), vertices.amax(0)
    middle, size = (low + high) / 2, float((high - low).norm())
    tiles = []
    for name in VIEWS:
        rotation = torch.stack(looks[name])
        spread = ((vertices - middle) @ rotation.T)[:, :2].abs().max()
        focal = _FILLED * 0.5 * side_px * _FAR * size / float(spread.clamp_min(1e-9))
        camera = _camera(name, rotation, middle, _FAR * size, focal, side_px)
        canvas = np.full((side_px, side_px, 3), _PAPER, np.uint8)
        if bool(vertices.isfinite().all()):
            render = (renderer or ZBufferRenderer())(vertices.float().unsqueeze(0), body.faces.cpu(), camera)
            canvas = overlay(canvas, render, 0, 1.0, tuple(c / 255 for c in BODY.colour))
        scale = scale_of(canvas)
        text = f'{label}  {name}' if label and name == VIEWS[0] else name
        put_text(canvas, text, (round(8 * scale), round(22 * scale)), max(0.65 * scale, 0.4))
        tiles.append(canvas)
    return grid_of_views(tiles, columns=len(tiles))


def body_axes(body: SMIL, pairs: Sequence[tuple[int, int]] = ()) -> Float[Tensor, '3 3']:
    """Give forward, left and up of a body at rest, as rows: what the model file says, else what its form tells.

    A model that does not say its axes: left is where the left ones of its joint pairs are, forward the longest extent
    across that, with an unknown sign; so up may be down.

    Args:
        body: the body.
        pairs: joints of both sides, for models without stated axes.
    """
    data = body.data
    if data.forward_axis is not None and data.up_axis is not None:
        forward, up = _axis(data.forward_axis), _axis(data.up_axis)
        return torch.stack((forward, torch.linalg.cross(up, forward), up))
    points = torch.as_tensor(data.v_template).double()
    points = points - points.mean(0)
    _, _, main = torch.linalg.svd(points, full_matrices=False)
    left = main[1]
    if pairs:
        joints = torch.as_tensor(data.joints).double()
        apart = sum(
            (joints[a] - joints[b]) * (1.0 if _is_left(data.joint_names[a]) else -1.0) for a, b in pairs
        )
        left = torch.as_tensor(apart) if float(torch.as_tensor(apart).norm()) > 0 else left
    left = left / left.norm()
    across = points - (points @ left).unsqueeze(1) * left
    _, _, main = torch.linalg.svd(across, full_matrices=False)
    return torch.stack((main[0], left, torch.linalg.cross(main[0], left)))


def _is_left(name: str) -> bool:
    words = name.lower().replace('-', '_').split('_')
    return 'left' in words or 'l' in words[1:] or words[0] == 'l'


def _axis(name: str) -> Tensor:
    return torch.eye(3).double()['xyz'.index(name[1])] * (1.0 if name[0] == '+' else -1.0)


def _camera(
    name: str, rotation: Tensor, middle: Tensor, distance: float, focal: float, side_px: int
) -> Cameras:
    centre = (side_px - 1) / 2
    K = torch.tensor([[[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]]])
    t = torch.tensor([0.0, 0.0, distance]).double() - rotation @ middle
    size = torch.full((1, 2), float(side_px))
    return Cameras((name,), K, rotation.float().unsqueeze(0), t.float().unsqueeze(0), size)
