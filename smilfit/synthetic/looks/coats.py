"""Coats: colours of an animal's skin as functions of the place on its rest shape, drawn at random.

A coat takes points in the size of the animal about its middle, its greatest extent from -0.5 to 0.5, and gives RGB in
[0, 1]. Being functions of space they need no texture coordinates, and are as sharp as the image.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from smilfit.registry import UnknownNameError, did_you_mean

Points = Float[np.ndarray, 'P 3']
Coat = Callable[[Points], Float[np.ndarray, 'P 3']]
# Photographs have sizes of their own.
Photo = UInt8[np.ndarray, '_ _ 3']
CoatMaker = Callable[[np.random.Generator, Sequence[Photo]], Coat]

# Two colours of a coat differ at least so much in brightness.
LEAST_CONTRAST = 0.15


def plain(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """One colour, a little lighter here and darker there."""
    colour, waves = draw_colour(rng), _waves(rng, 3, 3.0)
    depth = rng.uniform(0.0, 0.15)
    return lambda points: _clipped(colour * (1 + depth * waves(points)[:, None]))


def gradient(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """From one colour to another along some direction, as dark backs go over to light bellies."""
    one, other = draw_pair(rng)
    direction = _direction(rng)
    centre, width = rng.uniform(-0.2, 0.2), rng.uniform(0.03, 0.3)

    def coat(points: Points) -> np.ndarray:
        return _mixed(one, other, 1 / (1 + np.exp(-(points @ direction - centre) / width)))

    return coat


def waves(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Clouds of light and dark, some soft, some with edges."""
    one, other = draw_pair(rng)
    tone, edge = _waves(rng, 5, rng.uniform(5, 25)), rng.uniform(1.0, 10.0)
    return lambda points: _mixed(one, other, 1 / (1 + np.exp(-edge * tone(points))))


