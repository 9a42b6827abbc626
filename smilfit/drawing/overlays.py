"""Sheets of pictures: bodies and keypoints over images, side by side, with their legend. RGB uint8 (H, W, 3)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.drawing.marks import (
    ANNOTATED,
    BODY,
    FITTED,
    MARKS,
    Mark,
    Surface,
    legend_strip,
    put_label,
    scale_of,
)
from smilfit.drawing.windows import View
from smilfit.renderers import MeshPainter
from smilfit.structures import BodyParams

# Frames whose meshes are in memory at once.
BLOCK = 32
# Keypoints of an animal up to which marks have their full size, and the least share of it.
CROWD = 24
LEAST_MARK = 0.5


@dataclass(frozen=True)
class ShownBody:
    """A body to draw; where a number is not finite, its mesh or the keypoint is left out.

    Attributes:
        vertices: world points.
        keypoints: px of the image behind the view.
        surface: whose colour the mesh has.
        normals: of the vertices, from `OverlayPainter.normals`: what several views of one body share.
        opacity: of the mesh.
    """

    vertices: Float[Tensor, 'V 3']
    keypoints: Float[np.ndarray, 'K 2']
    surface: Surface = BODY
    normals: Float[Tensor, 'V 3'] | None = None
    opacity: float = 0.6


@dataclass(frozen=True)
class Panel:
    """One view with what lies over it.

    Attributes:
        label: for the upper left corner.
        view: the image as it is shown, and its camera.
        annotated: keypoints, px of the image behind the view; NaN where there is none.
        mask: annotated silhouette, in px of the image behind the view.
        body: the body.
        bodies: several, those farther away first wherever they are in the list.
        joined: whether a line joins each annotated keypoint with the body's.
    """

    label: str
    view: View
    annotated: Float[np.ndarray, 'K 2']
    mask: Bool[np.ndarray, 'H W'] | None = None
    body: ShownBody | None = None
    bodies: tuple[ShownBody, ...] = ()
    joined: bool = False

    @property
    def all_bodies(self) -> tuple[ShownBody, ...]:
        """Return the one body and the several."""
        return self.bodies if self.body is None else (self.body, *self.bodies)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Return what the panel may show; it does not depend on what is visible in one frame of a video."""
        surfaces = tuple(body.surface for body in self.all_bodies)
        return (ANNOTATED, FITTED, *surfaces) if surfaces else (ANNOTATED,)


class OverlayPainter:
    """Paint bodies of one topology over images: the only painter, so all overlays look alike.

    Args:
        faces: corners of the mesh's triangles.
        mesh_painter: paints them; a `MeshPainter` of these faces if None.
    """

    def __init__(self, faces: Int[Tensor, 'F 3'], mesh_painter: MeshPainter | None = None) -> None:
        self.mesh_painter = mesh_painter or MeshPainter(faces)

    def normals(self, vertices: Float[Tensor, 'V 3']) -> Float[Tensor, 'V 3'] | None:
        """Return what `ShownBody.normals` takes; None of a body that is not drawn."""
        return self.mesh_painter.normals(vertices) if bool(vertices.isfinite().all()) else None

    def draw(self, panels: Sequence[Panel], columns: int | None = None) -> UInt8[np.ndarray, 'H W 3']:
        """Draw panels side by side, with a legend below.

        Args:
            panels: at least one.
            columns: how many beside each other; None chooses.
        """
        valid = {mark for panel in panels for mark in panel.marks}
        return with_legend([self.tile(panel) for panel in panels], [m for m in MARKS if m in valid], columns)

    def tile(self, panel: Panel) -> UInt8[np.ndarray, 'H W 3']:
        """Draw one panel, without a legend: mesh, its keypoints, then what was annotated, and the label."""
        view = panel.view
        canvas = view.image.copy()
        bodies = panel.all_bodies
        if len(bodies) > 1:
            bodies = tuple(sorted(bodies, key=_distance(view), reverse=True))
        for one in bodies:
            canvas = self._with_mesh(canvas, view, one)
        if panel.joined:
            for one in bodies:
                _join(canvas, view, panel.annotated, one.keypoints)
        for one in bodies:
            _stamp(canvas, view, one.keypoints, FITTED)
        if panel.mask is not None:
            mask = cv2.warpAffine(panel.mask.astype(np.uint8), view.affine, canvas.shape[1::-1])
            outline, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            # A dark edge, for white animals.
            cv2.drawContours(canvas, outline, -1, (0, 0, 0), 3)
            cv2.drawContours(canvas, outline, -1, ANNOTATED.colour, 1)
        _stamp(canvas, view, panel.annotated, ANNOTATED)
        put_label(canvas, panel.label)
        return canvas

    def _with_mesh(self, canvas: np.ndarray, view: View, body: ShownBody) -> np.ndarray:
        if not bool(body.vertices.isfinite().all()):
            return canvas
        # Single precision is exact to far less than a px, and twice as fast.
        return self.mesh_painter.paint(
            canvas, body.vertices, view.camera, body.surface.tint, body.opacity, body.normals
        )


