"""Cameras as arrays that an adjustment moves, and what each of their numbers does to a pixel.

The columns of a camera are, in order: a turn (rad) and a shift (world unit) of its frame, the logarithm of its focal
length, its principal point (px) and its five lens coefficients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from smilfit.structures import Cameras

TURN, SHIFT, FOCAL, CENTRE, LENS = slice(0, 3), slice(3, 6), slice(6, 7), slice(7, 9), slice(9, 14)
N_COLUMNS = 14
# Nearer to the camera's plane than this share of its distance a point has no image.
_NEAR = 1e-3

Array = Float[np.ndarray, '...']


@dataclass(frozen=True)
class Rig:
    """C cameras in OpenCV's convention: `x_cam = R x + t`, `u = K distort(x_cam / z)`.

    `focal` and `centre` are px, `skew` is K's, `dist` is (k1, k2, p1, p2, k3).
    """

    R: Float[np.ndarray, 'C 3 3']
    t: Float[np.ndarray, 'C 3']
    focal: Float[np.ndarray, 'C 2']
    centre: Float[np.ndarray, 'C 2']
    skew: Float[np.ndarray, 'C']
    dist: Float[np.ndarray, 'C 5']

    @staticmethod
    def of(cameras: Cameras) -> 'Rig':
        """Take the numbers of cameras of one session."""
        K = cameras.K.double().cpu().numpy()
        dist = np.zeros((len(K), 5)) if cameras.dist is None else cameras.dist.double().cpu().numpy()
        return Rig(
            R=cameras.R.double().cpu().numpy().copy(),
            t=cameras.t.double().cpu().numpy().copy(),
            focal=np.stack((K[:, 0, 0], K[:, 1, 1]), -1),
            centre=K[:, :2, 2].copy(),
            skew=K[:, 0, 1].copy(),
            dist=dist.copy(),
        )

    @property
    def K(self) -> Float[np.ndarray, 'C 3 3']:
        """The camera matrices."""
        K = np.zeros((len(self.R), 3, 3))
        K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = self.focal[:, 0], self.focal[:, 1], 1.0
        K[:, :2, 2], K[:, 0, 1] = self.centre, self.skew
        return K

    @property
    def centres(self) -> Float[np.ndarray, 'C 3']:
        """Where the cameras are in the world."""
        return -np.einsum('cji,cj->ci', self.R, self.t)

    def cameras(self, names: Sequence[str], size: Float[np.ndarray, 'C 2'], unit: str | None) -> Cameras:
        """Return them as cameras."""
        made = {n: torch.from_numpy(np.ascontiguousarray(x)) for n, x in (('K', self.K), ('R', self.R))}
        t, dist = torch.from_numpy(self.t.copy()), torch.from_numpy(self.dist.copy())
        sizes = torch.as_tensor(np.asarray(size, dtype=np.float64))
        return Cameras(names=tuple(names), t=t, size=sizes, dist=dist, unit=unit, **made)

    def columns(self) -> Float[np.ndarray, 'C 14']:
        """Return the numbers that the columns are about; zeros for turn and shift, which are relative."""
        result = np.zeros((len(self.R), N_COLUMNS))
        result[:, FOCAL] = np.log(self.focal[:, :1])
        result[:, CENTRE], result[:, LENS] = self.centre, self.dist
        return result

    def moved(self, step: Float[np.ndarray, 'C 14']) -> 'Rig':
        """Take a step of the columns."""
        rotation = rotation_of(step[:, TURN])
        return replace(
            self,
            R=rotation @ self.R,
            t=np.einsum('cij,cj->ci', rotation, self.t) + step[:, SHIFT],
            focal=self.focal * np.exp(step[:, FOCAL]),
            centre=self.centre + step[:, CENTRE],
            dist=self.dist + step[:, LENS],
        )

    def one(self, index: int) -> 'Rig':
        """Pick one camera."""
        return Rig(**{n: getattr(self, n)[[index]].copy() for n in self.__dataclass_fields__})

    def put(self, index: int, other: 'Rig') -> 'Rig':
        """Return a copy in which one camera is that of another rig."""
        changed = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name).copy()
            value[index] = getattr(other, name)[0]
            changed[name] = value
        return Rig(**changed)


def project(
    rig: Rig, camera: np.ndarray, points: Float[np.ndarray, 'N 3']
) -> tuple[Float[np.ndarray, 'N 2'], np.ndarray]:
    """Project points, each into a camera of its own; which are in front of it."""
    in_camera = np.einsum('nij,nj->ni', rig.R[camera], points) + rig.t[camera]
    near = _NEAR * np.linalg.norm(in_camera, axis=-1)
    depth = np.maximum(in_camera[:, 2], near)
    flat = in_camera[:, :2] / depth[:, None]
    return _to_pixels(rig, camera, _distorted(flat, rig.dist[camera])[0]), in_camera[:, 2] > near


def linearise(
    rig: Rig, camera: np.ndarray, points: Float[np.ndarray, 'N 3']
) -> tuple[Array, Float[np.ndarray, 'N 2 14'], Float[np.ndarray, 'N 2 3'], np.ndarray]:
    """Return pixels, their derivatives by the camera's columns and by the point, and which points are in front."""
    rotated = np.einsum('nij,nj->ni', rig.R[camera], points)
    in_camera = rotated + rig.t[camera]
    near = _NEAR * np.linalg.norm(in_camera, axis=-1)
    depth = np.maximum(in_camera[:, 2], near)
    flat = in_camera[:, :2] / depth[:, None]
    bent, by_flat, by_lens = _distorted(flat, rig.dist[camera])
    pixels = _to_pixels(rig, camera, bent)
    matrix = rig.K[camera][:, :2, :2]
    by_place = np.zeros((len(points), 2, 3))
    by_place[:, 0, 0] = by_place[:, 1, 1] = 1 / depth
    by_place[:, :, 2] = -flat / depth[:, None]
    by_place = matrix @ by_flat @ by_place
    result = np.zeros((len(points), 2, N_COLUMNS))
    # The turn acts on all of x_cam: x_cam' = exp(w) x_cam + s.
    result[:, :, TURN] = -by_place @ skew_matrix(in_camera)
    result[:, :, SHIFT] = by_place
    result[:, :, FOCAL] = (pixels - rig.centre[camera])[..., None]
    result[:, 0, 7] = result[:, 1, 8] = 1.0
    result[:, :, LENS] = matrix @ by_lens
    return pixels, result, by_place @ rig.R[camera], in_camera[:, 2] > near


