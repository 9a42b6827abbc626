"""Motion of any rigged body, drawn at random: poses, headings all round, ways through what the cameras share."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.body_models.pose_sampling import LimitPoses
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.io.lookup_proposals import body_axes
from smilfit.structures import BodyParams
from smilfit.synthetic.camera_rigs import SharedVolume
from smilfit.synthetic.clip_motion import ClipMotion, clip_way, travelled
from smilfit.synthetic.motion import draw_betas, smooth_noise

PoseSource = Callable[[int, Generator], Float[Tensor, 'n j 3']]
# Standard deviation of a component, a share of the way to its limit: of limits that the model states, and of the
# default ones, which are wide.
SPREAD, DEFAULT_SPREAD = 0.5, 0.3
# How far the animal leans, rad, and how fast it turns, rad a memory of the motion.
LEAN_RAD, TURN_RAD = 0.3, 1.2
# A pose every so many memories; between two of them goes the motion.
_MEMORIES_A_POSE = 1.5
_CHUNK = 64
# How near two animals' middles come, a share of their extent.
APART = 0.4
# Ways go between so many places at a time.
_ANCHORS = 5
# Ways that are tried to keep clear of other animals'.
_WAYS = 64


def limit_poses(data: BodyModelData) -> PoseSource:
    """Make a source of poses within the model's joint limits, or the default ones, crowded about the rest pose."""
    source = LimitPoses(SPREAD if data.joint_limits is not None else DEFAULT_SPREAD)
    source.bind(data)
    return source


def draw_params(
    body: SMIL,
    n_frames: int,
    rng: np.random.Generator,
    volume: SharedVolume,
    scale: float,
    memory: float,
    poses: PoseSource | None = None,
    way: Float[np.ndarray, 'T 3'] | None = None,
) -> BodyParams:
    """Draw the parameters of a session: one animal, moving.

    Args:
        scale: model unit to world unit.
        memory: of the motion, frames; 0 draws each frame by itself.
        poses: where poses come from; the joint limits if None. Clips also lean and roll the animal, unless each frame
            is drawn by itself, and take it along as `clip_way` says.
        way: of its middle; drawn if None.

    Returns:
        Float64 parameters.
    """
    data = body.data
    poses = limit_poses(data) if poses is None else poses
    generator = Generator().manual_seed(int(rng.integers(2**31)))
    orient = torch.from_numpy(_orientations(data, n_frames, rng, volume, memory))
    if isinstance(poses, ClipMotion):
        frames = poses.motion(n_frames, generator) if memory > 0 else poses.alone(n_frames, generator)
        body_pose = frames.turns[:, 1:]
    else:
        frames, body_pose = None, _between(poses, n_frames, generator, memory)
    params = BodyParams(
        global_orient=rotmat_to_axis_angle(orient),
        body_pose=body_pose.double(),
        betas=torch.from_numpy(np.tile(draw_betas(data, rng), (n_frames, 1))),
        transl=torch.zeros(n_frames, 3, dtype=torch.float64),
        scale=torch.full((n_frames,), float(scale), dtype=torch.float64),
    )
    alone = way is None
    way = ways(volume, n_frames, rng, memory) if way is None else way
    if isinstance(poses, ClipMotion) and frames is not None:
        params = params.replace(betas=poses.with_morphs(params.betas, frames), scale=scale * frames.scale)
        if memory > 0:
            rotated = orient @ axis_angle_to_rotmat(frames.turns[:, 0])
            steps = travelled(frames, orient, body_axes(data).up, volume.up, scale)
            root = torch.as_tensor(data.joints[0]).double()
            params = params.replace(
                global_orient=rotmat_to_axis_angle(rotated), transl=steps - params.scale[:, None] * root
            )
            extent = scale * float(np.ptp(data.v_template, axis=0).max())
            centres = _centres(body, params)
            goes = clip_way(centres.numpy(), way, volume, memory, extent, alone)
            return params.replace(transl=params.transl + torch.from_numpy(goes) - centres)
    return params.replace(transl=torch.from_numpy(way) - _centres(body, params))


