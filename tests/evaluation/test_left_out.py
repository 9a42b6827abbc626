"""A view that the model did not see: what agrees with the others alone is found out."""

import numpy as np
import pytest
import torch

from smilfit.evaluation import MultiViewPoseMetric, left_out_metrics, strongest_baselines
from tests.evaluation.conftest import NAMES, K, N
from tests.toy_samples import ring_cameras


class Oracle:
    """Knows the truth, or what lies on the rays of the first view it is given; notes which views it saw."""

    def __init__(self, along_rays: bool = False) -> None:
        self.along_rays, self.seen = along_rays, []

    def test_step(self, batch):
        inputs, truth = batch['inputs'], batch['data_samples']
        self.seen.append(inputs['view_mask'])
        result = []
        for i, view in enumerate(inputs['view_mask'].int().argmax(1)):
            points = truth['keypoints3d'][i]
            if self.along_rays:
                centre = -inputs['R'][i, view].T @ inputs['t'][i, view]
                points = centre + (points - centre) * torch.linspace(0.8, 1.2, K).unsqueeze(-1)
            sample = {key: value[i] for key, value in truth.items()}
            result.append({'keypoints3d': points, 'view_mask': inputs['view_mask'][i], 'truth': sample})
        return result


@pytest.fixture
def batch():
    cameras = {key: value.expand(N, *value.shape).double() for key, value in ring_cameras(3, 64).items()}
    points = 0.5 * torch.randn(N, K, 3).double()
    in_camera = torch.einsum('ncij,nkj->ncki', cameras['R'], points) + cameras['t'].unsqueeze(2)
    image = torch.einsum('ncij,nckj->ncki', cameras['K'], in_camera)
    views = torch.ones(N, 3, dtype=torch.bool)
    views[0, 1] = False
    truth = {
        'keypoints2d': image[..., :2] / image[..., 2:],
        'confidence2d': torch.ones(N, 3, K),
        'keypoints3d': points,
        'confidence3d': torch.ones(N, K),
        'to_original': torch.eye(2, 3).double().expand(N, 3, 2, 3),
        'session': torch.zeros(N, dtype=torch.long),
        'frame': torch.arange(N),
    }
    return {'inputs': {**cameras, 'view_mask': views}, 'data_samples': truth}


def _metric() -> MultiViewPoseMetric:
    pose = np.random.default_rng(0).normal(size=(K, 3))
    return MultiViewPoseMetric(NAMES, ('cam0', 'cam1', 'cam2'), 'mm', pose, pose)


def test_the_truth_agrees_with_views_that_it_was_not_shown(batch):
    oracle = Oracle()
    result = left_out_metrics(oracle, [batch], _metric())
    # A sample of two views cannot spare one.
    assert result['n_views_left_out'] == 3 * (N - 1)
    assert all(bool((views.sum(1) == 2).all()) for views in oracle.seen)
    assert [int(views[0].int().argmin()) for views in oracle.seen] == [0, 1, 2]
    assert result['median_error_left_out_px_original'] < 1e-9
    best = strongest_baselines(result)['pck_left_out_5px_original']
    assert (best.source, best.beaten) == ('mean_pose_at_predicted_place', True)
    assert not [name for name in result if 'mpjpe' in name]


def test_what_fits_one_view_alone_is_found_out(batch):
    """Points on the rays of the view that was seen have no error there."""
    result = left_out_metrics(Oracle(along_rays=True), [batch], _metric())
    assert result['median_error_left_out_px_original'] > 3


def test_two_views_leave_none_out(batch):
    batch['inputs']['view_mask'][:, 2] = False
    assert left_out_metrics(Oracle(), [batch], _metric()) == {'n_views_left_out': 0}
