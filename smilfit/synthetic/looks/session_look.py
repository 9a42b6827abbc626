"""How one session looks: a coat, lights, things in the way, each camera's wall and sensor, and their styles."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.renderers import Renderer
from smilfit.structures import Cameras
from smilfit.synthetic.camera_rigs import SharedVolume
from smilfit.synthetic.looks.coats import COATS, Coat, draw_coat
from smilfit.synthetic.looks.lights import (
    LightRange,
    Lights,
    Occluder,
    Sensor,
    SensorRange,
    draw_lights,
    draw_occluders,
)
from smilfit.synthetic.looks.photos import NO_PHOTOS, Photos
from smilfit.synthetic.looks.walls import WALLS, Wall, draw_wall


@dataclass(frozen=True)
class LookStyle:
    """What the looks of sessions are drawn from: kinds of coats and walls, lights, sensors.

    Where there are photographs of the place, `photo_share` of the walls are these.
    """

    coats: tuple[str, ...]
    walls: tuple[str, ...]
    lights: LightRange = field(default_factory=LightRange)
    sensor: SensorRange = field(default_factory=SensorRange)
    most_occluders: int = 3
    photo_share: float = 0.8

    def __post_init__(self) -> None:
        for what, chosen, known in (('coats', self.coats, COATS), ('walls', self.walls, WALLS)):
            if not chosen:
                raise ValueError(f'LookStyle: {what} must name a kind; got none.')
            for kind in chosen:
                if kind not in known:
                    raise UnknownNameError(
                        f'LookStyle: {what}: no kind {kind!r}. {did_you_mean(kind, known)}'
                    )


STYLES: dict[str, LookStyle] = {
    # For training: a wide range.
    'varied': LookStyle(
        coats=('plain', 'gradient', 'waves', 'spots', 'stripes', 'photo'),
        walls=('stains', 'gradient', 'clutter', 'planks'),
    ),
    # For networks that must hold in places nobody has thought of: more kinds of everything, and harsher light.
    'wide': LookStyle(
        coats=('plain', 'gradient', 'waves', 'spots', 'stripes', 'mosaic', 'marble', 'photo'),
        walls=('stains', 'gradient', 'clutter', 'planks', 'leaves', 'leaves', 'grain', 'bars'),
        lights=LightRange(most=3, ambient=(0.12, 0.75), colour_sd=0.15, gloss=0.4),
        sensor=SensorRange(gamma=(0.55, 1.4), jpeg=(20, 95)),
        most_occluders=4,
    ),
    # For tests: no coat, wall or light of the other.
    'other': LookStyle(
        coats=('checks', 'rings', 'speckles'),
        walls=('checks', 'scribbles', 'haze'),
        lights=LightRange(most=3, ambient=(0.1, 0.25), colour_sd=0.3, gloss=0.5),
        sensor=SensorRange(gamma=(0.55, 0.7), grey=0.1, jpeg=(20, 40)),
    ),
}


def find_style(style: str | LookStyle) -> LookStyle:
    """Look a style up by name; one that is none but a style is given back.

    Raises:
        KeyError: an unknown name, with the near ones.
    """
    if isinstance(style, LookStyle):
        return style
    if style not in STYLES:
        raise UnknownNameError(f'synthesize: no style {style!r}. {did_you_mean(style, STYLES)}')
    return STYLES[style]


# The animal's mean colour differs from its walls' at least so much (RGB in [0, 1]), if that many coats can do it.
LEAST_DIFFERENCE, MOST_COATS = 0.15, 12


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
        cameras: unbatched.
        renderer: draws what stands in the way.
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
