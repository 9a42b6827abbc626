"""How one session looks: a coat, lights, things in the way, and each camera's wall and sensor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.renderers import Renderer
from smilfit.structures import Cameras
from smilfit.synthetic.looks.coats import COATS, Coat, Photo, draw_coat, draw_colour
from smilfit.synthetic.looks.lights import (
    LightRange,
    Lights,
    Occluder,
    Sensor,
    SensorRange,
    draw_lights,
    draw_occluders,
)
from smilfit.synthetic.motion import SharedVolume

Wall = Float[np.ndarray, 'H W 3']
WallMaker = Callable[[tuple[int, int], np.random.Generator, Sequence[Photo]], Wall]


def stains(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Large and small stains of one colour."""
    image = _filled(size, rng)
    contrast = rng.uniform(5, 40)
    for cells, share in ((4, 1.0), (12, 0.6), (40, 0.35), (120, 0.2)):
        image += contrast * share * _cloud(size, cells, rng)[..., None]
    return image


def gradient(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """One colour going over to another, as floors do that are lit from one side."""
    width, height = size
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
    share = (0.5 + 0.7 * (np.cos(angle) * x + np.sin(angle) * y))[..., None]
    one, other = draw_colour(rng), draw_colour(rng)
    image = 255 * (one + (other - one) * share)
    return (image + 6 * _cloud(size, 30, rng)[..., None]).astype(np.float32)


def clutter(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Things of all shapes lying about."""
    image = stains(size, rng)
    width, height = size
    for _ in range(int(rng.integers(5, 40))):
        colour = tuple(255.0 * float(c) for c in draw_colour(rng))
        centre = rng.uniform((0, 0), (width, height))
        reach = min(size) * rng.uniform(0.02, 0.22)
        if rng.random() < 0.5:
            corners = centre + reach * rng.standard_normal((int(rng.integers(3, 7)), 2))
            hull = cv2.convexHull(corners.astype(np.int32).reshape(-1, 1, 2))
            cv2.fillPoly(image, [hull], colour)
        else:
            axes = tuple(int(a) for a in 1 + reach * rng.uniform(0.2, 1, 2))
            centre_point = tuple(int(c) for c in centre)
            cv2.ellipse(image, centre_point, axes, rng.uniform(0, 180), 0, 360, colour, -1)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3.0))


def planks(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Parallel bands of nearly one colour, as of boards, grids and bedding."""
    width, height = size
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
    y, x = np.mgrid[:height, :width]
    place = (np.cos(angle) * x + np.sin(angle) * y) / period + 100
    tones = rng.normal(0, rng.uniform(5, 25), int(place.max()) + 2).astype(np.float32)
    image = _filled(size, rng) + tones[place.astype(int)][..., None]
    image[place % 1 < rng.uniform(0.0, 0.15)] *= rng.uniform(0.4, 0.9)
    return image + 5 * _cloud(size, 60, rng)[..., None]


def photo(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """A piece of a photograph; clutter where there is none."""
    if not photos:
        return clutter(size, rng)
    image = photos[int(rng.integers(len(photos)))]
    height, width = image.shape[:2]
    share = min(width / size[0], height / size[1]) * rng.uniform(0.4, 1.0)
    w, h = max(1, int(share * size[0])), max(1, int(share * size[1]))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    piece = image[y : y + h, x : x + w]
    piece = piece[:, ::-1] if rng.random() < 0.5 else piece
    return cv2.resize(np.ascontiguousarray(piece), size, interpolation=cv2.INTER_AREA).astype(np.float32)


def checks(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Tiles of two colours."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    angle, side = rng.uniform(0, np.pi / 2), rng.uniform(12, 60)
    a, b = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    tile = ((np.floor(a / side) + np.floor(b / side)) % 2)[..., None]
    one = draw_colour(rng)
    other = np.clip(one + rng.normal(0, 0.15, 3), 0, 1)
    return (255 * (one + (other - one) * tile)).astype(np.float32)


def scribbles(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Thin lines to and fro, as of straw and twigs."""
    image = _filled(size, rng)
    for _ in range(int(rng.integers(20, 150))):
        start = rng.uniform((0, 0), size)
        path = start + np.cumsum(0.08 * min(size) * rng.standard_normal((5, 2)), 0)
        colour = tuple(255.0 * float(c) for c in draw_colour(rng))
        line = path.astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(image, [line], False, colour, int(rng.integers(1, 4)))
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))


def haze(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Soft clouds of three colours."""
    image = np.zeros((size[1], size[0], 3), np.float32)
    for _ in range(3):
        share = np.exp(0.8 * _cloud(size, int(rng.integers(2, 7)), rng))[..., None]
        image += 255 / 3 * draw_colour(rng) * share
    return image


WALLS: dict[str, WallMaker] = {
    'stains': stains,
    'gradient': gradient,
    'clutter': clutter,
    'planks': planks,
    'photo': photo,
    'checks': checks,
    'scribbles': scribbles,
    'haze': haze,
}


def draw_wall(
    kind: str, size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()
) -> Wall:
    """Draw a wall of a kind.

    Args:
        kind: one of `WALLS`.
        size: width and height, px.
        rng: source of all chance.
        photos: images of which pieces may become walls.

    Raises:
        KeyError: an unknown kind, with the near ones.
    """
    if kind not in WALLS:
        raise UnknownNameError(f'wall: no kind {kind!r}. {did_you_mean(kind, WALLS)}')
    return np.clip(WALLS[kind](size, rng, photos), 0, 255).astype(np.float32)


def _filled(size: tuple[int, int], rng: np.random.Generator) -> Wall:
    return np.full((size[1], size[0], 3), 255 * draw_colour(rng), np.float32)


def _cloud(size: tuple[int, int], cells: int, rng: np.random.Generator) -> Float[np.ndarray, 'H W']:
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


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
class Photos:
    """Photographs of empty places: those of one camera, by its name, and those of anywhere."""

    of_camera: Mapping[str, Photo]
    anywhere: Sequence[Photo] = ()

    @property
    def all(self) -> tuple[Photo, ...]:
        """Return all of them."""
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
