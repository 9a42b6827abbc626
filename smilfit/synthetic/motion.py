"""Smooth motion: a walk through an arena, legs that swing in turn, everything else that sways within its limits."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.structures import BodyParams, Cameras

# Share of a joint's range that motion uses: the limits themselves are never reached.
USED_RANGE = 0.75
# What a mirror of left and right does to a turn's axis.
_ACROSS = np.array([-1.0, 1.0, -1.0])
# Share of the swing in a leg's first joint; the rest sways.
SWING = 0.75


def random_motion(
    body: SMIL,
    n_frames: int,
    rng: np.random.Generator,
    arena_radius: float,
    scale: float = 1.0,
    betas: np.ndarray | None = None,
    fps: float = 30.0,
    strides_per_second: float = 2.0,
    lengths_per_second: float = 0.5,
) -> BodyParams:
    """Make an animal walk on the floor z = 0 of a round arena; +z is up, the arena's middle is the origin.

    Args:
        body: the animal; its joint limits and the group 'legs' shape the motion.
        n_frames: how many poses.
        rng: source of all chance.
        arena_radius: within which the root stays, world unit.
        scale: model unit to world unit, of all frames.
        betas: shape of all frames; drawn from the shape space where None.
        fps: frames a second.
        strides_per_second: of each leg.
        lengths_per_second: walking speed, in the model's size along its forward axis.

    Returns:
        Float64 parameters of `n_frames` frames, one shape and one scale.
    """
    data = body.data
    if betas is None:
        betas = draw_betas(data, rng)
    pose = _sway(n_frames, (data.n_joints - 1, 3), rng, fps)
    _swing_legs(pose, data, rng, fps, strides_per_second)
    limits = _limits(data)[1:]
    pose = USED_RANGE * np.where(pose > 0, pose * limits[..., 1], -pose * limits[..., 0])
    if data.joint_axes is not None:
        pose = np.einsum('jab,tjb->tja', data.joint_axes[1:], pose)
    size = scale * np.ptp(data.v_template, axis=0).max()
    place, heading = _walk(n_frames, rng, arena_radius, lengths_per_second * size / fps, fps)
    tilt = 0.12 * _sway(n_frames, (3,), rng, fps)
    rotation = axis_angle_to_rotmat(torch.from_numpy(np.stack((0 * heading, 0 * heading, heading), 1)))
    orient = rotation @ axis_angle_to_rotmat(torch.from_numpy(tilt)) @ torch.from_numpy(upright(data))
    params = BodyParams(
        global_orient=rotmat_to_axis_angle(orient),
        body_pose=torch.from_numpy(pose),
        betas=torch.from_numpy(np.tile(betas, (n_frames, 1))),
        transl=torch.from_numpy(np.concatenate((place, np.zeros((n_frames, 1))), 1)),
        scale=torch.full((n_frames,), float(scale), dtype=torch.float64),
    )
    return _on_the_floor(body, params, fps)


def draw_betas(data: BodyModelData, rng: np.random.Generator, most: float = 2.0) -> np.ndarray:
    """Draw shape coefficients from the model's distribution, none beyond `most` standard deviations.

    Where the model knows kinds of animals, one of them is drawn first.
    """
    if data.shape_mixture is not None:
        kind = rng.choice(len(data.shape_mixture.names), p=data.shape_mixture.weights)
        root = np.linalg.cholesky(data.shape_mixture.covs[kind])
        return data.shape_mixture.means[kind] + root @ np.clip(rng.standard_normal(data.n_betas), -most, most)
    mean = np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean
    root = np.eye(data.n_betas) if data.shape_cov is None else np.linalg.cholesky(data.shape_cov)
    return mean + root @ np.clip(rng.standard_normal(data.n_betas), -most, most)


def upright(data: BodyModelData) -> np.ndarray:
    """Return the rotation that takes a model's forward axis to +x and its up axis to +z.

    Raises:
        ValueError: the model does not say which axes these are.
    """
    if data.forward_axis is None or data.up_axis is None:
        raise ValueError(
            f'{data.name}: a walk needs forward_axis and up_axis; got {data.forward_axis} and {data.up_axis}. '
            f'Set them in the model file.'
        )
    forward, up = _axis(data.forward_axis), _axis(data.up_axis)
    return np.stack((forward, np.cross(up, forward), up))


def _axis(name: str) -> np.ndarray:
    return np.eye(3)['xyz'.index(name[1])] * (1.0 if name[0] == '+' else -1.0)


def _limits(data: BodyModelData) -> np.ndarray:
    if data.joint_limits is None:
        raise ValueError(f'{data.name}: motion needs joint_limits; got none. Set them in the model file.')
    return data.joint_limits


def _sway(n_frames: int, shape: tuple[int, ...], rng: np.random.Generator, fps: float) -> np.ndarray:
    """Draw smooth noise in (-1, 1) with a memory of a third of a second."""
    sigma = fps / 3
    # Drawn longer than needed, so that the ends are as smooth and as wide as the middle.
    margin = int(4 * sigma) + 1
    noise = rng.standard_normal((n_frames + 2 * margin, *shape))
    smooth = gaussian_filter1d(noise, sigma, axis=0, mode='wrap')[margin : margin + n_frames]
    return np.tanh(0.7 * smooth * np.sqrt(2 * np.sqrt(np.pi) * sigma))


def _swing_legs(
    pose: np.ndarray, data: BodyModelData, rng: np.random.Generator, fps: float, strides_per_second: float
) -> None:
    """Swing each leg at its first joint about the axis of widest range, neighbours in opposite phase."""
    legs = data.joint_groups.get('legs', ())
    index = {name: j for j, name in enumerate(data.joint_names)}
    first = [n for n in legs if data.joint_names[data.parents[index[n]]] not in legs]
    left_of = {pair[1]: pair[0] for pair in data.joint_symmetry}
    axes = np.tile(np.eye(3), (data.n_joints, 1, 1)) if data.joint_axes is None else data.joint_axes
    phase = 2 * np.pi * (rng.random() + strides_per_second * np.arange(len(pose)) / fps)
    for side in (False, True):
        chain = [n for n in first if (n in left_of) == side]
        for order, name in enumerate(chain):
            j = index[name]
            axis = int(np.ptp(_limits(data)[j], axis=1).argmax())
            sign = 1.0
            if side:
                # The mirror of the left joint's turn: the other way about x and z.
                mirrored = _ACROSS * axes[index[left_of[name]]][:, axis]
                sign = -1.0 if mirrored @ axes[j][:, axis] < 0 else 1.0
            wave = sign * np.sin(phase + np.pi * ((order + side) % 2))
            pose[:, j - 1, axis] = SWING * wave + (1 - SWING) * pose[:, j - 1, axis]


def _walk(
    n_frames: int, rng: np.random.Generator, radius: float, step: float, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Walk at a steady pace, turning at random and back to the middle near the edge: (x, y) and heading."""
    rotation = 2.5 / fps * _sway(n_frames, (1,), rng, fps)[:, 0]
    angle, start = rng.random(2) * 2 * np.pi
    place = 0.4 * radius * np.array([np.cos(start), np.sin(start)])
    places, headings = np.empty((n_frames, 2)), np.empty(n_frames)
    for t in range(n_frames):
        places[t], headings[t] = place, angle
        home = np.arctan2(-place[1], -place[0])
        away = np.angle(np.exp(1j * (home - angle)))
        edge = np.clip(np.linalg.norm(place) / radius - 0.4, 0, 0.6) / 0.6
        angle = angle + rotation[t] + 6.0 / fps * edge * np.sin(away / 2)
        place = place + step * np.array([np.cos(angle), np.sin(angle)])
        distance = np.linalg.norm(place)
        if distance > radius:
            place = place * (radius / distance)
    return places, headings


