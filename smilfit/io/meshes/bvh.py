"""Write a posed skeleton as BVH (Biovision hierarchy): offsets, then a line of channels a frame.

Numbers are in the caller's unit and axes: the format states neither. Angles are degrees, in the order of the channels
Zrotation, Xrotation, Yrotation: `R = Rz Rx Ry`.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import write_text

_TURNS, _PLACES = 'Zrotation Xrotation Yrotation', 'Xposition Yposition Zposition'
# Offsets that differ between frames by less than this share of the skeleton's size are one.
_ALIKE = 1e-5
# A leaf's end, which a bone must have, as a share of the bone above it.
_END = 0.5


def write_bvh(
    path: str | Path,
    names: tuple[str, ...],
    parents: Int[np.ndarray, ' J'],
    rotations: Float[np.ndarray, 'T J 3 3'],
    offsets: Float[np.ndarray, 'T J 3'],
    frame_time_s: float,
) -> Path:
    """Write a file.

    Where offsets change over time, as with a size of each frame's own, every joint has channels of position, which
    players such as Blender read; else the root alone has.

    Args:
        path: the file.
        names: of the joints; spaces become `_`.
        parents: each joint's, before it; the root's is negative.
        rotations: in the parent's frame; the root's in the world's.
        offsets: from the parent, in its frame; the root's is its position.
        frame_time_s: between two frames.

    Raises:
        ValueError: numbers that are not finite, or no time between frames.
    """
    if not (np.isfinite(rotations).all() and np.isfinite(offsets).all() and frame_time_s > 0):
        raise ValueError(
            f'{path}: a motion must be of finite numbers, and time pass between frames; got {frame_time_s} s. Leave '
            'out what was not fitted.'
        )
    hanging = offsets[:, 1:]
    still = bool(np.ptp(hanging, 0).max(initial=0.0) <= _ALIKE * np.abs(hanging).max(initial=0.0))
    children = [np.flatnonzero(parents == j).tolist() for j in range(len(names))]
    at_rest = offsets.mean(0)
    at_rest[0] = 0.0
    lines, order = ['HIERARCHY'], []

    def joint(j: int, depth: int) -> None:
        pad = '\t' * depth
        order.append(j)
        moving = j == 0 or not still
        channels = f'6 {_PLACES} {_TURNS}' if moving else f'3 {_TURNS}'
        lines.extend([f'{pad}{"ROOT" if j == 0 else "JOINT"} {"_".join(names[j].split())}', f'{pad}{{'])
        lines.extend([f'{pad}\tOFFSET {_numbers(at_rest[j])}', f'{pad}\tCHANNELS {channels}'])
        for child in children[j]:
            joint(child, depth + 1)
        if not children[j]:
            end = [f'{pad}\tEnd Site', f'{pad}\t{{', f'{pad}\t\tOFFSET {_numbers(_END * at_rest[j])}']
            lines.extend([*end, f'{pad}\t}}'])
        lines.append(f'{pad}}}')

    joint(0, 0)
    degrees = euler_zxy(rotations)
    columns = []
    for j in order:
        if j == 0 or not still:
            columns.append(offsets[:, j])
        columns.append(degrees[:, j])
    table = np.concatenate(columns, 1)
    lines += ['MOTION', f'Frames: {len(table)}', f'Frame Time: {frame_time_s:.9g}']
    lines += [_numbers(row) for row in table]
    return write_text(path, '\n'.join(lines) + '\n')


def euler_zxy(rotations: Float[np.ndarray, '*n 3 3']) -> Float[np.ndarray, '*n 3']:
    """Return angles about z, x and y, degrees, of `R = Rz Rx Ry`."""
    x = np.arcsin(rotations[..., 2, 1].clip(-1, 1))
    z = np.arctan2(-rotations[..., 0, 1], rotations[..., 1, 1])
    y = np.arctan2(-rotations[..., 2, 0], rotations[..., 2, 2])
    # Where x is a quarter turn, z and y are about one axis: z has it all.
    flat = np.hypot(rotations[..., 2, 0], rotations[..., 2, 2]) < 1e-7
    z = np.where(flat, np.arctan2(rotations[..., 1, 0], rotations[..., 0, 0]), z)
    y = np.where(flat, 0.0, y)
    return np.degrees(np.stack((z, x, y), -1))


def _numbers(values: np.ndarray) -> str:
    return ' '.join(f'{value:.8g}' for value in values)
