"""Keypoints, skeleton and mesh drawn on pictures. Pictures are RGB uint8 (H, W, 3); nothing is drawn in place."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from smilfit.structures import Cameras

# Okabe & Ito (2008): distinguishable with any colour vision.
SEEN_COLOUR = (0, 158, 115)
FITTED_COLOUR = (230, 159, 0)
MESH_COLOUR = (86, 180, 233)
SHIFT = 4  # drawing at 1/16 px


def _scale(picture: np.ndarray) -> float:
    """Line widths and letters grow with the picture."""
    return max(min(picture.shape[:2]) / 500.0, 0.5)


def draw_keypoints(
    picture: UInt8[np.ndarray, 'H W 3'],
    xy: Float[np.ndarray, 'K 2'],
    seen: Bool[np.ndarray, 'K'],
    edges: Sequence[tuple[int, int]] = (),
    names: Sequence[str] | None = None,
    colour: tuple[int, int, int] = SEEN_COLOUR,
    filled: bool = True,
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw points, lines between them where both ends are there, and their names.

    Points that are not finite or far outside the picture are left out.
    """
    canvas = np.ascontiguousarray(picture).copy()
    scale = _scale(canvas)
    limit = 10.0 * max(canvas.shape[:2])
    there = seen & np.isfinite(xy).all(-1)
    there &= (np.abs(np.where(there[:, None], xy, 0.0)) < limit).all(-1)
    at = np.round(np.where(there[:, None], xy, 0.0) * 2**SHIFT).astype(int)
    width = max(1, round(1.5 * scale))
    for a, b in edges:
        if there[a] and there[b]:
            cv2.line(canvas, at[a].tolist(), at[b].tolist(), colour, width, cv2.LINE_AA, SHIFT)
    radius = round(3.5 * scale * 2**SHIFT)
    for k in np.flatnonzero(there):
        cv2.circle(canvas, at[k].tolist(), radius, (0, 0, 0), width + 1, cv2.LINE_AA, SHIFT)
        cv2.circle(canvas, at[k].tolist(), radius, colour, -1 if filled else width, cv2.LINE_AA, SHIFT)
    if names is not None:
        for k in np.flatnonzero(there):
            corner = (int(xy[k, 0] + 6 * scale), int(xy[k, 1] - 4 * scale))
            put_text(canvas, names[k], corner, 0.42 * scale)
    return canvas


def put_text(canvas: np.ndarray, text: str, corner: tuple[int, int], size: float) -> None:
    """Write white letters with a dark edge into `canvas`, kept inside the picture; lower left at `corner`."""
    text = text.encode('ascii', 'replace').decode()
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.6 * size))
    (width, height), _ = cv2.getTextSize(text, font, size, thick)
    x = min(max(corner[0], 2), max(canvas.shape[1] - width - 2, 2))
    y = min(max(corner[1], height + 2), canvas.shape[0] - 4)
    # The dark edge is the same letters around: OpenCV 5 spaces thicker letters differently.
    for dx, dy in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        cv2.putText(canvas, text, (x + dx * thick, y + dy * thick), font, size, (0, 0, 0), thick, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), font, size, (255, 255, 255), thick, cv2.LINE_AA)


def draw_label(picture: UInt8[np.ndarray, 'H W 3'], text: str) -> UInt8[np.ndarray, 'H W 3']:
    """Write a label into the upper left corner."""
    canvas = np.ascontiguousarray(picture).copy()
    scale = _scale(canvas)
    put_text(canvas, text, (round(8 * scale), round(22 * scale)), 0.65 * scale)
    return canvas