def _on_the_floor(body: SMIL, params: BodyParams, fps: float) -> BodyParams:
    """Lift every frame so that the lowest vertex is near the floor, smoothly over time."""
    double = deepcopy(body).double()
    lowest = np.empty(params.batch_size)
    with torch.no_grad():
        for start in range(0, params.batch_size, 64):
            vertices = double(params[start : start + 64], need=('vertices',)).vertices
            lowest[start : start + 64] = vertices[..., 2].amin(1)
    height = gaussian_filter1d(-lowest, fps / 10, mode='nearest')
    transl = params.transl.clone()
    transl[:, 2] += torch.from_numpy(height)
    return params.replace(transl=transl)


# Points that are tried, and how far from the middle of the cameras' axes, in distances to the cameras.
_TRIED, _REACH = 20_000, 0.6
# An animal may be no nearer to the rim of an image than this share of its shorter side.
RIM = 0.12
# Ways go between so many places at a time.
_ANCHORS = 5
# Ways that are tried to keep clear of other animals'.
_WAYS = 64


@dataclass(frozen=True)
class SharedVolume:
    """The part of the world that cameras share: `places` (N, 3) at random in it, which way is up, a usual radius."""

    places: Float[np.ndarray, 'N 3']
    up: Float[np.ndarray, '3']

    @property
    def centre(self) -> Float[np.ndarray, '3']:
        """Return the middle."""
        return self.places.mean(0)

    @property
    def radius(self) -> float:
        """Return how far places are from the middle, world unit: nine of ten are nearer."""
        return float(np.quantile(np.linalg.norm(self.places - self.centre, axis=1), 0.9))