def posed(
    body: SMIL, params: BodyParams, names: Sequence[str] = (), rows: Sequence[int] | Tensor | None = None
) -> Iterator[tuple[Float[Tensor, 'V 3'], Float[Tensor, 'K 3']]]:
    """Pose a body frame by frame, a block at a time in memory: vertices and keypoints, world unit, on the CPU.

    Args:
        params: of all frames.
        names: of keypoints.
        rows: the frames; all of them if None.
    """
    chosen = torch.arange(params.batch_size) if rows is None else torch.as_tensor(rows)
    for block in chosen.split(BLOCK):
        with torch.no_grad():
            few = params[block.to(params.transl.device)].to(body.v_template)
            output = body(few, ('vertices', *names))
            points = output.select(tuple(names)) if names else output.vertices[:, :0]
        yield from zip(output.vertices.cpu(), points.cpu())


def with_legend(
    tiles: Sequence[np.ndarray], marks: Sequence[Mark], columns: int | None = None
) -> UInt8[np.ndarray, 'H W 3']:
    """Put drawn views side by side, with a legend of marks below.

    Args:
        tiles: at least one.
        marks: what they show.
        columns: how many beside each other; None chooses.
    """
    sheet = grid_of_views(tiles, columns)
    strip = legend_strip(marks, sheet.shape[1], max(scale_of(tile) for tile in tiles))
    return np.concatenate((sheet, strip))


def _distance(view: View) -> Callable[[ShownBody], float]:
    """Return how far bodies are from a view's camera."""
    eye = view.camera.centres().reshape(-1, 3)[0].cpu()
    return lambda body: float((body.vertices.cpu().mean(0) - eye).norm())


def _join(canvas: np.ndarray, view: View, a: Float[np.ndarray, 'K 2'], b: Float[np.ndarray, 'K 2']) -> None:
    """Draw a line between two places of each keypoint, to a sixteenth of a px."""
    ends = np.stack((_near(canvas, view, a), _near(canvas, view, b)), 1)
    for first, last in np.round(16 * ends[np.isfinite(ends).all((1, 2))]).astype(int).tolist():
        cv2.line(canvas, first, last, (0, 0, 0), max(1, round(scale_of(canvas))), cv2.LINE_AA, 4)


def _stamp(canvas: np.ndarray, view: View, xy: Float[np.ndarray, 'K 2'], mark: Mark) -> None:
    """Draw a mark into `canvas` at each point that is finite and not far outside.

    Marks of many keypoints are smaller, so that legs stay in sight below them; it is their number that counts, seen
    or not, so that marks do not pulse in a video.
    """
    shown = _near(canvas, view, xy)
    smaller = min(max(math.sqrt(CROWD / max(len(xy), 1)), LEAST_MARK), 1.0)
    mark.stamp_all(canvas, shown[np.isfinite(shown).all(-1)], smaller * scale_of(canvas))


def _near(canvas: np.ndarray, view: View, xy: Float[np.ndarray, 'K 2']) -> Float[np.ndarray, 'K 2']:
    """Return points in shown px; NaN where they are not finite or far outside."""
    shown = view.shown(np.where(np.isfinite(xy), xy, np.nan))
    return np.where((np.abs(shown) < 10.0 * max(canvas.shape[:2])).all(-1, keepdims=True), shown, np.nan)


def grid_of_views(images: Sequence[np.ndarray], columns: int | None = None) -> UInt8[np.ndarray, 'H W 3']:
    """Put images side by side, as square a grid as possible; each fills its place, never stretched.

    Args:
        images: RGB uint8, of any sizes; places are as large as the largest.
        columns: how many beside each other; None chooses.
    """
    if not images:
        raise ValueError('grid_of_views: there must be at least one image; got none.')
    columns = columns or math.ceil(math.sqrt(len(images)))
    width, height = max(p.shape[1] for p in images), max(p.shape[0] for p in images)
    rows = math.ceil(len(images) / columns)
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, image in enumerate(images):
        fitted = _fit(image, width, height)
        top = (i // columns) * height + (height - fitted.shape[0]) // 2
        left = (i % columns) * width + (width - fitted.shape[1]) // 2
        canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return canvas


def _fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    scale = min(width / image.shape[1], height / image.shape[0])
    if scale == 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
