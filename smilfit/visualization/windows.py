"""Windows that follow the animal through each camera's picture, and the overlays seen through them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from smilfit.structures import Cameras, Keypoints2d
from smilfit.visualization.overlays import draw_keypoints, draw_label, draw_mesh, grid_of_views

# Side of a window over the animal's extent, and the frames over which its centre is averaged.
MARGIN = 1.35
SMOOTH_FRAMES = 9
FITTED_COLOUR = (120, 220, 255)


def follow(
    cameras: Cameras, points: Float[Tensor, 'B P 3'], side_px: int, margin: int | float = MARGIN
) -> Float[np.ndarray, 'B C 2 3']:
    """Find square windows around an animal, of one size a camera, that move smoothly.

    Args:
        cameras: of the pictures, one set for all frames.
        points: the animal, world unit.
        side_px: side of the windows as they will be drawn.
        margin: the window's side over the animal's extent.

    Returns:
        Maps from the pictures' px to the windows' px, `u' = A u + b`.
    """
    with torch.no_grad():
        pixels, _, valid = cameras.project(points.to(cameras.K))
    hidden = ~valid.unsqueeze(-1)
    low = pixels.masked_fill(hidden, float('inf')).amin(2)
    high = pixels.masked_fill(hidden, -float('inf')).amax(2)
    seen = valid.any(2).numpy()
    centre, extent = (0.5 * (low + high)).numpy(), (high - low).amax(-1).numpy()
    affine = np.zeros((*seen.shape, 2, 3))
    for c in range(len(cameras)):
        there = seen[:, c]
        middle = cameras.size[c].numpy() / 2
        path = np.where(there[:, None], centre[:, c], np.nan if there.any() else middle)
        path = _smooth(_fill(path))
        side = margin * (np.percentile(extent[there, c], 90) if there.any() else float(cameras.size[c].max()))
        scale = side_px / max(side, 8.0)
        affine[:, c, 0, 0] = affine[:, c, 1, 1] = scale
        affine[:, c, :, 2] = (side_px - 1) / 2 - scale * path
    return affine


def _fill(path: Float[np.ndarray, 'B 2']) -> Float[np.ndarray, 'B 2']:
    """Bridge frames without a position by straight lines."""
    known = np.isfinite(path[:, 0])
    frames = np.arange(len(path))
    return np.stack([np.interp(frames, frames[known], path[known, axis]) for axis in (0, 1)], 1)


def _smooth(path: Float[np.ndarray, 'B 2']) -> Float[np.ndarray, 'B 2']:
    width = min(SMOOTH_FRAMES, len(path))
    padded = np.pad(path, ((width // 2, width - 1 - width // 2), (0, 0)), mode='edge')
    kernel = np.full(width, 1 / width)
    return np.stack([np.convolve(padded[:, axis], kernel, mode='valid') for axis in (0, 1)], 1)


def look(
    picture: UInt8[np.ndarray, 'H W 3'],
    affine: Float[np.ndarray, '2 3'],
    side_px: int,
    lens: tuple[np.ndarray, np.ndarray] | None = None,
) -> UInt8[np.ndarray, 'r r 3']:
    """See a picture through a window; outside of the picture is black.

    Args:
        picture: RGB.
        affine: picture px (undistorted where a lens is given) to window px.
        side_px: side of the window.
        lens: K and distortion coefficients of a picture that is to be undistorted on the way.
    """
    import cv2

    if lens is None:
        return cv2.warpAffine(picture, affine, (side_px, side_px), flags=cv2.INTER_LINEAR)
    k, dist = lens
    new_k = np.vstack((affine, (0.0, 0.0, 1.0))) @ k
    maps = cv2.initUndistortRectifyMap(k, dist, np.eye(3), new_k, (side_px, side_px), cv2.CV_32FC1)
    return cv2.remap(picture, *maps, cv2.INTER_LINEAR)


@dataclass(frozen=True)
class WindowView:
    """One camera's picture of one frame, already seen through its window."""

    picture: np.ndarray
    affine: np.ndarray


def overlay_frames(
    views: Iterable[Mapping[str, WindowView]],
    cameras: Cameras,
    vertices: Float[Tensor, 'B V 3'],
    faces: Tensor,
    seen: Keypoints2d,
    fitted: Float[Tensor, 'B K 3'],
    renderer: Any,
    frame_names: Iterable[Any],
) -> Iterator[np.ndarray]:
    """Draw, frame by frame, the mesh, the annotated and the fitted keypoints on every camera's window.

    Args:
        views: for every frame, the cameras' windows.
        cameras: of the pictures behind the windows.
        vertices: the fitted meshes; a frame whose mesh is not finite was not fitted, and shows none.
        faces: the mesh's triangles.
        seen: annotated keypoints, px of the pictures behind the windows.
        fitted: fitted keypoints in the order of `seen.names`, world unit.
        renderer: draws the mesh.
        frame_names: what to call each frame.
    """
    with torch.no_grad():
        projected, _, valid = cameras.project(fitted.to(cameras.K))
    for i, (view, name) in enumerate(zip(views, frame_names)):
        tiles = []
        for c, camera in enumerate(cameras.names):
            if camera not in view:
                continue
            picture, affine = view[camera].picture, view[camera].affine
            side = picture.shape[0]
            one = cameras.select([camera]).transformed(
                torch.as_tensor(affine)[None], torch.tensor([[side, side]], dtype=cameras.K.dtype)
            )
            tile = picture
            if bool(vertices[i].isfinite().all()):
                tile = draw_mesh(picture, vertices[i].to(cameras.K), faces, one, renderer)
            points = projected[i, c].numpy() @ affine[:, :2].T + affine[:, 2]
            tile = draw_keypoints(tile, points, valid[i, c].numpy(), colour=FITTED_COLOUR, filled=False)
            clicked = seen.xy[i, c].double().numpy() @ affine[:, :2].T + affine[:, 2]
            tile = draw_keypoints(tile, clicked, (seen.confidence[i, c] > 0).numpy())
            tiles.append(draw_label(tile, f'{camera}  frame {name}'))
        yield grid_of_views(
            tiles,
            columns=len(tiles) if len(tiles) <= 3 else None,
            cell=(tiles[0].shape[1], tiles[0].shape[0]),
        )
