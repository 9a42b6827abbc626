"""Two views, a mean pose, and a predictor whose answers can be set."""

import numpy as np
import pytest
import torch

from smilfit.structures import Cameras

N, C, K, NAMES = 6, 2, 5, ('nose', 'neck', 'hip', 'tail', 'paw')


def crop_cameras() -> Cameras:
    focal = torch.diag(torch.tensor([300.0, 310.0, 1.0]))
    focal[:2, 2] = torch.tensor([63.0, 65.0])
    rotation = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    return Cameras(
        names=('left', 'right'),
        K=focal.expand(C, 3, 3).double(),
        R=torch.stack((torch.eye(3), rotation)).double(),
        t=torch.tensor([[0.0, 0, 20], [0, 0, 25]]).double(),
        size=torch.full((C, 2), 128.0).double(),
        dist=torch.tensor([[-0.1, 0.01, 0, 0, 0], [0.0] * 5]).double(),
        unit='mm',
    )


class World:
    """A small test set, and what the data loader and a regressor would hand to the metric."""

    def __init__(self) -> None:
        self.cameras = crop_cameras()
        self.truth3d = torch.randn(N, K, 3).double()
        self.truth2d = self.cameras.project(self.truth3d)[0]
        self.confidence2d = (torch.rand(N, C, K) > 0.2).double()
        self.confidence3d = (torch.rand(N, K) > 0.1).double()
        self.confidence3d[0] = 1.0
        self.view_mask = torch.ones(N, C, dtype=torch.bool)
        self.view_mask[1, 1] = False
        # Crops were made by turning nothing, enlarging by 2 and 3 and moving.
        self.to_original = torch.tensor([[2.0, 0, 10], [0, 2.0, -4]]).double().expand(N, C, 2, 3).clone()
        self.to_original[:, 1, :, :2] *= 1.5

    def batch(self, rows: slice) -> dict:
        n = len(range(*rows.indices(N)))
        cameras = {
            k: getattr(self.cameras, k).expand(n, *getattr(self.cameras, k).shape)
            for k in ('K', 'R', 't', 'size')
        }
        dist = torch.tensor([[-0.1, 0.01, 0, 0, 0], [0.0] * 5]).double().expand(n, C, 5)
        return {'inputs': cameras | {'dist': dist}}

    def outputs(self, predicted3d, predicted2d, rows: slice) -> list[dict]:
        return [
            {
                'keypoints3d': predicted3d[i],
                'keypoints2d': predicted2d[i],
                'view_mask': self.view_mask[i],
                'truth': {
                    'keypoints2d': self.truth2d[i] * self.confidence2d[i].unsqueeze(-1),
                    'confidence2d': self.confidence2d[i],
                    'keypoints3d': self.truth3d[i] * self.confidence3d[i].unsqueeze(-1),
                    'confidence3d': self.confidence3d[i],
                    'to_original': self.to_original[i],
                    'session': torch.tensor(0),
                    'frame': torch.tensor(10 * i),
                    'index': torch.tensor(i),
                },
            }
            for i in range(*rows.indices(N))
        ]

    def run(self, metric, predicted3d, predicted2d) -> dict:
        for rows in (slice(0, 4), slice(4, N)):
            metric.process(self.batch(rows), self.outputs(predicted3d, predicted2d, rows))
        return metric.evaluate(N)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def meta() -> dict:
    rng = np.random.default_rng(0)
    return {
        'keypoint_names': NAMES,
        'camera_names': ('left', 'right'),
        'unit': 'mm',
        'baseline': rng.normal(size=(K, 3)).tolist(),
        'mean_pose': rng.normal(size=(K, 3)),
    }