def spots(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Round spots of several sizes."""
    one, other = draw_pair(rng)
    centres = rng.uniform(-0.5, 0.5, (int(rng.integers(30, 120)), 3)).astype(np.float32)
    radius = rng.uniform(0.02, 0.09) * rng.uniform(0.6, 1.4, len(centres)).astype(np.float32)

    def coat(points: Points) -> np.ndarray:
        squared = (points**2).sum(1, keepdims=True) - 2 * points @ centres.T + (centres**2).sum(1)
        return _mixed(one, other, (squared < radius**2).any(1))

    return coat


def stripes(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Bands across some direction, bent."""
    one, other = draw_pair(rng)
    direction, bend = _direction(rng), _waves(rng, 3, 6.0)
    count, share, bent = rng.uniform(4, 18), rng.uniform(-0.5, 0.5), rng.uniform(0.0, 0.12)

    def coat(points: Points) -> np.ndarray:
        phase = 2 * np.pi * count * (points @ direction + bent * bend(points))
        return _mixed(one, other, 1 / (1 + np.exp(-8 * (np.sin(phase) - share))))

    return coat


def mosaic(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Patches with edges, of a few colours or of many."""
    centres = rng.uniform(-0.5, 0.5, (int(rng.integers(4, 60)), 3)).astype(np.float32)
    palette = np.stack([draw_colour(rng) for _ in range(int(rng.integers(2, 7)))])
    colours = palette[rng.integers(len(palette), size=len(centres))]
    bend, bent = _waves(rng, 4, 12.0), rng.uniform(0.0, 0.06)

    def coat(points: Points) -> np.ndarray:
        moved = points + bent * bend(points)[:, None]
        return colours[((centres**2).sum(1) - 2 * moved @ centres.T).argmin(1)]

    return coat


def marble(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Three colours, mixed on large and small scales."""
    layers = [(draw_colour(rng), _waves(rng, 6, rng.uniform(4, 60)), rng.uniform(1, 6)) for _ in range(3)]

    def coat(points: Points) -> np.ndarray:
        tones = np.stack([np.exp(edge * tone(points)) for _, tone, edge in layers], 1)
        return _clipped(tones / tones.sum(1, keepdims=True) @ np.stack([colour for colour, _, _ in layers]))

    return coat


def photo(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """A piece of a photograph, thrown onto the animal along some direction; clouds where there is none."""
    if not photos:
        return waves(rng)
    image = photos[int(rng.integers(len(photos)))]
    height, width = image.shape[:2]
    side = int(rng.uniform(0.3, 1.0) * min(height, width))
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    piece = image[y : y + side, x : x + side].astype(np.float32) / 255
    basis = np.linalg.qr(rng.standard_normal((3, 2)))[0].astype(np.float32)
    gain = rng.uniform(0.6, 1.5)

    def coat(points: Points) -> np.ndarray:
        place = np.clip(((points @ basis) + 0.6) / 1.2, 0, 1) * (side - 1)
        return _clipped(gain * piece[place[:, 1].astype(int), place[:, 0].astype(int)])

    return coat


def checks(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Blocks of two colours in space."""
    one, other = draw_pair(rng)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0].astype(np.float32)
    count = rng.uniform(5, 14)
    return lambda points: _mixed(one, other, np.floor(count * points @ rotation).sum(1).astype(int) % 2)


def rings(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Rings about a few places."""
    one, other = draw_pair(rng)
    centres = rng.uniform(-0.4, 0.4, (int(rng.integers(1, 5)), 3)).astype(np.float32)
    count = rng.uniform(8, 25)

    def coat(points: Points) -> np.ndarray:
        distance = np.linalg.norm(points[:, None] - centres, axis=2).min(1)
        return _mixed(one, other, 0.5 + 0.5 * np.sin(2 * np.pi * count * distance))

    return coat


def speckles(rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Fine specks of a third colour on halves of two."""
    one, other = draw_pair(rng)
    third, direction = draw_colour(rng), _direction(rng)
    tone, level = _waves(rng, 6, 60.0), rng.uniform(0.3, 0.7)

    def coat(points: Points) -> np.ndarray:
        base = _mixed(one, other, points @ direction > 0)
        return np.where((tone(points) > level)[:, None], third, base)

    return coat


COATS: dict[str, CoatMaker] = {
    'plain': plain,
    'gradient': gradient,
    'waves': waves,
    'spots': spots,
    'stripes': stripes,
    'mosaic': mosaic,
    'marble': marble,
    'photo': photo,
    'checks': checks,
    'rings': rings,
    'speckles': speckles,
}


def draw_coat(kind: str, rng: np.random.Generator, photos: Sequence[Photo] = ()) -> Coat:
    """Draw a coat of a kind.

    Args:
        kind: one of `COATS`.
        photos: images of which pieces may become coats.

    Raises:
        KeyError: an unknown kind, with the near ones.
    """
    if kind not in COATS:
        raise UnknownNameError(f'coat: no kind {kind!r}. {did_you_mean(kind, COATS)}')
    return COATS[kind](rng, photos)


def draw_colour(rng: np.random.Generator) -> Float[np.ndarray, '3']:
    """Draw a colour, more often a dull one than a bright one."""
    value, saturation, hue = rng.uniform(0.12, 0.97), rng.beta(1.0, 2.5), rng.uniform(0, 6)
    # Half of all have the hues of fur and skin.
    hue = rng.normal(0.5, 0.25) % 6 if rng.random() < 0.5 else hue
    wheel = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return (value * (1 - saturation * (1 - wheel))).astype(np.float32)


def draw_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw two colours that can be told from one another."""
    one = draw_colour(rng)
    while True:
        other = draw_colour(rng)
        if abs(float(other.mean() - one.mean())) >= LEAST_CONTRAST:
            return one, other


def _direction(rng: np.random.Generator) -> Float[np.ndarray, '3']:
    vector = rng.standard_normal(3)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _waves(rng: np.random.Generator, n: int, wave: float) -> Callable[[Points], np.ndarray]:
    """Draw a sum of waves in [-1, 1]; `wave` is their usual number of radians across the animal."""
    vectors = (wave * rng.standard_normal((3, n))).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, n).astype(np.float32)
    return lambda points: np.sin(points @ vectors + phases).mean(1)


def _mixed(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return one + (other - one) * share.astype(np.float32)[:, None]


def _clipped(rgb: np.ndarray) -> np.ndarray:
    return np.clip(rgb, 0, 1)