def shared_volume(
    cameras: Cameras, rng: np.random.Generator, up: Float[np.ndarray, '3'] | None = None
) -> SharedVolume:
    """Find the volume that all cameras see, away from the rims of their images.

    Args:
        cameras: unbatched.
        rng: source of all chance.
        up: the world's; as the cameras are held (see `up_of`) if None.

    Raises:
        ValueError: there is no place that all cameras see.
    """
    cameras = cameras.to('cpu', torch.float64)
    centre, distance = _meeting_point(cameras)
    ball = rng.standard_normal((_TRIED, 3))
    ball *= (rng.random((_TRIED, 1)) ** (1 / 3)) / np.linalg.norm(ball, axis=1, keepdims=True)
    places = centre + _REACH * distance * ball
    pixels, depth, valid = (x.numpy() for x in cameras.project(torch.from_numpy(places)))
    size = cameras.size[:, None].numpy()
    rim = RIM * size.min(-1, keepdims=True)
    inside = ((pixels > rim) & (pixels < size - rim)).all(-1) & valid & (depth > 0)
    shared = inside.all(0)
    if not shared.any():
        seen = {name: int(n) for name, n in zip(cameras.names, inside.sum(1))}
        raise ValueError(
            f'synthesize: cameras must share a volume; of {_TRIED} places around the middle of their axes each sees '
            f'{seen}, and none is seen by all. Leave a camera out, or check the calibration.'
        )
    return SharedVolume(places[shared], up_of(cameras) if up is None else up / np.linalg.norm(up))


def up_of(cameras: Cameras) -> Float[np.ndarray, '3']:
    """Guess which way is up: upright cameras that look down, if at all, see it between up and backwards."""
    rotations = cameras.R.numpy()
    up = -(rotations[:, 1] + rotations[:, 2]).sum(0)
    length = np.linalg.norm(up)
    return up / length if length > 1e-3 else -rotations[0, 1]


