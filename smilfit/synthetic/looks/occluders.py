"""Things that stand between the cameras and the animal: meshes in the world, so that all views agree on them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
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


@dataclass(frozen=True)
class Occluder:
    """A box somewhere in the world: `vertices` (8, 3), and its RGB in [0, 1]."""

    vertices: Float[Tensor, '8 3']
    colour: Float[np.ndarray, '3']

    @property
    def faces(self) -> Int[Tensor, '12 3']:
        """Give the corners of its triangles."""
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
        n: how many at most.
        rng: source of all chance.
        centre: of the place where the animal is.
        radius: of that place, world unit.
        cameras: unbatched.
        renderer: draws them.
    """
    eyes = cameras.centres().numpy()
    found = []
    for _ in range(n):
        eye = eyes[int(rng.integers(len(eyes)))]
        # Between the middle of the place and a camera, a little beside the line.
        way = rng.uniform(0.1, 0.6)
        place = centre + way * (eye - centre) + (1 - way) * 0.6 * radius * rng.standard_normal(3)
        thin = radius * rng.uniform(0.02, 0.15, 3)
        kind = rng.integers(3)
        thin[:kind] = radius * rng.uniform(0.3, (4.0, 1.0)[kind - 1] if kind else 0.3, kind)
        turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        one = Occluder(torch.from_numpy(place + (_CORNERS * thin) @ turn).float(), draw_colour(rng))
        covered = [
            float((screen_of((one,), cameras.select([name]), renderer).depth < np.inf).mean())
            for name in cameras.names
        ]
        if max(covered) <= MOST_COVERED:
            found.append(one)
    return tuple(found)


def screen_of(occluders: tuple[Occluder, ...], camera: Cameras, renderer: Renderer) -> Screen:
    """Render what one camera sees of the occluders."""
    width, height = (int(side) for side in camera.size[0])
    depth = np.full((height, width), np.inf, np.float32)
    rgb = np.zeros((height, width, 3), np.float32)
    for one in occluders:
        render = renderer(
            one.vertices[None], one.faces, camera.to(torch.float32), torch.from_numpy(one.colour).float()
        )
        mine = render.depth[0].numpy()
        nearer = mine < depth
        depth[nearer], rgb[nearer] = mine[nearer], render.shading[0].numpy()[nearer]
    return Screen(depth, rgb)
