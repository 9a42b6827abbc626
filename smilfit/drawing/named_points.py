"""Images with named points: of annotated frames, and of a model from several sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure

from smilfit.drawing.far_views import blank, far_camera
from smilfit.drawing.marks import ANNOTATED, BODY, FITTED
from smilfit.drawing.plots import new_figure, plain_text
from smilfit.renderers import RenderOutput, ZBufferRenderer, overlay
from smilfit.structures import Cameras

SIDE_PX = 900
# The camera stands so many times the body's size away: nearly parallel rays.
_DISTANCE = 12.0
# Of a label, inches: its line, and the margin that holds it.
_LINE, _MARGIN = 0.17, 1.9
_WIDTH = 5.0
# So far beyond the middle a point still belongs to a side, share of the depth.
_MIDDLE = 0.05
# Joints lie inside; what is deeper below the surface that hides it than this is behind something else. Share of the
# body's least extent.
_DEEP = 0.5


@dataclass(frozen=True)
class NamedPoint:
    """A point of a body at rest and its name; `on_skin` where it lies there, not in a joint."""

    name: str
    xyz: tuple[float, float, float]
    on_skin: bool = False


@dataclass(frozen=True)
class Side:
    """From where a body is seen: a unit vector away from it, and what is up in the image.

    With `near_half`, points of the far half are left out, and those that something before them hides.
    """

    viewed_from: Float[np.ndarray, '3']
    up: Float[np.ndarray, '3']
    near_half: bool = False


def plot_named_points(
    image: UInt8[np.ndarray, 'H W 3'],
    xy: Float[np.ndarray, 'K 2'],
    names: Sequence[str],
    title: str = '',
    colours: Sequence[str] | None = None,
) -> Figure:
    """Draw an image with its points, their names in the margins and a line from each to its point.

    Args:
        image: RGB.
        xy: px; a point that is not finite is left out.
        colours: of the points, such as '#f0e442'; that of annotated points if None.
    """
    height, width = image.shape[:2]
    valid = [k for k in range(len(names)) if np.isfinite(xy[k]).all()]
    centre = float(np.median(xy[valid, 0])) if valid else width / 2
    left, right = ([k for k in valid if (xy[k, 0] < centre) == side] for side in (True, False))
    tall = max(_WIDTH * height / width, _LINE * max(len(left), len(right), 1))
    figure = new_figure(_WIDTH + 2 * _MARGIN, tall + (0.4 if title else 0.1))
    axes = figure.add_subplot()
    axes.imshow(image)
    axes.set_axis_off()
    if title:
        axes.set_title(plain_text(title), fontsize=10)
    margin = _MARGIN / _WIDTH * width
    axes.set_xlim(-margin, width + margin)
    extra = max(tall / _WIDTH * width - height, 0) / 2
    axes.set_ylim(height + extra, -extra)
    for side, at, align in ((left, -0.04 * width, 'right'), (right, 1.04 * width, 'left')):
        rows = _spread(xy[side, 1], _LINE / _WIDTH * width, -extra, height + extra)
        for k, y in zip(side, rows):
            colour = ANNOTATED.hex if colours is None else colours[k]
            axes.plot([at, xy[k, 0]], [y, xy[k, 1]], color='#8a8a8a', linewidth=0.8)
            axes.plot(*xy[k], 'o', color=colour, markersize=5, markeredgecolor='black', markeredgewidth=0.6)
            axes.text(at, y, plain_text(names[k]), ha=align, va='center', fontsize=8)
    return figure


def _spread(wanted: Float[np.ndarray, ' n'], gap: float, low: float, high: float) -> Float[np.ndarray, ' n']:
    """Move places apart so that no two are nearer than `gap`, in their order, as little as may be."""
    order = np.argsort(wanted, kind='stable')
    places = wanted[order].astype(float)
    for _ in range(2):
        for i in range(1, len(places)):
            places[i] = max(places[i], places[i - 1] + gap)
        beyond = places[-1] - (high - gap / 2) if len(places) else 0.0
        if beyond > 0:
            places[-1] -= beyond
            for i in range(len(places) - 2, -1, -1):
                places[i] = min(places[i], places[i + 1] - gap)
        places = np.maximum(places, low + gap / 2)
    spread = np.empty_like(places)
    spread[order] = places
    return spread


def crop_around(
    image: UInt8[np.ndarray, 'H W 3'], xy: Float[np.ndarray, 'K 2'], side_px: int = 600
) -> tuple[UInt8[np.ndarray, 'h w 3'], Float[np.ndarray, 'K 2']]:
    """Cut a square around the finite points, a third larger than they, and enlarge it; the points go along."""
    valid = xy[np.isfinite(xy).all(-1)]
    if not len(valid):
        return image, xy
    low, high = valid.min(0), valid.max(0)
    side = max(1.4 * float((high - low).max()), 16.0)
    corner = (low + high - side) / 2
    scale = side_px / side
    affine = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    cut = cv2.warpAffine(image, affine, (side_px, side_px), flags=cv2.INTER_LINEAR)
    return cut, (xy - corner) * scale


def model_views(
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    points: Sequence[NamedPoint],
    sides: Mapping[str, Side],
) -> dict[str, Figure]:
    """Draw a model from several sides with named points.

    Args:
        vertices: of the body at rest.
        points: what is named.

    Returns:
        A figure by title.
    """
    renderer = ZBufferRenderer()
    centre = (vertices.min(0) + vertices.max(0)) / 2
    places = np.array([point.xyz for point in points]).reshape(-1, 3)
    colours = [FITTED.hex if point.on_skin else ANNOTATED.hex for point in points]
    figures = {}
    for title, side in sides.items():
        camera = _camera(vertices, centre, side)
        mesh = torch.from_numpy(np.ascontiguousarray(vertices)).float().unsqueeze(0)
        rendered = renderer(mesh, torch.as_tensor(faces), camera)
        drawn = overlay(blank(camera, 255).image, rendered, 0, 0.75, BODY.tint)
        xy = _pixels(camera, places)
        if side.near_half:
            depth = (vertices - centre) @ side.viewed_from
            far = (places - centre) @ side.viewed_from < -_MIDDLE * np.ptp(depth)
            xy[far | _hidden(rendered, camera, places, _DEEP * np.ptp(vertices, axis=0).min())] = np.nan
        figures[title] = plot_named_points(drawn, xy, [p.name for p in points], title, colours)
    return figures


def _pixels(camera: Cameras, places: Float[np.ndarray, 'K 3']) -> Float[np.ndarray, 'K 2']:
    if not len(places):
        return np.zeros((0, 2))
    pixels, _, _ = camera.project(torch.from_numpy(places).to(camera.K).unsqueeze(0))
    return pixels[0, 0].numpy().astype(float)


def _hidden(
    rendered: RenderOutput, camera: Cameras, places: Float[np.ndarray, 'K 3'], deep: float
) -> Bool[np.ndarray, ' K']:
    """Return which places lie deeper than so much below the first surface; none where there are no depths."""
    if rendered.depth is None or not len(places):
        return np.zeros(len(places), bool)
    pixels, depth, _ = camera.project(torch.from_numpy(places).to(camera.K).unsqueeze(0))
    surface = rendered.depth[0]
    x, y = pixels[0, 0].round().long().unbind(-1)
    first = surface[y.clamp(0, surface.shape[0] - 1), x.clamp(0, surface.shape[1] - 1)]
    return (depth[0, 0] - first > deep).numpy()


def _camera(vertices: Float[np.ndarray, 'V 3'], centre: Float[np.ndarray, '3'], side: Side) -> Cameras:
    """Place a camera far away that just sees all."""
    into, down = -side.viewed_from, -side.up
    rotation = np.stack([np.cross(down, into), down, into])
    reach = np.abs((vertices - centre) @ rotation.T).max(0)
    size = max(float(reach[:2].max()), 1e-9)
    height = max(round(SIDE_PX * min(1.0, float(reach[1]) / size + 0.08)), SIDE_PX // 4)
    size_px, distance = (SIDE_PX, height), _DISTANCE * float(reach.max())
    at = torch.from_numpy(centre)
    return far_camera(torch.from_numpy(rotation), at, 2 * size, size_px, distance, 0.92)
