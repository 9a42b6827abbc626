"""A small body and an in-memory session of bright blobs at known 3D points."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from smilfit.body_models import BodyModelData
from smilfit.body_models.data import SparseMatrix
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d

NAMES = ('root', 'head', 'paw', 'tail', 'tip')
COLOUR = np.array([250.0, 150.0, 50.0])


def make_body() -> BodyModelData:
    rng = np.random.default_rng(0)
    n = 8
    weights = np.zeros((n, 4))
    weights[np.arange(n), np.arange(n) % 4] = 1.0
    return BodyModelData(
        name='four joints',
        v_template=rng.normal(size=(n, 3)),
        faces=np.array([[0, 1, 2], [3, 4, 5]]),
        joint_names=NAMES[:4],
        parents=np.array([-1, 0, 1, 0]),
        weights=SparseMatrix.from_dense(weights),
        joints=rng.normal(size=(4, 3)),
        shapedirs=rng.normal(size=(n, 3, 2)),
        keypoint_sets={'surface': {'tip': {0: 1.0}}},
    )


def make_cameras(names: Sequence[str] = ('left', 'right', 'above'), lens: bool = True) -> Cameras:
    """Cameras around the origin, images of different, non-square sizes, off-centre principal points."""
    sizes = torch.tensor([[320.0, 240.0], [300.0, 256.0], [280.0, 280.0]], dtype=torch.float64)[: len(names)]
    K, R, t = [], [], []
    for c in range(len(names)):
        angle = torch.tensor(2 * torch.pi * c / 3, dtype=torch.float64)
        eye = torch.stack((angle.cos() * 500, angle.sin() * 500, torch.tensor(150.0 + 40 * c).double()))
        forward = -eye / eye.norm()
        right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]).double())
        right = right / right.norm()
        rotation = torch.stack((right, torch.linalg.cross(forward, right), forward))
        K.append([[330.0 + 10 * c, 0, 150.0 + 4 * c], [0, 325.0 + 12 * c, 122.0 + 3 * c], [0, 0, 1]])
        R.append(rotation)
        t.append(-rotation @ eye)
    dist = torch.tensor([[-0.25, 0.06, 1e-3, -8e-4, 0.0]], dtype=torch.float64).repeat(len(names), 1)
    return Cameras(
        names=tuple(names),
        K=torch.tensor(K, dtype=torch.float64),
        R=torch.stack(R),
        t=torch.stack(t),
        size=sizes,
        dist=dist if lens else None,
        unit='mm',
    )


class BlobSession:
    """A session whose images show a Gaussian blob at each visible point, drawn by the true camera.

    The spots' colour is COLOUR; `missing` are (frame, camera, keypoint) without label (the blob is there).
    """

    def __init__(
        self,
        name: str = 'one',
        n_frames: int = 6,
        cameras: Cameras | None = None,
        missing: Sequence[tuple[int, int, int]] = (),
        with_3d: bool = True,
        names: Sequence[str] = NAMES,
        sigma: float = 4.0,
    ) -> None:
        self.name, self.n_frames, self.fps = name, n_frames, 50.0
        self.cameras = make_cameras() if cameras is None else cameras
        self.camera_names, self.unit = self.cameras.names, self.cameras.unit
        self.keypoint_names = tuple(names)
        # Found by search: in no image are two blobs nearer than 60 px.
        base = [[-55, 34, -14], [-119, -5, 105], [50, 124, 88], [98, -1, -62], [-108, -140, -52]]
        drift = torch.arange(n_frames).double()[:, None, None] * torch.tensor([0.17, -0.23, 0.11]).double()
        self.points = torch.tensor(base).double()[: len(names)] + drift
        self.xy, _, self.valid = self.cameras.project(self.points)
        self.confidence = self.valid.double()
        for frame, camera, keypoint in missing:
            self.confidence[frame, camera, keypoint] = 0.0
        self.with_3d, self.sigma = with_3d, sigma
        self.true_params: BodyParams | None = None
        self.decoded: list[int] = []

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        seen = Keypoints2d(self.xy, self.confidence, self.keypoint_names, self.cameras)
        return seen if names is None else seen.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        if not self.with_3d:
            return None
        seen = Keypoints3d(self.points, torch.ones_like(self.points[..., 0]), self.keypoint_names, self.unit)
        return seen if names is None else seen.select(names)

    def image(self, frame: int, camera: int) -> np.ndarray:
        width, height = (int(x) for x in self.cameras.size[camera])
        return draw_blobs(self.xy[frame, camera].numpy(), width, height, self.sigma)

    def frames(self, indices: Sequence[int] | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for i in range(self.n_frames) if indices is None else indices:
            self.decoded.append(i)
            yield i, {name: self.image(i, c) for c, name in enumerate(self.camera_names)}


class MaskSession(BlobSession):
    """The same with silhouettes: where the image is brighter than half."""

    def masks(self, indices: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for i in indices:
            yield i, {name: self.image(i, c)[..., 0] > 125 for c, name in enumerate(self.camera_names)}


def draw_blobs(xy: np.ndarray, width: int, height: int, sigma: float = 4.0) -> np.ndarray:
    u, v = np.arange(width), np.arange(height)
    light = np.zeros((height, width))
    for x, y in xy:
        light += np.outer(np.exp(-0.5 * ((v - y) / sigma) ** 2), np.exp(-0.5 * ((u - x) / sigma) ** 2))
    return (np.minimum(light, 1.0)[..., None] * COLOUR).round().astype(np.uint8)


def find_blob(image: np.ndarray, near: np.ndarray, radius: float) -> np.ndarray:
    """Find a blob's centre as the centroid within a disc that follows it, px."""
    # The ripples of JPEG around a blob are no light of it.
    light = (image.astype(np.float64).sum(-1) - 15).clip(0)
    v, u = np.mgrid[: image.shape[0], : image.shape[1]]
    centre = np.asarray(near, float)
    for _ in range(20):
        weight = light * np.clip(radius + 0.5 - np.hypot(u - centre[0], v - centre[1]), 0, 1)
        centre = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()
    return centre
