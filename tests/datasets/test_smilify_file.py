"""A SMILify multi-view file, written here as its documentation says, gives the same samples as ours."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from smilfit.datasets import MultiViewDataset, SmilifyFile, open_dataset
from smilfit.structures import Cameras
from tests.datasets.blob_session import NAMES, BlobSession, draw_blobs, find_blob, make_body, make_cameras

RESOLUTION = 96
JOINTS = NAMES[:4]


def write_smilify(path: Path, session: BlobSession, slots: np.ndarray, **meta: object) -> Path:
    """Write the documented layout; `slots` (N, V) are camera numbers, -1 where there is no view."""
    n, views = slots.shape
    cameras = session.cameras
    scale = torch.tensor([[RESOLUTION / w, RESOLUTION / h] for w, h in cameras.size.tolist()])
    affine = torch.zeros(3, 2, 3, dtype=torch.float64)
    affine[:, 0, 0], affine[:, 1, 1] = scale[:, 0], scale[:, 1]
    stored = cameras.transformed(affine, torch.full((3, 2), float(RESOLUTION)).double())
    pixels, _, _ = stored.project(session.points[:, :4])
    arrays = {
        'keypoints_2d': np.zeros((n, views, 4, 2), np.float32),
        'keypoint_visibility': np.zeros((n, views, 4), np.float32),
        'camera_intrinsics': np.tile(np.eye(3, dtype=np.float32), (n, views, 1, 1)),
        'camera_extrinsics_R': np.tile(np.eye(3, dtype=np.float32), (n, views, 1, 1)),
        'camera_extrinsics_t': np.zeros((n, views, 3), np.float32),
    }
    jpeg = [[np.zeros(0, np.uint8)] * n for _ in range(views)]
    for i in range(n):
        for v, c in enumerate(slots[i]):
            if c < 0:
                continue
            xy = pixels[i, c].numpy()
            arrays['keypoints_2d'][i, v] = xy[:, ::-1] / RESOLUTION
            arrays['keypoint_visibility'][i, v] = 1
            arrays['camera_intrinsics'][i, v] = stored.K[c]
            arrays['camera_extrinsics_R'][i, v] = cameras.R[c]
            arrays['camera_extrinsics_t'][i, v] = cameras.t[c]
            bgr = draw_blobs(xy, RESOLUTION, RESOLUTION, 2.0)[..., ::-1]
            jpeg[v][i] = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()
    points = session.points[:n, :4].numpy().astype(np.float32)
    points[0, 2] = 0
    with h5py.File(path, 'w') as file:
        for v in range(views):
            data = file.create_dataset(
                f'multiview_images/image_jpeg_view_{v}', (n,), h5py.vlen_dtype(np.uint8), compression='gzip'
            )
            for i in range(n):
                data[i] = jpeg[v][i]
        file['multiview_images/view_mask'] = slots >= 0
        for name, value in arrays.items():
            file[f'multiview_keypoints/{name}'] = value
        file['multiview_keypoints/camera_indices'] = slots.astype(np.int32)
        file['multiview_keypoints/image_sizes'] = np.full((n, views, 2), RESOLUTION, np.int32)
        file['multiview_keypoints/keypoints_3d'] = points
        for name, shape in (('global_rot', (3,)), ('joint_rot', (4, 3)), ('betas', (2,)), ('trans', (3,))):
            file[f'parameters/{name}'] = np.arange(n * np.prod(shape)).reshape(n, *shape).astype(np.float32)
        file['auxiliary/has_3d_data'] = np.ones(n, bool)
        file['auxiliary/session_name'] = np.array([b'one'] * n)
        file['auxiliary/frame_idx'] = np.arange(n, dtype=np.int32) * 5
        file['auxiliary/num_views'] = (slots >= 0).sum(1).astype(np.int32)
        file['auxiliary/has_ground_truth_betas'] = np.arange(n) % 2 == 0
        attributes = {
            'num_samples': n, 'max_views': views, 'n_joints': 4, 'target_resolution': RESOLUTION,
            'is_multiview': True, 'crop_mode': 'default', 'dataset_type': 'sleap_multiview',
            'n_pose': 3, 'n_betas': 2,
            'canonical_camera_order': json.dumps(sorted(cameras.names)),
        }  # fmt: skip
        file.create_group('metadata').attrs.update(attributes | meta)
    return path


@pytest.fixture
def session() -> BlobSession:
    return BlobSession(n_frames=4, cameras=make_cameras(('a', 'b', 'c'), lens=False))


@pytest.fixture
def path(tmp_path, session) -> Path:
    return write_smilify(tmp_path / 's.h5', session, np.array([[0, 1, 2], [2, 0, -1], [1, 2, -1], [0, 1, 2]]))


def test_samples_are_as_ours(path, session):
    data = MultiViewDataset(path, split='all', reader={'joint_names': JOINTS, 'unit': 'mm'})
    assert data.camera_names == ('a', 'b', 'c')
    for i in range(4):
        sample = data[i]
        inputs, truth = sample['inputs'], sample['data_samples']
        keep = inputs['view_mask'].nonzero().squeeze(-1)
        assert keep.tolist() == [[0, 1, 2], [0, 2], [1, 2], [0, 1, 2]][i]
        cameras = Cameras(tuple('abc'[c] for c in keep), *(inputs[n][keep] for n in ('K', 'R', 't', 'size')))
        pixels, _, _ = cameras.project(session.points[i, :4].float())
        torch.testing.assert_close(pixels, truth['keypoints2d'][keep], atol=1e-3, rtol=0)
        for c, points in zip(keep.tolist(), pixels.numpy()):
            image = inputs['image'][c].permute(1, 2, 0).numpy()
            assert image[..., 0].max() > image[..., 1].max() > image[..., 2].max() > 20
            for point in points:
                np.testing.assert_allclose(find_blob(image, point, 6), point, atol=0.1)
        assert truth['frame'] == 5 * i
        assert truth['confidence3d'].tolist() == ([1, 1, 0, 1] if i == 0 else [1, 1, 1, 1])
        assert bool(truth['has_betas']) is (i % 2 == 0)
        assert not bool(truth['has_params'])


def test_sessions_are_as_ours(path, session):
    file = open_dataset(path, joint_names=JOINTS)
    assert isinstance(file, SmilifyFile)
    assert (file.session_names, file.n_samples, file.n_betas) == (('one',), 4, 2)
    seen = file.keypoints2d('one', ('paw', 'root'))
    pixels, _, _ = file.cameras('one').project(session.points[:, [2, 0]])
    visible = seen.visible
    assert visible.sum() == 2 * 10
    torch.testing.assert_close(pixels[visible], seen.xy[visible], atol=1e-3, rtol=0)
    points = file.keypoints3d('one')
    assert not points.visible[0, 2]
    torch.testing.assert_close(points.xyz[1], session.points[1, :4], atol=1e-4, rtol=0)
    assert file.true_params('one') is None
    file.check_body_model(make_body())


def test_scale_is_stated_never_guessed(path, tmp_path, session):
    metres = open_dataset(path, joint_names=JOINTS, world_scale=0.001)
    plain = open_dataset(path, joint_names=JOINTS)
    np.testing.assert_allclose(metres.record(1).t, plain.record(1).t * 0.001)
    np.testing.assert_allclose(metres.record(1).keypoints3d, plain.record(1).keypoints3d * 0.001)
    stated = write_smilify(tmp_path / 't.h5', session, np.array([[0, 1, 2]]), world_scale=0.5)
    assert open_dataset(stated, joint_names=JOINTS).world_scale == 0.5


def test_known_poses_leave_the_root_out_of_the_joints(path):
    with h5py.File(path, 'r+') as file:
        file['auxiliary/has_ground_truth_pose'] = np.ones(4, bool)
    params = open_dataset(path, joint_names=JOINTS).true_params('one')
    assert params.body_pose.shape == (4, 3, 3)
    assert params.body_pose[0, 0].tolist() == [3.0, 4.0, 5.0]
    assert params.transl[1].tolist() == [3.0, 4.0, 5.0]


def test_what_the_file_cannot_say_is_asked_for(path, tmp_path, session):
    with pytest.raises(ValueError, match='joint_names must be the 4 joints'):
        open_dataset(path)
    file = open_dataset(path, joint_names=('w', 'x', 'y', 'z'))
    with pytest.raises(ValueError, match='has others'):
        file.check_body_model(make_body())
    with h5py.File(path, 'r+') as raw:
        raw['multiview_keypoints/camera_intrinsics'][2] = np.eye(3)
    with pytest.raises(ValueError, match='2 of 10 views have an identity matrix'):
        open_dataset(path, joint_names=JOINTS)
