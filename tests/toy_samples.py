"""A small rigged body and training samples of it in the documented form, for the tests of networks."""

import numpy as np
import torch
from torch.utils.data import Dataset

from smilfit.body_models import SMIL, BodyModelData, SparseMatrix, save_body_model
from smilfit.geometry.projection import project_points
from smilfit.registry import DATASETS
from smilfit.structures import BodyParams

JOINT_NAMES = ('root', 'neck', 'head', 'left', 'right')
_JOINTS = np.array([[0, 0, 0], [1, 0, 0], [1.6, 0, 0.3], [0.3, 0.8, 0], [0.3, -0.8, 0]], dtype=float)
_PARENTS = np.array([-1, 0, 1, 0, 0])


def toy_data() -> BodyModelData:
    """Make a body of 5 joints, each with a small tetrahedron, and 2 shape coefficients that move joints."""
    corners = 0.1 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], dtype=float)
    vertices = (_JOINTS[:, None] + corners).reshape(-1, 3)
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    owner = np.repeat(np.arange(5), 4)
    weights = np.eye(5)[owner]
    regressor = weights.T / 4
    shape = np.zeros((20, 3, 2))
    shape[:, 0, 0] = 0.2 * vertices[:, 0]
    shape[:, 1, 1] = 0.2 * vertices[:, 1]
    return BodyModelData(
        name='toy',
        v_template=vertices,
        faces=np.concatenate([faces + 4 * j for j in range(5)]),
        joint_names=JOINT_NAMES,
        parents=_PARENTS,
        weights=SparseMatrix.from_dense(weights),
        joints=_JOINTS,
        joint_regressor=SparseMatrix.from_dense(regressor),
        shapedirs=shape,
        unit='mm',
    )


def toy_body() -> SMIL:
    return SMIL(toy_data())


def ring_cameras(n_views: int, pixels: int, distance: float = 8.0) -> dict[str, torch.Tensor]:
    """Stand cameras on a ring around the origin, a little above it, looking at it."""
    Rs, ts = [], []
    for i in range(n_views):
        angle = 2 * np.pi * (i + 0.25) / n_views
        centre = distance * np.array([np.cos(angle), np.sin(angle), 0.5])
        z = -centre / np.linalg.norm(centre)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        R = np.stack((x, np.cross(z, x), z))
        Rs.append(R)
        ts.append(-R @ centre)
    focal = 1.2 * pixels
    K = np.array([[focal, 0, (pixels - 1) / 2], [0, focal, (pixels - 1) / 2], [0, 0, 1]])
    return {
        'K': torch.tensor(np.stack([K] * n_views), dtype=torch.float32),
        'R': torch.tensor(np.stack(Rs), dtype=torch.float32),
        't': torch.tensor(np.stack(ts), dtype=torch.float32),
        'dist': torch.zeros(n_views, 5),
        'size': torch.full((n_views, 2), float(pixels)),
    }


def toy_sample(
    index: int,
    n_views: int = 3,
    pixels: int = 64,
    missing: int | None = None,
    pose_sd: float = 0.2,
    distance: float = 8.0,
) -> dict:
    """Pose the toy at random (by the index) and draw its joints as soft blobs of their own colours."""
    rng = np.random.default_rng(1000 + index)
    body = toy_body()
    params = BodyParams(
        global_orient=torch.tensor(0.3 * rng.normal(size=(1, 3)), dtype=torch.float32),
        body_pose=torch.tensor(pose_sd * rng.normal(size=(1, 4, 3)), dtype=torch.float32),
        betas=torch.tensor(rng.normal(size=(1, 2)), dtype=torch.float32),
        transl=torch.tensor(0.5 * rng.normal(size=(1, 3)), dtype=torch.float32),
        scale=torch.tensor([1.1 + 0.1 * rng.random()], dtype=torch.float32),
    )
    points = body(params).joints[0].detach()
    cameras = ring_cameras(n_views, pixels, distance)
    xy, _, _ = project_points(points, cameras['K'], cameras['R'], cameras['t'])
    image = _draw(xy, pixels)
    mask = torch.ones(n_views, dtype=torch.bool)
    confidence = torch.ones(n_views, 5)
    if missing is not None:
        mask[missing] = False
        confidence[missing] = 0
        image[missing] = 0
        xy[missing] = 0
        cameras = {k: v.clone() for k, v in cameras.items()}
        for value in cameras.values():
            value[missing] = 0
    return {
        'inputs': {'image': image, 'view_mask': mask, **cameras},
        'data_samples': {
            'keypoints2d': xy,
            'confidence2d': confidence,
            'keypoints3d': points,
            'confidence3d': torch.ones(5),
            'to_original': torch.eye(2, 3).expand(n_views, 2, 3).clone(),
            'params': {name: value[0] for name, value in params.as_dict().items()},
            'has_params': torch.tensor(True),
            'session': torch.tensor(0),
            'frame': torch.tensor(index),
            'index': torch.tensor(index),
        },
    }


def _draw(xy: torch.Tensor, pixels: int) -> torch.Tensor:
    grid = torch.stack(torch.meshgrid(torch.arange(pixels), torch.arange(pixels), indexing='xy'), -1).float()
    distance = (grid[None, None] - xy[:, :, None, None]).square().sum(-1)
    blobs = torch.exp(-distance / (0.04 * pixels) ** 2)
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]]).float()
    return (255 * torch.einsum('ckhw,kr->crhw', blobs, colours).clamp(0, 1)).to(torch.uint8)


@DATASETS.register_module(force=True)
class ToyDataset(Dataset):
    """Toy samples with the metainfo of the documented dataset.

    `data_path` is the folder of the body model's file.
    """

    def __init__(self, data_path: str | None = None, n: int = 8, n_views: int = 3, first: int = 0) -> None:
        self.data_path, self.n, self.n_views, self.first = data_path, n, n_views, first
        self.metainfo = {
            'keypoint_names': JOINT_NAMES,
            'camera_names': tuple(f'cam{i}' for i in range(n_views)),
            'unit': 'mm',
            'body_model_file': 'toy.smil.json',
            'body_model_hash': toy_data().content_hash(),
            'session_names': ('toy',),
        }

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict:
        return toy_sample(self.first + index, self.n_views)


def write_toy_model(folder) -> str:
    """Write the body model once; other processes may ask for it too."""
    path = folder / 'toy.smil.json'
    return str(path if path.exists() else save_body_model(toy_data(), path))
