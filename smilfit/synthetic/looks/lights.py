"""What comes between skin and image: lights of the world, things in the way, each camera's sensor."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.renderers import Renderer
from smilfit.structures import Cameras
from smilfit.synthetic.looks.coats import draw_colour

# What one thing may cover of an image at most.
MOST_COVERED = 0.2
_BOX = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
# Each image has its noise from another place of one larger image of noise, by so many px at most.
_NOISE_SHIFT_PX = 64


@dataclass(frozen=True)
class LightRange:
    """What lights are drawn from: their number, the ambient share, how coloured they are, how much skin may gleam."""

    most: int = 2
    ambient: tuple[float, float] = (0.25, 0.75)
    colour_sd: float = 0.06
    gloss: float = 0.25


@dataclass(frozen=True)
class Lights:
    """Lights of a session: `directions` (L, 3) point towards them, in the world; `colours` (L, 3) are their RGB."""

    ambient: float
    directions: Float[np.ndarray, 'L 3']
    colours: Float[np.ndarray, 'L 3']
    gloss: float
    shadow: float = 0.0

    def shade(
        self,
        rgb: Float[np.ndarray, 'P 3'],
        normals: Float[np.ndarray, 'P 3'],
        rotation: Float[np.ndarray, '3 3'],
    ) -> Float[np.ndarray, 'P 3']:
        """Light colours by Lambert's law, with a gleam where light would be mirrored towards the viewer.

        Args:
            normals: of unit length, in the camera's frame, towards the viewer.
            rotation: world to camera.
        """
        towards = (self.directions @ rotation.T).astype(np.float32)
        cosine = np.maximum(normals @ towards.T, 0)
        lit = self.ambient + (1 - self.ambient) * cosine @ self.colours.astype(np.float32)
        half = towards - np.array([0, 0, 1], np.float32)
        half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-6
        gleam = self.gloss * (np.maximum(normals @ half.T, 0) ** 24).sum(1, keepdims=True)
        return rgb * lit + gleam


def draw_lights(rng: np.random.Generator, up: Float[np.ndarray, '3'], chosen: LightRange) -> Lights:
    """Draw lights from above more often than from below.

    Args:
        up: the world's.
    """
    n = int(rng.integers(1, chosen.most + 1))
    directions = rng.standard_normal((n, 3)) + rng.uniform(0.5, 2.0) * up
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = rng.dirichlet(np.full(n, 3.0)) * rng.uniform(0.9, 1.5)
    colours = strength[:, None] * (1 + chosen.colour_sd * rng.standard_normal((n, 3)))
    gloss = chosen.gloss * rng.random() ** 2
    shadow = rng.uniform(0.2, 0.6) if rng.random() < 0.6 else 0.0
    return Lights(rng.uniform(*chosen.ambient), directions, np.maximum(colours, 0), gloss, shadow)


@dataclass(frozen=True)
class Occluder:
    """A box somewhere in the world: `vertices` (8, 3), and its RGB in [0, 1]."""

    vertices: Float[Tensor, '8 3']
    colour: Float[np.ndarray, '3']

    @property
    def faces(self) -> Int[Tensor, '12 3']:
        """Return the corners of its triangles."""
        return torch.from_numpy(_BOX)


@dataclass(frozen=True)
class Screen:
    """What occluders hide in one image: their depth (inf where there is none, world unit) and RGB in [0, 1]."""

    depth: Float[np.ndarray, 'H W']
    rgb: Float[np.ndarray, 'H W 3']


def draw_occluders(
    n: int,
    rng: np.random.Generator,
    centre: Float[np.ndarray, '3'],
    radius: float,
    cameras: Cameras,
    renderer: Renderer,
) -> tuple[Occluder, ...]:
    """Draw bars, boards and blocks around the place of the animal.

    Things that would cover more than `MOST_COVERED` of an image are left out, so there may be fewer than n.

    Args:
        centre: of the place where the animal is.
        radius: of that place, world unit.
        cameras: unbatched.
    """
    eyes = cameras.centres().numpy()
    result = []
    for _ in range(n):
        eye = eyes[int(rng.integers(len(eyes)))]
        # Between the middle of the place and a camera, a little beside the line.
        way = rng.uniform(0.1, 0.6)
        place = centre + way * (eye - centre) + (1 - way) * 0.6 * radius * rng.standard_normal(3)
        thin = radius * rng.uniform(0.02, 0.15, 3)
        kind = rng.integers(3)
        thin[:kind] = radius * rng.uniform(0.3, (4.0, 1.0)[kind - 1] if kind else 0.3, kind)
        rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        one = Occluder(torch.from_numpy(place + (_CORNERS * thin) @ rotation).float(), draw_colour(rng))
        covered = [
            float((screen_of((one,), cameras.select([name]), renderer).depth < np.inf).mean())
            for name in cameras.names
        ]
        if max(covered) <= MOST_COVERED:
            result.append(one)
    return tuple(result)


def screen_of(occluders: tuple[Occluder, ...], camera: Cameras, renderer: Renderer) -> Screen:
    """Render what one camera sees of the occluders."""
    width, height = (int(side) for side in camera.size[0])
    depth = np.full((height, width), np.inf, np.float32)
    rgb = np.zeros((height, width, 3), np.float32)
    for one in occluders:
        render = renderer(
            one.vertices[None], one.faces, camera.to(torch.float32), torch.from_numpy(one.colour).float()
        )
        mine = render.layer('depth')[0].numpy()
        nearer = mine < depth
        depth[nearer], rgb[nearer] = mine[nearer], render.layer('shading')[0].numpy()[nearer]
    return Screen(depth, rgb)


@dataclass(frozen=True)
class SensorRange:
    """What cameras are drawn from; blur in px, noise in grey levels of 255, `jpeg` the range of qualities."""

    blur_px: tuple[float, float] = (0.35, 1.4)
    gain: tuple[float, float] = (0.75, 1.4)
    gamma: tuple[float, float] = (0.7, 1.3)
    white_sd: float = 0.05
    noise: tuple[float, float] = (0.5, 8.0)
    grey: float = 0.25
    vignette: float = 0.4
    jpeg: tuple[int, int] = (30, 95)
    jpeg_share: float = 0.5


class Sensor:
    """One camera of one session, drawn at random.

    Args:
        size: width and height of its images, px.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, chosen: SensorRange) -> None:
        self.blur_px = rng.uniform(*chosen.blur_px)
        gain = rng.uniform(*chosen.gain) * (1 + chosen.white_sd * rng.standard_normal(3))
        gamma = rng.uniform(*chosen.gamma)
        level = np.linspace(0, 1, 256)[:, None]
        self.table = np.clip(255 * (level * np.maximum(gain, 0)) ** gamma, 0, 255).astype(np.float32)
        self.grey = rng.random() < chosen.grey
        shape = (size[1] + _NOISE_SHIFT_PX, size[0] + _NOISE_SHIFT_PX, 3)
        self.noise = np.float32(rng.uniform(*chosen.noise)) * rng.standard_normal(shape, dtype=np.float32)
        jpeg = int(rng.integers(*chosen.jpeg))
        self.jpeg = jpeg if rng.random() < chosen.jpeg_share else None
        x, y = np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1])[:, None]
        fall = chosen.vignette * rng.random() ** 2
        self.shade = (1 - fall * (x**2 + y**2) / 2)[..., None].astype(np.float32)

    def expose(
        self, scene: Float[np.ndarray, 'H W 3'], rng: np.random.Generator
    ) -> UInt8[np.ndarray, 'H W 3']:
        """Turn light (grey levels of 255) into an image, RGB."""
        light = cv2.GaussianBlur(scene * self.shade, (0, 0), self.blur_px)
        level = np.clip(light, 0, 255).astype(np.uint8)
        image = np.stack([self.table[level[..., c], c] for c in range(3)], -1)
        if self.grey:
            image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
        y, x = rng.integers(_NOISE_SHIFT_PX, size=2)
        noise = self.noise[y : y + scene.shape[0], x : x + scene.shape[1]]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        if self.jpeg is None:
            return image
        done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
        return image if decoded is None else np.asarray(decoded, np.uint8)[..., ::-1]
