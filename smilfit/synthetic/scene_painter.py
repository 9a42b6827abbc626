"""One camera's images of a made session: the animal, lit, before its wall and behind what stands in the way."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.renderers import Renderer, RenderOutput
from smilfit.structures import Cameras
from smilfit.synthetic.looks import SessionLook, screen_of
from smilfit.synthetic.skin_texture import SkinTexture


class ScenePainter:
    """Paints renders of one camera.

    Args:
        look: of the session.
        camera: one unbatched camera.
        index: which of the look's walls and sensors are its own.
        rest: (V, 3) vertices at rest in the animal's size about its middle: the places that the coat colours.
        faces: of the mesh.
        renderer: draws what stands in the way.
        texture: the skin of each animal, in place of the look's coat.
    """

    def __init__(
        self,
        look: SessionLook,
        camera: Cameras,
        index: int,
        rest: Float[np.ndarray, 'V 3'],
        faces: Int[Tensor, 'F 3'],
        renderer: Renderer,
        texture: SkinTexture | None = None,
    ) -> None:
        self.texture, self.faces = texture, faces.numpy()
        self.look, self.sensor = look, look.sensors[index]
        self.rotation = camera.R[0].numpy().astype(np.float32)
        self.corners = rest.astype(np.float32)[faces.numpy()]
        screen = screen_of(look.occluders, camera, renderer)
        self.screen_depth = screen.depth
        self.free = np.isinf(screen.depth)
        self.scene = np.where(self.free[..., None], look.walls[index], 255 * screen.rgb).astype(np.float32)
        towards = look.lights.directions[0] @ self.rotation.T
        # Shadows fall away from the first light.
        self.fall = -towards[:2]

    def paint(self, render: RenderOutput, index: int, rng: np.random.Generator) -> UInt8[np.ndarray, 'H W 3']:
        """Paint one of a render's images, RGB.

        Args:
            render: of this camera.
            index: which image.
            rng: of this image.
        """
        face, depth = render.face_id[index].numpy(), render.depth[index].numpy()
        seen = (face >= 0) & (depth < self.screen_depth)
        scene = self._shadowed(face >= 0)
        weights = render.barycentric[index].numpy()[seen].astype(np.float32)
        corners = self.corners[face[seen]]
        points = sum(weights[:, i, None] * corners[:, i] for i in range(3))
        normals = render.normals[index].numpy()[seen].astype(np.float32)
        colours = self.look.coat(points) if self.texture is None else self._skin(face[seen], weights)
        scene[seen] = 255 * self.look.lights.shade(colours, normals, self.rotation)
        return self.sensor.expose(scene, rng)

    def _skin(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        assert self.texture is not None
        # Every animal's vertices follow those of the one before.
        return self.texture.colours(self.faces[face] % len(self.texture.uv), weights)

    def _shadowed(self, there: np.ndarray) -> Float[np.ndarray, 'H W 3']:
        """Darken the wall beside the animal, on the side away from the light."""
        scene = self.scene.copy()
        if not self.look.lights.shadow or not there.any():
            return scene
        rows = np.flatnonzero(there.any(1))
        shift = 0.2 * (rows[-1] - rows[0] + 1) * self.fall
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        mask = cv2.warpAffine(there.astype(np.float32), move, there.shape[::-1])
        dark = 1 - self.look.lights.shadow * cv2.blur(mask, (9, 9))
        return scene * np.where(self.free, dark, 1)[..., None]

    def hides(self, pixels: Float[Tensor, 'N K 2'], depth: Float[Tensor, 'N K']) -> np.ndarray:
        """Say which points (N, K) something in the way hides.

        Args:
            pixels: of the points.
            depth: of the points, world unit.
        """
        height, width = self.screen_depth.shape
        x = pixels[..., 0].round().clamp(0, width - 1).long().numpy()
        y = pixels[..., 1].round().clamp(0, height - 1).long().numpy()
        return torch.from_numpy(self.screen_depth[y, x]).lt(depth).numpy()
