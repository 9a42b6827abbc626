"""Walls: what stands behind the animal in one camera's images, drawn at random."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.synthetic.looks.coats import Photo, draw_colour

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


def leaves(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Shapes of all sizes that cover one another and the whole image, as in litter, rubble and crowds.

    Sizes follow a power law, as those of things in photographs do (Lee, Mumford and Huang 2001, "Occlusion models for
    natural images").
    """
    image, smallest = _filled(size, rng), rng.uniform(0.012, 0.045)
    colours = [draw_colour(rng) for _ in range(int(rng.integers(2, 9)))]
    for _ in range(int(rng.integers(150, 700))):
        reach = min(size) * min(0.3, smallest / np.sqrt(rng.uniform(0.001, 1)))
        colour = colours[int(rng.integers(len(colours)))] if rng.random() < 0.7 else draw_colour(rng)
        tone = tuple(255.0 * float(c) for c in np.clip(colour + rng.normal(0, 0.04, 3), 0, 1))
        centre = rng.uniform((0, 0), size)
        corners = centre + reach * rng.standard_normal((int(rng.integers(3, 9)), 2)) * rng.uniform(0.15, 1, 2)
        cv2.fillPoly(image, [cv2.convexHull(corners.astype(np.int32).reshape(-1, 1, 2))], tone)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.0))


def grain(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Noise of all scales in two to three colours, as of sand, fur, foliage and stone."""
    fine = rng.uniform(0.5, 1.0)
    image = _filled(size, rng)
    for _ in range(int(rng.integers(1, 4))):
        cells = [3, 6, 12, 24, 48, 96, 192]
        tone = np.sum([fine**i * _cloud(size, n, rng) for i, n in enumerate(cells)], 0)
        share = 1 / (1 + np.exp(-rng.uniform(0.5, 4) * (tone / tone.std() - rng.uniform(-1, 1))))
        image += share[..., None].astype(np.float32) * (255 * draw_colour(rng) - image)
    return image


def bars(size: tuple[int, int], rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Wall:
    """Straight bars, wires or tubes before another wall, in one or two directions, as of cages and meshes."""
    image = (stains, gradient, clutter, leaves, grain)[int(rng.integers(5))](size, rng)
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    first = rng.uniform(0, np.pi)
    for angle in (first, first + np.pi / 2 + rng.normal(0, 0.2))[: int(rng.integers(1, 3))]:
        place = np.cos(angle) * x + np.sin(angle) * y
        along = (np.cos(angle) * y - np.sin(angle) * x) / max(size)
        # Bars that lie farther off lie closer together.
        phase = place * (1 + rng.uniform(-0.3, 0.3) * along) / rng.uniform(8, 50) % 1
        thick = rng.uniform(0.05, 0.35)
        round_light = 1 - 0.6 * np.abs(2 * phase / thick - 1)[..., None]
        bar = 255 * draw_colour(rng) * np.clip(round_light, 0.2, 1)
        image = np.where((phase < thick)[..., None], bar, image).astype(np.float32)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))


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
    'leaves': leaves,
    'grain': grain,
    'bars': bars,
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
