"""Boards as cameras with lenses see them: rendered by rays, blurred a little, with noise."""

import cv2
import numpy as np
import torch

from smilfit.cameras.boards import Board
from smilfit.cameras.rig import Rig
from tests.cameras.rigs import SIZE

_PX_PER_MM = 4.0
_MARGIN = 24


class Renderer:
    """Draw one board for the cameras of a rig."""

    def __init__(self, rig: Rig, board: Board, noise: float = 3.0, stretch: float = 1.0) -> None:
        self.rig, self.noise, self.stretch = rig, noise, stretch
        self.random = np.random.default_rng(0)
        # A pixel is some five texels wide.
        self.texture = cv2.GaussianBlur(board.image(_PX_PER_MM, _MARGIN).astype(np.float32), (0, 0), 2.0)
        names = [str(c) for c in range(len(rig.R))]
        cameras = rig.cameras(names, np.tile(SIZE, (len(names), 1)), 'mm')
        y, x = np.mgrid[: int(SIZE[1]), : int(SIZE[0])]
        pixels = torch.from_numpy(np.stack((x, y), -1).reshape(-1, 2).astype(np.float64))
        self.rays = [
            cameras.select((n,)).rays(pixels[None])[0][0].numpy().reshape(*x.shape, 3) for n in names
        ]

    def __call__(self, camera: int, R: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return the grey image of a board placed by `R x + t`."""
        ray, centre = self.rays[camera] @ R, R.T @ (self.rig.centres[camera] - t)
        with np.errstate(divide='ignore', invalid='ignore'):
            at = centre + (-centre[2] / ray[..., 2])[..., None] * ray
        at = np.where((centre[2] * ray[..., 2] < 0)[..., None], at, -1e6).astype(np.float32)
        at[..., 0] /= self.stretch
        mapped = at[..., :2] * np.float32(_PX_PER_MM) + np.float32(_MARGIN - 0.5)
        image = cv2.remap(
            self.texture, mapped[..., 0].copy(), mapped[..., 1].copy(), cv2.INTER_LINEAR, borderValue=110
        )
        image = 30 + 0.75 * image + self.random.normal(scale=self.noise, size=image.shape)
        return np.clip(image, 0, 255).astype(np.uint8)


def board_poses(board: Board, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hold a board about the origin, facing up (its z points down, as printed boards' do), tilted and moved."""
    from smilfit.cameras.rig import rotation_of

    random = np.random.default_rng(seed)
    down = np.diag([1.0, -1.0, -1.0])
    tilt = rotation_of(random.uniform(-0.5, 0.5, (count, 3)))
    # The first lies on the floor.
    tilt[0] = np.eye(3)
    R = tilt @ down
    centre = np.array([board.columns, board.rows, 0]) * board.square_mm / 2
    place = random.uniform(-70, 70, (count, 3))
    place[0] = 0
    return R, place - R @ centre