def draw_animals(
    body: SMIL,
    n_frames: int,
    rng: np.random.Generator,
    volume: SharedVolume,
    scale: float,
    memory: float,
    poses: PoseSource | None = None,
    n_animals: int = 1,
) -> list[BodyParams]:
    """Draw the parameters of several animals of one model and size that keep clear of each other.

    Arguments are those of `draw_params`.
    """
    least_distance = APART * scale * float(np.ptp(body.data.v_template, axis=0).max())
    result: list[BodyParams] = []
    taken: list[np.ndarray] = []
    for i in range(n_animals):
        # The first one's chance is that of an animal alone.
        way = separate_way(volume, n_frames, rng, memory, taken, least_distance) if i else None
        result.append(draw_params(body, n_frames, rng, volume, scale, memory, poses, way))
        if len(result) < n_animals:
            taken.append(_centres(body, result[-1]).numpy())
    return result


def _between(poses: PoseSource, n_frames: int, generator: Generator, memory: float) -> Tensor:
    """Return poses by themselves, or key poses with smooth ways between them."""
    if memory <= 0:
        return poses(n_frames, generator)
    step = _MEMORIES_A_POSE * memory
    when = torch.arange(n_frames, dtype=torch.float64) / step
    before = when.long()
    keys = poses(int(before[-1]) + 2, generator).double()
    share = when - before
    # Slow at the key poses, as limbs are where they turn round.
    share = (0.5 - 0.5 * torch.cos(torch.pi * share))[:, None, None]
    return torch.lerp(keys[before], keys[before + 1], share)


def _orientations(
    data: BodyModelData, n_frames: int, rng: np.random.Generator, volume: SharedVolume, memory: float
) -> Float[np.ndarray, 'T 3 3']:
    axes = body_axes(data)
    upright = np.stack((axes.forward, axes.left, axes.up))
    if memory > 0:
        heading = rng.uniform(0, 2 * np.pi) + TURN_RAD / memory * np.cumsum(
            smooth_noise(n_frames, (), rng, memory)
        )
    else:
        heading = rng.uniform(0, 2 * np.pi, n_frames)
    lean = LEAN_RAD * smooth_noise(n_frames, (3,), rng, memory)
    rotation = np.stack((0 * heading, 0 * heading, heading), 1)
    rotated = axis_angle_to_rotmat(torch.from_numpy(rotation)) @ axis_angle_to_rotmat(torch.from_numpy(lean))
    return _world_of(volume.up) @ rotated.numpy() @ upright


def _world_of(up: Float[np.ndarray, '3']) -> Float[np.ndarray, '3 3']:
    """Return a rotation that takes +z to a direction."""
    side = np.eye(3)[int(np.abs(up).argmin())]
    x = np.cross(side, up)
    x /= np.linalg.norm(x)
    return np.stack((x, np.cross(up, x), up), 1)


def _centres(body: SMIL, params: BodyParams) -> Tensor:
    """Find the mean vertex of each frame."""
    double = deepcopy(body).double()
    with torch.no_grad():
        return torch.cat(
            [
                double(params[start : start + _CHUNK], need=('vertices',)).vertices.mean(1)
                for start in range(0, params.batch_size, _CHUNK)
            ]
        )


def ways(
    volume: SharedVolume, n_frames: int, rng: np.random.Generator, memory: float
) -> Float[np.ndarray, 'T 3']:
    """Return a way through the volume: between a few of its places, and so never outside, as it is convex.

    Args:
        n_frames: T.
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
    least_distance: float,
) -> Float[np.ndarray, 'T 3']:
    """Return a way that keeps clear of others: the first of a few that does, else the one that comes near least.

    Args:
        n_frames: T.
        memory: of the motion, frames; without any every frame is drawn by itself.
        least_distance: how far from these is far enough, world unit.
    """
    best, farthest = np.zeros((n_frames, 3)), np.full(n_frames, -np.inf)
    for _ in range(_WAYS):
        way = ways(volume, n_frames, rng, memory)
        near = np.min([np.linalg.norm(way - other, axis=1) for other in others], 0)
        # A motion is good or bad as a whole, frames by themselves are each.
        far = near if memory <= 0 else np.full(n_frames, near.min())
        better = (far > farthest) & (farthest < least_distance)
        best = np.where(better[:, None], way, best)
        farthest = np.where(better, far, farthest)
        if (farthest >= least_distance).all():
            break
    return best
