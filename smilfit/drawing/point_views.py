"""A fitted body beside the points in space that it was fitted to, seen from all round: pictures and a turntable."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.drawing.marks import ANNOTATED, BODY, FITTED, put_text, scale_of
from smilfit.drawing.overlays import grid_of_views
from smilfit.evaluation.point_fit import extent
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.io.lookup_proposals import body_axes
from smilfit.renderers import Renderer, ZBufferRenderer, overlay
from smilfit.structures import BodyParams, Cameras, Keypoints3d

# How far the eye is, in body sizes: nearly no perspective. How much of an image the body fills.
_FAR, _FILLED = 12.0, 0.8
_PAPER = 245
# From how far above the horizon the turntable is seen.
TILT_DEG = 20.0
# Degrees about the animal's up from its right side, and above the horizon.
VIEWS = (('side', 0.0, 0.0), ('front', 90.0, 0.0), ('above', 0.0, 90.0))


class PointPainter:
    """Draws bodies with their points from directions that are the animal's own: its side, its front, from above.

    Where up and forward are on the model, the names of its joints tell where its file does not. All frames share one
    scale.

    Args:
        body: the body.
        params: of B frames.
        given: the points of the same frames.
        side_px: of each view.
        renderer: a z-buffer if None.
    """

    def __init__(
        self,
        body: SMIL,
        params: BodyParams,
        given: Keypoints3d,
        side_px: int = 400,
        renderer: Renderer | None = None,
    ) -> None:
        self.body, self.given, self.side_px = body, given, side_px
        self.params = params.to(body.v_template)
        self.renderer = renderer or ZBufferRenderer()
        axes = body_axes(body.data)
        own = torch.from_numpy(np.stack((axes.forward, axes.left, axes.up)))
        rotation = axis_angle_to_rotmat(params.as_axis_angle().global_orient.detach().cpu().double())
        # Rows: the animal's forward, left and up in the world.
        self._axes = torch.einsum('bij,kj->bki', rotation, own)
        # Of the points, or of a skin that reaches far beyond them.
        self._size = max(float(extent(given)), self._skin())

    def _skin(self) -> float:
        rows = self.params.transl.isfinite().all(1).nonzero().flatten()
        if not len(rows):
            return 0.0
        with torch.no_grad():
            vertices = self.body(self.params[int(rows[len(rows) // 2])], ('vertices',)).vertices[0]
        return float((vertices.amax(0) - vertices.amin(0)).norm())

    def draw(self, row: int, text: str = '', turn_deg: float | None = None) -> UInt8[np.ndarray, 'H W 3']:
        """Draw one frame: from its side, front and above, or (`turn_deg`) its side and a view turned so far."""
        views = VIEWS if turn_deg is None else (VIEWS[0], ('turned', turn_deg, TILT_DEG))
        with torch.no_grad():
            output = self.body(self.params[row], ('vertices', *self.given.names))
        vertices = output.vertices.cpu().double()[0]
        fitted = output.select(self.given.names).cpu().double()[0]
        tiles = [
            self._tile(row, vertices, fitted, angle, tilt, f'{text}  {name}' if i == 0 and text else name)
            for i, (name, angle, tilt) in enumerate(views)
        ]
        return grid_of_views(tiles, columns=len(tiles))

    def _tile(
        self, row: int, vertices: Tensor, fitted: Tensor, angle: float, tilt: float, text: str
    ) -> UInt8[np.ndarray, 'H W 3']:
        canvas = np.full((self.side_px, self.side_px, 3), _PAPER, np.uint8)
        valid = self.given.visible[row].cpu()
        given = self.given.xyz[row].cpu().double()
        centre = 0.5 * (fitted.amin(0) + fitted.amax(0))
        if not bool(vertices.isfinite().all()):
            centre = given[valid].mean(0) if bool(valid.any()) else torch.zeros(3).double()
        camera = self._camera(row, centre, angle, tilt)
        if len(self.body.faces) and bool(vertices.isfinite().all()):
            render = self.renderer(vertices.float().unsqueeze(0), self.body.faces.cpu(), camera)
            canvas = overlay(canvas, render, 0, 0.75, tuple(c / 255 for c in BODY.colour))
        scale = scale_of(canvas)
        points = self._pixels(camera, torch.cat((given, fitted)))
        seen, made = points[: len(given)], points[len(given) :]
        for k in valid.nonzero().flatten().tolist():
            if np.isfinite(made[k]).all():
                ends = [tuple(int(v) for v in np.round(p * 16)) for p in (seen[k], made[k])]
                cv2.line(canvas, *ends, (0, 0, 0), max(1, round(scale)), cv2.LINE_AA, 4)
                FITTED.stamp(canvas, made[k], 0.7 * scale)
            ANNOTATED.stamp(canvas, seen[k], 0.8 * scale)
        put_text(canvas, text, (round(8 * scale), round(22 * scale)), max(0.65 * scale, 0.4))
        return canvas

    def _camera(self, row: int, middle: Tensor, angle: float, tilt: float) -> Cameras:
        forward, left, up = (
            self._axes[row] if bool(self._axes[row].isfinite().all()) else torch.eye(3).double()
        )
        a, b = np.deg2rad(angle), np.deg2rad(tilt)
        # The eye stands at the animal's right, so that it looks to the right, and goes about its up to its front.
        side = np.sin(a) * forward - np.cos(a) * left
        into = -(np.cos(b) * side + np.sin(b) * up)
        down = np.sin(b) * side - np.cos(b) * up
        rotation = torch.stack((torch.linalg.cross(down, into), down, into))
        focal = _FILLED * self.side_px * _FAR
        centre = (self.side_px - 1) / 2
        K = torch.tensor([[[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]]])
        t = torch.tensor([0.0, 0.0, _FAR * self._size]).double() - rotation @ middle
        size = torch.full((1, 2), float(self.side_px))
        return Cameras(('view',), K, rotation.float().unsqueeze(0), t.float().unsqueeze(0), size)

    @staticmethod
    def _pixels(camera: Cameras, points: Tensor) -> Float[np.ndarray, 'P 2']:
        known = points.isfinite().all(-1)
        pixels, _, _ = camera.project(torch.where(known.unsqueeze(-1), points, 0.0).float())
        return torch.where(known.unsqueeze(-1), pixels[0].double(), torch.nan).numpy()
