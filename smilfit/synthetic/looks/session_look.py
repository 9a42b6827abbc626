"""How one session looks: a coat, lights, things in the way, and each camera's wall and sensor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smilfit.renderers import Renderer
from smilfit.structures import Cameras
from smilfit.synthetic.looks.coats import Coat, Photo, draw_coat
from smilfit.synthetic.looks.lights import Lights, draw_lights
from smilfit.synthetic.looks.occluders import Occluder, draw_occluders
from smilfit.synthetic.looks.sensor import Sensor
from smilfit.synthetic.looks.styles import LookStyle
from smilfit.synthetic.looks.walls import Wall, draw_wall
from smilfit.synthetic.placement import SharedVolume

# The animal's mean colour differs from its walls' at least so much (RGB in [0, 1]), if that many coats can do it.
LEAST_DIFFERENCE, MOST_COATS = 0.12, 10


@dataclass(frozen=True)
class Photos:
    """Photographs of empty places: those of one camera, by its name, and those of anywhere."""

    of_camera: Mapping[str, Photo]
    anywhere: Sequence[Photo] = ()

    @property
    def all(self) -> tuple[Photo, ...]:
        """Give all of them."""
        return (*self.of_camera.values(), *self.anywhere)


NO_PHOTOS = Photos({})


@dataclass(frozen=True)
class SessionLook:
    """What all images of a session share; walls and sensors are one a camera."""

    coat: Coat
    lights: Lights
    occluders: tuple[Occluder, ...]
    walls: tuple[Wall, ...]
    sensors: tuple[Sensor, ...]


def draw_look(
    style: LookStyle,
    rng: np.random.Generator,
    cameras: Cameras,
    volume: SharedVolume,
    renderer: Renderer,
    photos: Photos = NO_PHOTOS,
) -> SessionLook:
    """Draw the look of a session.

    Args:
        style: what it is drawn from.
        rng: source of all chance.
        cameras: unbatched.
        volume: where the animal is.
        renderer: draws what stands in the way.
        photos: of the place.
    """
    sizes = [(int(width), int(height)) for width, height in cameras.size.tolist()]
    # Cameras of one place look at the same kind of wall.
    kind = style.walls[int(rng.integers(len(style.walls)))]
    real = bool(photos.all) and rng.random() < style.photo_share
    walls = tuple(_wall(name, size, kind, rng, photos, real) for name, size in zip(cameras.names, sizes))
    lights = draw_lights(rng, volume.up, style.lights)
    n_occluders = int(rng.integers(style.most_occluders + 1))
    return SessionLook(
        coat=_visible_coat(style, rng, walls, photos),
        lights=lights,
        occluders=draw_occluders(n_occluders, rng, volume.centre, volume.radius, cameras, renderer),
        walls=walls,
        sensors=tuple(Sensor(size, rng, style.sensor) for size in sizes),
    )


def _wall(
    camera: str, size: tuple[int, int], kind: str, rng: np.random.Generator, photos: Photos, real: bool
) -> Wall:
    if real and camera in photos.of_camera:
        import cv2

        # The camera's own empty image, as it is.
        return cv2.resize(photos.of_camera[camera], size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return draw_wall('photo' if real else kind, size, rng, photos.all)


def _visible_coat(style: LookStyle, rng: np.random.Generator, walls: Sequence[Wall], photos: Photos) -> Coat:
    """Draw coats until one is not of the walls' colour."""
    behind = np.stack([wall.mean((0, 1)) / 255 for wall in walls])
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (200, 3)).astype(np.float32)
    for _ in range(MOST_COATS):
        kind = style.coats[int(rng.integers(len(style.coats)))]
        coat = draw_coat(kind, rng, photos.all)
        difference = np.abs(coat(points).mean(0) - behind).mean(-1)
        if difference.min() >= LEAST_DIFFERENCE:
            break
    return coat
