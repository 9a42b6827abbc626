"""The page of a fit to points in space: what it is off, by keypoint and over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.drawing.fit_report import add_course, add_pictures, sentences
from smilfit.drawing.marks import ANNOTATED, BODY, FITTED, put_text, scale_of
from smilfit.drawing.overlays import grid_of_views
from smilfit.drawing.plots import COLOURS, new_axes, plot_bars
from smilfit.drawing.report import Report
from smilfit.evaluation import PointBenchmark, length_text
from smilfit.evaluation.point_fit import extent
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.io.lookup_proposals import body_axes
from smilfit.renderers import Renderer, ZBufferRenderer, overlay
from smilfit.structures import BodyParams, Cameras, Keypoints3d


def add_point_sections(
    report: Report,
    benchmark: PointBenchmark,
    frames: Sequence[int],
    history: Sequence[Mapping[str, Any]] = (),
    ignored: Mapping[str, Any] | None = None,
    images: Mapping[str, Any] | None = None,
    video: str | Path | None = None,
) -> Report:
    """Add a fit's distances from its points to a page, with pictures of the body beside them.

    Args:
        report: the page.
        benchmark: what `point_benchmark` measured.
        frames: numbers of the measured frames.
        history: the stages, from `FitResult.history`.
        ignored: what was left out, from `FitResult.report`.
        images: captions and pictures.
        video: a turntable.
    """
    unit = benchmark.unit or 'world unit'
    report.add_section(
        'Fit: the body beside its points', [*point_summary(benchmark), *sentences(ignored or {})]
    )
    add_pictures(report, images, video, 'The fitted body and its points: from its side, and from all round.')
    report.add_table(point_rows(benchmark), f'Distance of the fitted keypoints from the given points, {unit}')
    report.add_figure(
        plot_bars(
            benchmark.names,
            {'fit': [benchmark.median(k) for k in range(len(benchmark.names))]},
            f'median distance ({unit})',
            'Distance by keypoint',
        ),
        'What one keypoint is off more than the others tells of its place in the joint lookup, or of its labels.',
    )
    report.add_figure(
        plot_over_time(benchmark, frames), 'Median and worst keypoint of each frame. Gaps were not fitted.'
    )
    add_course(report, history, ignored)
    return report


def point_summary(benchmark: PointBenchmark) -> list[str]:
    """Report in plain sentences how near the fit is to its points."""
    if not np.isfinite(benchmark.median()):
        return ['No frame has a fit beside a point.']
    half, most = (length_text(benchmark.percentile(p), benchmark.unit) for p in (50, 90))
    return [
        f'Half of the points lie within {half} of the fitted keypoints, 90 % within {most}; the animal is '
        f'{length_text(benchmark.size, benchmark.unit)} long.',
        'No camera was there to look through: pictures show the body from its own side, front and above.',
    ]


def point_rows(benchmark: PointBenchmark) -> list[dict[str, Any]]:
    """Return the table of keypoints."""
    return [
        {
            'keypoint': name,
            'points': int(np.isfinite(benchmark.distances[:, k]).sum()),
            'median': benchmark.median(k),
            '90 % are below': benchmark.percentile(90, k),
            "median, share of the animal's size": benchmark.median(k) / benchmark.size,
        }
        for k, name in enumerate(benchmark.names)
    ]


def plot_over_time(benchmark: PointBenchmark, frames: Sequence[int]) -> Figure:
    """Plot each frame's median and its worst keypoint."""
    unit = benchmark.unit or 'world unit'
    figure, axes = new_axes('Distance over time', 'frame', f'distance ({unit})', 9.0, 3.4)
    worst = np.full(benchmark.n_frames, np.nan)
    some = np.isfinite(benchmark.distances).any(1)
    worst[some] = np.nanmax(benchmark.distances[some], 1)
    for values, colour, label in (
        (worst, COLOURS[1], 'worst keypoint'),
        (benchmark.by_frame(), COLOURS[0], 'median'),
    ):
        axes.plot(np.asarray(frames), values, color=colour, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


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
