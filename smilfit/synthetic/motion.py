"""Smooth motion: a walk through an arena, legs that swing in turn, everything else that sways within its limits."""

from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.rigs.defaults import axes_of_joints, mean_betas, shape_covariance
from smilfit.structures import BodyParams

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
    root = np.linalg.cholesky(shape_covariance(data))
    return mean_betas(data) + root @ np.clip(rng.standard_normal(data.n_betas), -most, most)


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
    return np.tanh(smooth_noise(n_frames, shape, rng, fps / 3, 0.7))


def _swing_legs(
    pose: np.ndarray, data: BodyModelData, rng: np.random.Generator, fps: float, strides_per_second: float
) -> None:
    """Swing each leg at its first joint about the axis of widest range, neighbours in opposite phase."""
    legs = data.joint_groups.get('legs', ())
    index = {name: j for j, name in enumerate(data.joint_names)}
    first = [n for n in legs if data.joint_names[data.parents[index[n]]] not in legs]
    left_of = {pair[1]: pair[0] for pair in data.joint_symmetry}
    axes = axes_of_joints(data)
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


def smooth_noise(
    n_frames: int, shape: tuple[int, ...], rng: np.random.Generator, memory: float, sd: float = 1.0
) -> Float[np.ndarray, 'T ...']:
    """Draw normal noise that is smooth over time.

    Args:
        n_frames: T.
        memory: standard deviation of the smoothing, frames; 0 for none.
        sd: standard deviation of the noise.
    """
    if memory <= 0:
        return sd * rng.standard_normal((n_frames, *shape))
    # Drawn longer than needed, so that the ends are as smooth and as wide as the middle.
    margin = int(4 * memory) + 1
    noise = rng.standard_normal((n_frames + 2 * margin, *shape))
    smooth = gaussian_filter1d(noise, memory, axis=0, mode='wrap')[margin : margin + n_frames]
    return sd * smooth * np.sqrt(2 * np.sqrt(np.pi) * max(memory, 0.29))