def smooth_noise(
    n_frames: int, shape: tuple[int, ...], rng: np.random.Generator, memory: float
) -> Float[np.ndarray, 'T ...']:
    """Draw normal noise of variance 1 that is smooth over time.

    Args:
        n_frames: T.
        shape: of each frame.
        rng: source of all chance.
        memory: standard deviation of the smoothing, frames; 0 for none.
    """
    if memory <= 0:
        return rng.standard_normal((n_frames, *shape))
    from scipy.ndimage import gaussian_filter1d

    # Drawn longer than needed, so that the ends are as smooth and as wide as the middle.
    margin = int(4 * memory) + 1
    noise = rng.standard_normal((n_frames + 2 * margin, *shape))
    smooth = gaussian_filter1d(noise, memory, axis=0, mode='wrap')[margin : margin + n_frames]
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * max(memory, 0.29))


def ways(
    volume: SharedVolume, n_frames: int, rng: np.random.Generator, memory: float
) -> Float[np.ndarray, 'T 3']:
    """Return a way through the volume: between a few of its places, and so never outside, as it is convex.

    Args:
        volume: where.
        n_frames: T.
        rng: source of all chance.
        memory: of the motion, frames; 0 for a place by chance in each frame.
    """
    if memory <= 0:
        return volume.places[rng.integers(len(volume.places), size=n_frames)]
    anchors = volume.places[rng.integers(len(volume.places), size=_ANCHORS)]
    weight = np.exp(2.0 * smooth_noise(n_frames, (_ANCHORS,), rng, memory))
    return (weight / weight.sum(1, keepdims=True)) @ anchors


def separate_way(
    volume: SharedVolume,
    n_frames: int,
    rng: np.random.Generator,
    memory: float,
    others: Sequence[Float[np.ndarray, 'T 3']],
    apart: float,
) -> Float[np.ndarray, 'T 3']:
    """Return a way that keeps clear of others: the first of a few that does, else the one that comes near least.

    Args:
        volume: where.
        n_frames: T.
        rng: source of all chance.
        memory: of the motion, frames; without any every frame is drawn by itself.
        others: ways of the other animals.
        apart: how far from these is far enough, world unit.
    """
    best, farthest = None, None
    for _ in range(_WAYS):
        way = ways(volume, n_frames, rng, memory)
        near = np.min([np.linalg.norm(way - other, axis=1) for other in others], 0)
        # A motion is good or bad as a whole, frames by themselves are each.
        far = near if memory <= 0 else np.full(n_frames, near.min())
        if best is None or farthest is None:
            best, farthest = way, far
        else:
            better = (far > farthest) & (farthest < apart)
            best = np.where(better[:, None], way, best)
            farthest = np.where(better, far, farthest)
        if (farthest >= apart).all():
            break
    return best


def px_per_unit(cameras: Cameras, place: Float[np.ndarray, '3']) -> Float[np.ndarray, 'C']:
    """Return how many px a unit of the world is long at a place, in each camera."""
    depth = cameras.project(torch.from_numpy(place)[None])[1][:, 0].numpy()
    return cameras.K[:, 0, 0].numpy() / depth


def _meeting_point(cameras: Cameras) -> tuple[np.ndarray, float]:
    """Find the point nearest to all optical axes, and how far the cameras are from it.

    Of cameras that look the same way, or of a single one, it is where their images would show ten times their own
    distance from one another, or one unit ahead.
    """
    centres, forward = cameras.centres().numpy(), cameras.R[:, 2].numpy()
    across = np.eye(3) - forward[:, :, None] * forward[:, None]
    normal = across.sum(0)
    spread = float(np.linalg.norm(centres - centres.mean(0), axis=1).max()) if len(centres) > 1 else 0.0
    if len(centres) > 1 and np.linalg.eigvalsh(normal)[0] > 1e-2:
        point = np.linalg.solve(normal, np.einsum('cij,cj->i', across, centres))
    else:
        point = centres.mean(0) + forward.mean(0) * (10 * spread or 1.0)
    distance = float(np.linalg.norm(point - centres, axis=1).mean())
    return point, distance