def draw_legend(
    picture: UInt8[np.ndarray, 'H W 3'], entries: Sequence[tuple[str, tuple[int, int, int]]]
) -> UInt8[np.ndarray, 'H W 3']:
    """Say in the lower left corner what the colours mean."""
    canvas = np.ascontiguousarray(picture).copy()
    scale = _scale(canvas)
    for i, (text, colour) in enumerate(reversed(entries)):
        y = round(canvas.shape[0] - (10 + 20 * i) * scale)
        centre = (round(14 * scale), y - round(5 * scale))
        cv2.circle(canvas, centre, round(6 * scale), (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, round(5 * scale), colour, -1, cv2.LINE_AA)
        put_text(canvas, text, (round(26 * scale), y), 0.5 * scale)
    return canvas


def draw_mesh(
    picture: UInt8[np.ndarray, 'H W 3'],
    vertices: Float[Tensor, 'V 3'],
    faces: Tensor,
    camera: Cameras,
    renderer: Any,
    colour: tuple[int, int, int] = MESH_COLOUR,
    opacity: int | float = 0.6,
) -> UInt8[np.ndarray, 'H W 3']:
    """Lay a shaded mesh over a picture as one camera sees it.

    Args:
        picture: the camera's picture.
        vertices: world points.
        faces: corners of the triangles.
        camera: `Cameras` with one camera of the picture's size.
        renderer: a renderer of the contract (`alpha`, `shading`).
        colour: of the mesh.
        opacity: 0 leaves the picture, 1 hides it.
    """
    height, width = picture.shape[:2]
    size = tuple(round(float(x)) for x in camera.size.reshape(-1, 2)[0])
    if len(camera) != 1 or size != (width, height):
        raise ValueError(
            f'draw_mesh: the camera must be one, with the picture of {width} x {height} px; got '
            f'{len(camera)} of {size[0]} x {size[1]} px. Use cameras.select([name]) and cameras.transformed.'
        )
    with torch.no_grad():
        output = renderer(vertices.unsqueeze(0), faces, camera)
    alpha = output.alpha[0].cpu().double().numpy()[..., None] * float(opacity)
    shade = output.shading[0].cpu().double().numpy() * np.array(colour, dtype=np.float64)
    return np.round(picture * (1 - alpha) + shade * alpha).clip(0, 255).astype(np.uint8)


def grid_of_views(
    pictures: Sequence[np.ndarray], columns: int | None = None, cell: tuple[int, int] | None = None
) -> UInt8[np.ndarray, 'H W 3']:
    """Put pictures side by side, as square a grid as possible; each is shrunk to fit, never stretched.

    Args:
        pictures: RGB uint8, of any sizes.
        columns: how many beside each other; None chooses.
        cell: width and height of one place; None takes the largest picture's.
    """
    if not pictures:
        raise ValueError('grid_of_views: there must be at least one picture; got none.')
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    width, height = cell or (max(p.shape[1] for p in pictures), max(p.shape[0] for p in pictures))
    rows = math.ceil(len(pictures) / columns)
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, picture in enumerate(pictures):
        fitted = _fit(picture, width, height)
        top = (i // columns) * height + (height - fitted.shape[0]) // 2
        left = (i % columns) * width + (width - fitted.shape[1]) // 2
        canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return canvas


def _fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    scale = min(width / picture.shape[1], height / picture.shape[0])
    if scale == 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def box_around(
    xy: Float[np.ndarray, '*s 2'],
    seen: Bool[np.ndarray, '*s'],
    picture_size: tuple[int, int],
    margin: int | float = 0.35,
) -> tuple[int, int, int, int]:
    """Find the box (left, top, right, bottom) that holds all seen points, to cut an animal out.

    Give the points of all frames for one box that stays still through a video.

    Args:
        xy: points, px.
        seen: which of them count.
        picture_size: width and height; the box stays inside.
        margin: on each side, as a share of the longer side of the points' extent.

    Raises:
        ValueError: no point to look at.
    """
    points = xy[seen & np.isfinite(xy).all(-1)]
    if not len(points):
        raise ValueError(
            'box_around: there must be at least one seen point; got none. Use the whole picture.'
        )
    reach = margin * max(float(np.ptp(points, axis=0).max()), 16.0)
    low = np.floor(points.min(0) - reach).astype(int).clip(0)
    high = np.minimum(np.ceil(points.max(0) + reach).astype(int) + 1, picture_size)
    if (high - low < 2).any():
        raise ValueError(
            f'box_around: the points must lie in the picture of {picture_size[0]} x {picture_size[1]} px; got '
            f'{points.min(0).tolist()} to {points.max(0).tolist()}.'
        )
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def cut(picture: UInt8[np.ndarray, 'H W 3'], box: tuple[int, int, int, int]) -> UInt8[np.ndarray, 'h w 3']:
    """Cut a box out of a picture; draw labels and legends afterwards."""
    left, top, right, bottom = box
    return picture[top:bottom, left:right]
