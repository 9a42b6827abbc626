"""Bodies from viewpoints that no camera had: from their side, their front and above, in their own frame."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, grid_of_views, posed
from smilfit.drawing.windows import View
from smilfit.evaluation.point_fit import extent
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.io.lookup_proposals import body_axes
from smilfit.structures import BodyParams, Cameras, Keypoints3d

# How far the eye is, in body sizes: nearly no perspective.
FAR = 20.0
PAPER = 245
NO_POINTS = np.zeros((0, 2))
# Degrees about the animal's up from its right side, and above the horizon; and from where a turntable is seen.
SIDE, FRONT, ABOVE = ('side', 0.0, 0.0), ('front', 90.0, 0.0), ('above', 0.0, 90.0)
TURNTABLE_DEG = 20.0


def far_camera(
    rotation: Float[Tensor, '3 3'],
    centre: Float[Tensor, '3'],
    extent: float,
    size_px: tuple[int, int],
    distance: float,
    filled: float = 0.8,
) -> Cameras:
    """Place a camera so far away that near and far look alike.

    Args:
        rotation: rows: to the right, down and into the image.
        centre: what it looks at.
        extent: what fills the share `filled` of the image's width, world unit.
        size_px: width and height of the image.
        distance: from the centre.
        filled: share of the image.
    """
    width, height = size_px
    focal = filled * width * distance / extent
    K = torch.tensor([[[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]])
    rotation = rotation.double()
    t = torch.tensor([0.0, 0.0, distance]).double() - rotation @ centre.double().cpu()
    size = torch.tensor([[float(width), float(height)]])
    return Cameras(('view',), K.float(), rotation.float().unsqueeze(0), t.float().unsqueeze(0), size)


def own_axes(data: BodyModelData) -> Float[Tensor, '3 3']:
    """Return a model's forward, left and up as rows; the names of its joints decide where its file does not."""
    axes = body_axes(data)
    return torch.from_numpy(np.stack((axes.forward, axes.left, axes.up))).double()


def looking_at(axes: Float[Tensor, '3 3'], azimuth_deg: float, elevation_deg: float) -> Float[Tensor, '3 3']:
    """Return the rotation of a camera beside an animal, for `far_camera`.

    Args:
        axes: the animal's forward, left and up as rows.
        azimuth_deg: of the eye about its up, from its right side to its front.
        elevation_deg: of the eye above the horizon.
    """
    forward, left, up = axes
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    side = np.sin(azimuth) * forward - np.cos(azimuth) * left
    into = -(np.cos(elevation) * side + np.sin(elevation) * up)
    down = np.sin(elevation) * side - np.cos(elevation) * up
    return torch.stack((torch.linalg.cross(down, into), down, into))


def blank(camera: Cameras, grey: int = PAPER) -> View:
    """Return the empty view of a camera."""
    width, height = (int(side) for side in camera.size[0])
    return View(np.full((height, width, 3), grey, np.uint8), camera, np.eye(2, 3))


def free_views(
    body: SMIL, params: BodyParams, side_px: int = 300, label: str = ''
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw one body from its side, from above and from the front, its root's rotation taken back.

    Args:
        params: of one body.
        side_px: of each view.
        label: for the first view.
    """
    plain = params.as_axis_angle()
    still = plain.replace(
        global_orient=torch.zeros_like(plain.global_orient),
        transl=torch.zeros_like(plain.transl),
        scale=torch.ones_like(plain.scale),
    )
    ((vertices, _),) = posed(body, still)
    vertices = vertices.double()
    axes = own_axes(body.data)
    low, high = vertices.amin(0), vertices.amax(0)
    centre, distance = (low + high) / 2, FAR * float((high - low).norm())
    painter, tiles = OverlayPainter(body.faces), list[np.ndarray]()
    for name, azimuth, elevation in (SIDE, ABOVE, FRONT):
        rotation = looking_at(axes, azimuth, elevation)
        reach = float(((vertices - centre) @ rotation.T)[:, :2].abs().max().clamp_min(1e-9))
        camera = far_camera(rotation, centre, 2 * reach, (side_px, side_px), distance, 0.88)
        text = f'{label}  {name}' if label and not tiles else name
        shown = ShownBody(vertices, NO_POINTS, opacity=1.0)
        tiles.append(painter.tile(Panel(text, blank(camera), NO_POINTS, body=shown)))
    return grid_of_views(tiles, columns=len(tiles))


class PointPainter:
    """Draws bodies with their points from directions that are the animal's own. All frames share one scale.

    Args:
        given: the points of the same frames.
        side_px: of each view.
    """

    def __init__(self, body: SMIL, params: BodyParams, given: Keypoints3d, side_px: int = 400) -> None:
        self.body, self.params, self.given, self.side_px = body, params, given, side_px
        self.painter = OverlayPainter(body.faces)
        rotation = axis_angle_to_rotmat(params.as_axis_angle().global_orient.detach().cpu().double())
        # Rows: the animal's forward, left and up in the world.
        self._axes = torch.einsum('bij,kj->bki', rotation, own_axes(body.data))
        # Of the points, or of a skin that reaches far beyond them.
        self._size = max(float(extent(given)), self._skin())

    def _skin(self) -> float:
        rows = self.params.transl.isfinite().all(1).nonzero().flatten()
        if not len(rows):
            return 0.0
        ((vertices, _),) = posed(self.body, self.params, rows=[int(rows[len(rows) // 2])])
        return float((vertices.amax(0) - vertices.amin(0)).norm())

    def draw(self, row: int, text: str = '', azimuth_deg: float | None = None) -> UInt8[np.ndarray, 'H W 3']:
        """Draw one frame: from its side, front and above, or (`azimuth_deg`) its side and a view turned so far."""
        views = (
            (SIDE, FRONT, ABOVE) if azimuth_deg is None else (SIDE, ('turned', azimuth_deg, TURNTABLE_DEG))
        )
        ((vertices, fitted),) = posed(self.body, self.params, self.given.names, [row])
        valid, given = self.given.visible[row].cpu(), self.given.xyz[row].cpu().double()
        vertices, fitted = vertices.double(), fitted.double()
        centre = 0.5 * (fitted.amin(0) + fitted.amax(0))
        axes = self._axes[row] if bool(self._axes[row].isfinite().all()) else torch.eye(3).double()
        if not bool(vertices.isfinite().all()):
            centre = given[valid].mean(0) if bool(valid.any()) else torch.zeros(3).double()
        tiles: list[np.ndarray] = []
        for name, azimuth, elevation in views:
            size_px = (self.side_px, self.side_px)
            camera = far_camera(
                looking_at(axes, azimuth, elevation), centre, self._size, size_px, 12 * self._size
            )
            annotated, own = (_pixels(camera, points, valid) for points in (given, fitted))
            label = f'{text}  {name}' if text and not tiles else name
            shown = ShownBody(vertices, own, opacity=0.75)
            panel = Panel(label, blank(camera), annotated, body=shown, joined=True)
            tiles.append(self.painter.tile(panel))
        return grid_of_views(tiles, columns=len(tiles))


def _pixels(camera: Cameras, points: Tensor, valid: Tensor) -> Float[np.ndarray, 'P 2']:
    """Project points; NaN of those that are not valid or not finite."""
    known = (points.isfinite().all(-1) & valid).unsqueeze(-1)
    pixels, _, _ = camera.project(torch.where(known, points, 0.0).float())
    return torch.where(known, pixels[0].double(), torch.nan).numpy()
