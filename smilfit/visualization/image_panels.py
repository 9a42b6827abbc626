"""What was annotated, where the fit began and where it ended, side by side over one picture."""

from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from smilfit.structures import Cameras
from smilfit.visualization.overlays import (
    FITTED_COLOUR,
    MESH_COLOUR,
    SEEN_COLOUR,
    draw_keypoints,
    draw_label,
    draw_mesh,
    grid_of_views,
)
from smilfit.visualization.windows import look

OUTLINE_COLOUR = (240, 60, 60)
START_COLOUR = (204, 121, 167)


def enlarge(
    picture: UInt8[np.ndarray, 'h w 3'], camera: Cameras, side_px: int
) -> tuple[UInt8[np.ndarray, 'r r 3'], Cameras, Float[np.ndarray, '2 3']]:
    """Show a square crop at another size: the picture, its camera, and the map of its px."""
    scale = side_px / picture.shape[0]
    # Pixel centres are at integers: the corner of the crop stays its corner.
    shift = (scale - 1) / 2
    affine = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
    moved = camera.transformed(
        torch.as_tensor(affine)[None].to(camera.K), torch.full((1, 2), float(side_px)).to(camera.K)
    )
    return look(picture, affine, side_px), moved, affine


def draw_outline(
    picture: UInt8[np.ndarray, 'H W 3'],
    mask: Bool[np.ndarray, 'H W'],
    colour: tuple[int, int, int] = OUTLINE_COLOUR,
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw the outline of a silhouette of the picture's size."""
    canvas = np.ascontiguousarray(picture).copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, 1, cv2.LINE_AA)
    return canvas


def draw_body(
    picture: UInt8[np.ndarray, 'H W 3'],
    vertices: Float[Tensor, 'V 3'],
    faces: Tensor,
    camera: Cameras,
    keypoints: Float[Tensor, 'K 3'],
    seen: Bool[np.ndarray, 'K'],
    renderer: Any,
    colour: tuple[int, int, int] = MESH_COLOUR,
) -> UInt8[np.ndarray, 'H W 3']:
    """Lay a body and its keypoints (open circles) over a picture; one that is not finite leaves it as it is."""
    if not bool(vertices.isfinite().all()):
        return picture
    canvas = draw_mesh(picture, vertices.to(camera.K), faces, camera, renderer, colour)
    with torch.no_grad():
        pixels, _, valid = camera.project(keypoints.to(camera.K))
    there = valid[0].numpy() & seen
    return draw_keypoints(canvas, pixels[0].double().numpy(), there, colour=FITTED_COLOUR, filled=False)


def annotated(
    picture: UInt8[np.ndarray, 'H W 3'],
    xy: Float[np.ndarray, 'K 2'],
    seen: Bool[np.ndarray, 'K'],
    mask: Bool[np.ndarray, 'H W'] | None,
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw what was annotated: keypoints (filled) and the mask's outline."""
    canvas = picture if mask is None else draw_outline(picture, mask)
    return draw_keypoints(canvas, xy, seen, colour=SEEN_COLOUR)


def side_by_side(panels: dict[str, np.ndarray]) -> UInt8[np.ndarray, 'H W 3']:
    """Put labelled pictures of one size in a row."""
    return grid_of_views([draw_label(p, label) for label, p in panels.items()], columns=len(panels))
