"""Unreal's cameras as OpenCV's: row vectors, a left-handed world, clip coordinates.

Unreal's world has x forward, y right, z up and is left-handed; its view has x right, y up, z forward. Both turn
right-handed, and the view's y downwards, by a change of sign of y.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from smilfit.io.annotations.entries import BadEntry, numbers, require
from smilfit.structures import Cameras

# From Unreal's world to ours.
MIRROR = np.array([1.0, -1.0, 1.0])
# Far beyond any scene's cm, and far from overflow.
_LARGEST = 1e30


def matrix_of(camera: Mapping[str, Any], key: str) -> Float[np.ndarray, '4 4']:
    """Read a matrix that is written as four planes of x, y, z, w; it acts on row vectors from the right.

    Raises:
        BadEntry: no such matrix, or a number is missing.
    """
    matrix = require(camera, key, dict)
    rows = [
        [require(require(matrix, f'{row}Plane', dict), axis, (int, float)) for axis in 'xyzw']
        for row in 'xyzw'
    ]
    return numbers(rows, (4, 4), key)


def project_row_vectors(
    xyz: Float[np.ndarray, 'K 3'], projection: Float[np.ndarray, '4 4']
) -> tuple[Float[np.ndarray, 'K 2'], Float[np.ndarray, 'K']]:
    """Project points of Unreal's world by a View Projection Matrix.

    Returns:
        device coordinates, -1 to 1, x right and y up, and the depth, which is positive before the camera.
    """
    clip = np.concatenate((xyz, np.ones((len(xyz), 1))), axis=1) @ projection
    depth = clip[:, 3]
    # A depth of 0 has no image; the caller leaves it out.
    return clip[:, :2] / np.where(depth == 0, 1.0, depth)[:, None], depth


def camera_from_matrices(
    view: Float[np.ndarray, '4 4'], projection: Float[np.ndarray, '4 4'], size: tuple[int, int], unit: str
) -> Cameras:
    """Give the camera called 'picture' of a View and a View Projection Matrix, for points times `MIRROR`.

    Raises:
        BadEntry: a view that is no rotation, or a projection that is not that of a pinhole camera.
    """
    if max(np.abs(view).max(), np.abs(projection).max()) > _LARGEST:
        raise BadEntry(
            'View Matrix and View Projection Matrix must be of numbers that a scene has. Export it again.'
        )
    if abs(np.linalg.det(view)) < 0.5:
        raise BadEntry('View Matrix must be a rotation and a shift; got a singular matrix.')
    lens = np.linalg.inv(view) @ projection
    width, height = size
    # Width and height are seen by the forward direction alone, and x and y do not mix.
    absent = np.abs(lens[[0, 1, 3, 0, 1], [3, 3, 3, 1, 0]]).max()
    if not abs(lens[2, 3]) > 1e6 * absent:
        raise BadEntry(
            'View Projection Matrix must be the View Matrix with a perspective; got another projection.'
        )
    lens = lens / lens[2, 3]
    half = np.array([width, height]) / 2.0
    # Pixel centres are at integers: the viewport's outer corner is (-0.5, -0.5).
    centre = half * (1.0 + lens[2, :2] * (1.0, -1.0)) - 0.5
    focal = half * (lens[0, 0], lens[1, 1])
    K = np.array([[focal[0], 0.0, centre[0]], [0.0, focal[1], centre[1]], [0.0, 0.0, 1.0]])
    R = MIRROR[:, None] * view[:3, :3].T * MIRROR
    camera = Cameras(
        names=('picture',),
        K=torch.from_numpy(K)[None],
        R=torch.from_numpy(R)[None],
        t=torch.from_numpy(MIRROR * view[3, :3])[None],
        size=torch.tensor([[float(width), float(height)]], dtype=torch.float64),
        unit=unit,
    )
    try:
        camera.check('camera')
    except ValueError as error:
        raise BadEntry(str(error)) from None
    return camera
