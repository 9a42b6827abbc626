"""Light: from everywhere, and from a few directions of the world, the same in all views."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


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
            rgb: colours of the skin.
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
        rng: source of all chance.
        up: the world's.
        chosen: what they are drawn from.
    """
    n = int(rng.integers(1, chosen.most + 1))
    directions = rng.standard_normal((n, 3)) + rng.uniform(0.5, 2.0) * up
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = rng.dirichlet(np.full(n, 3.0)) * rng.uniform(0.9, 1.5)
    colours = strength[:, None] * (1 + chosen.colour_sd * rng.standard_normal((n, 3)))
    gloss = chosen.gloss * rng.random() ** 2
    shadow = rng.uniform(0.2, 0.6) if rng.random() < 0.6 else 0.0
    return Lights(rng.uniform(*chosen.ambient), directions, np.maximum(colours, 0), gloss, shadow)
