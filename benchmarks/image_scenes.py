"""Made images of an animal, of which all is known: poses of a walk, seen from all sides, in 224 px crops."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.handlers import SilhouetteInput
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import BodyParams, Cameras, Keypoints2d
from smilfit.synthetic import draw_betas, random_motion

SIDE = 224
FOCAL = 1.2 * SIDE
# What an animal fills of its image's side, and frames of the walk from one image to the next.
FILLED, APART = 0.75, 12
KEYPOINT_SET = 'sleap'


@dataclass(frozen=True)
class Scene:
    """What is seen in N images a camera, and the truth; all float64."""

    truth: BodyParams
    cameras: Cameras
    keypoints: Keypoints2d
    masks: Tensor

    def mask_input(self, handler_key: str, cameras: Cameras | None = None) -> SilhouetteInput:
        """Wrap the masks."""
        return SilhouetteInput(
            self.masks, self.cameras if cameras is None else cameras, handler_key=handler_key
        )


def single_views(
    body: SMIL,
    n: int,
    seed: int,
    noise_px: float = 1.0,
    focal: float = FOCAL,
    video: bool = False,
    apart: int | None = None,
) -> Scene:
    """Show n poses, each from another side, 0 to 50 degrees from above; in a video one shape, side and walk.

    Args:
        body: the animal, float64.
        n: how many.
        seed: of all chance.
        noise_px: standard deviation of keypoints.
        focal: length, px.
        video: whether it is one animal before one camera.
        apart: frames of the walk from one image to the next; 1 in a video, else 12.
    """
    rng = np.random.default_rng(seed)
    apart = apart or (1 if video else APART)
    walk = random_motion(body, apart * n, rng, 0.01)[::apart]
    count = 1 if video else n
    betas = torch.from_numpy(np.stack([draw_betas(body.data, rng, 1.5) for _ in range(count)]))
    azimuth, elevation = rng.uniform(0, 2 * np.pi, count), np.deg2rad(rng.uniform(0, 50, count))
    turn = torch.from_numpy(np.stack([look(a, e) for a, e in zip(azimuth, elevation)]))
    orient = rotmat_to_axis_angle(turn @ axis_angle_to_rotmat(walk.global_orient))
    params = walk.replace(global_orient=orient, betas=betas.expand(n, -1), transl=torch.zeros(n, 3).double())
    cameras = cameras_of(n, focal)
    params = framed(body, params, cameras, focal, together=video)
    return seen_by(body, params, cameras, noise_px, rng)


def four_views(body: SMIL, n: int, seed: int, noise_px: float = 1.0) -> Scene:
    """Show n poses, one shape, to four cameras around them."""
    rng = np.random.default_rng(seed)
    params = random_motion(body, APART * n, rng, 0.01)[::APART]
    params = params.replace(transl=torch.zeros(n, 3).double())
    turns = torch.from_numpy(np.stack([look(np.pi / 2 * c + 0.3, np.deg2rad(30)) for c in range(4)]))
    size = np.ptp(body.data.v_template, axis=0).max()
    distance = FOCAL * size / (0.9 * FILLED * SIDE) + size / 2
    K = cameras_of(1, FOCAL).K[0].expand(4, 3, 3).clone()
    t = torch.tensor([0, 0, distance]).double().expand(4, 3).clone()
    cameras = Cameras(
        tuple(f'cam_{c}' for c in range(4)), K, turns, t, torch.full((4, 2), float(SIDE)).double()
    )
    return seen_by(body, params, cameras, noise_px, rng)


def masks_of(body: SMIL, params: BodyParams, cameras: Cameras) -> Tensor:
    """Draw hard masks (N, C, H, W) bool."""
    n, c = params.batch_size, len(cameras)
    vertices = body(params, ('vertices',)).vertices.repeat_interleave(c, 0)
    blank = torch.zeros(n, c, SIDE, SIDE, dtype=torch.bool)
    flat = SilhouetteInput(blank, cameras).flat_cameras()
    return (ZBufferRenderer()(vertices, body.faces, flat).alpha > 0).reshape(n, c, SIDE, SIDE)


def look(azimuth: float, elevation: float) -> np.ndarray:
    """Give the rotation of a camera that looks at the origin, the world's +z upwards."""
    back = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    right = np.cross(-back, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(-back, right), -back))


def cameras_of(n: int, focal: float) -> Cameras:
    """Give each of n images its own camera, at the origin."""
    centre = (SIDE - 1) / 2
    K = torch.tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]]).double()
    eye = torch.eye(3).double()
    zero, size = torch.zeros(n, 1, 3).double(), torch.full((n, 1, 2), float(SIDE)).double()
    return Cameras(('picture',), K.repeat(n, 1, 1, 1), eye.repeat(n, 1, 1, 1), zero, size)


def framed(body: SMIL, params: BodyParams, cameras: Cameras, focal: float, together: bool) -> BodyParams:
    """Move animals, each or all alike, until they fill the middle of their images."""
    centre = (SIDE - 1) / 2
    move = torch.tensor([0, 0, 3.0]).double().expand(params.batch_size, 3)
    for _ in range(5):
        params = params.replace(transl=params.transl + move)
        vertices = body(params, ('vertices',)).vertices
        pixels = cameras.project(vertices)[0][:, 0]
        low, high = pixels.amin(1), pixels.amax(1)
        if together:
            low, high = low.amin(0).expand_as(low), high.amax(0).expand_as(high)
        depth = vertices[..., 2].mean(1)
        depth = depth.mean().expand_as(depth) if together else depth
        # At most twice as far in one step: what reaches behind the camera has an image of any size.
        grow = ((high - low).amax(1) / (FILLED * SIDE)).clamp_max(2.0)
        across = (centre - (low + high) / 2) * (depth / focal).unsqueeze(1)
        move = torch.cat((across, (depth * (grow - 1)).unsqueeze(1)), 1)
    return params


def seen_by(
    body: SMIL, params: BodyParams, cameras: Cameras, noise_px: float, rng: np.random.Generator
) -> Scene:
    """Show bodies to cameras: keypoints with noise, and masks."""
    names = tuple(body.data.keypoint_sets[KEYPOINT_SET])
    xy = cameras.project(body(params, names).keypoints)[0]
    xy = xy + noise_px * torch.from_numpy(rng.standard_normal(xy.shape))
    keypoints = Keypoints2d(xy, torch.ones_like(xy[..., 0]), names, cameras)
    return Scene(params, cameras, keypoints, masks_of(body, params, cameras))