def _to_pixels(rig: Rig, camera: np.ndarray, bent: Array) -> Array:
    x = rig.focal[camera, 0] * bent[:, 0] + rig.skew[camera] * bent[:, 1] + rig.centre[camera, 0]
    y = rig.focal[camera, 1] * bent[:, 1] + rig.centre[camera, 1]
    return np.stack((x, y), -1)


def _distorted(flat: Array, dist: Array) -> tuple[Array, Array, Array]:
    """Bend normalised coordinates; the derivatives by them (N, 2, 2) and by the coefficients (N, 2, 5)."""
    k1, k2, p1, p2, k3 = dist.T
    x, y = flat.T
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2 * (k1 + r2 * (2 * k2 + 3 * k3 * r2))
    bent = np.stack(
        (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ),
        -1,
    )
    cross = slope * x * y + 2 * p1 * x + 2 * p2 * y
    by_flat = np.empty((len(flat), 2, 2))
    by_flat[:, 0, 0] = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
    by_flat[:, 0, 1] = by_flat[:, 1, 0] = cross
    by_flat[:, 1, 1] = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
    by_lens = np.empty((len(flat), 2, 5))
    by_lens[:, 0] = np.stack((x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3), -1)
    by_lens[:, 1] = np.stack((y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3), -1)
    return bent, by_flat, by_lens


def skew_matrix(vector: Float[np.ndarray, '*b 3']) -> Float[np.ndarray, '*b 3 3']:
    """Return the matrix of the cross product from the left."""
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    return np.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*x.shape, 3, 3)


def rotation_of(axis_angle: Float[np.ndarray, '*b 3']) -> Float[np.ndarray, '*b 3 3']:
    """Return rotation matrices (Rodrigues)."""
    angle = np.linalg.norm(axis_angle, axis=-1)[..., None, None]
    K = skew_matrix(axis_angle)
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    # 2 sin^2(a / 2) keeps the digits that 1 - cos(a) loses.
    second = np.where(small, 0.5, 2 * np.square(np.sin(0.5 * safe) / safe))
    return np.eye(3) + first * K + second * (K @ K)


def angle_between(
    a: Float[np.ndarray, '*#b 3 3'], b: Float[np.ndarray, '*#b 3 3']
) -> Float[np.ndarray, '*b']:
    """Measure the angle (rad) between rotations; exact for small ones."""
    chord = np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8.0)
    return np.asarray(2 * np.arcsin(np.minimum(chord, 1.0)))
