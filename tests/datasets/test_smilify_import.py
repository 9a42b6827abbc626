"""SMILify's files come into our own with labels on their images, cameras that see them, and one world a session."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.smilify import common_unit, read_smilify, sessions_of
from smilfit.smilify.source_views import focal_of_crops, side_of_centred_axis
from smilfit.structures import BodyParams
from tests.datasets.blob_session import BlobSession, find_blob, make_body
from tests.datasets.smilify_writer import (
    JOINTS,
    RESOLUTION,
    centred_cameras,
    write_single_views,
    write_smilify,
)

SLOTS = np.array([[2, 0, 1], [1, 2, -1], [0, 1, 2], [0, 1, 2], [1, 0, 2], [0, 1, 2], [0, 2, -1], [0, 1, 2]])


@pytest.fixture(scope='module')
def session() -> BlobSession:
    made = BlobSession(n_frames=8, cameras=centred_cameras(), names=JOINTS)
    # Crops that follow an animal need one that moves.
    drift = torch.tensor([2.1, -1.7, 1.3]).double() * torch.arange(8).double()[:, None, None]
    made.points = made.points * 0.5 + drift
    made.xy, _, valid = made.cameras.project(made.points)
    made.confidence = valid.double()
    return made


def convert(path: Path, out: Path, **options: object) -> object:
    """Import a file and open what came out."""
    file = read_smilify(path)
    unit, factors = common_unit([file], None)
    sessions = sessions_of(file, JOINTS, None, unit, factors[path], **options)
    side = PreprocessOptions(target_resolution=file.side, min_views=1)
    preprocess(sessions, out, make_body(), side, shape_betas=dict(file.betas))
    return open_dataset(out)


@pytest.mark.parametrize('canonical', [False, True])
@pytest.mark.parametrize(
    ('crop_mode', 'whole'),
    [
        ('default', False),
        ('centred', False),
        ('bbox_crop', False),
        ('default', True),
        ('centred', True),
    ],
)
def test_labels_lie_on_their_images_and_cameras_see_them(session, tmp_path, crop_mode, whole, canonical):
    path = write_smilify(tmp_path / 's.h5', session, SLOTS, crop_mode, whole, canonical)
    data = convert(path, tmp_path / 'o.h5')
    assert (data.camera_names, data.unit, data.crop_mode) == (('a', 'b', 'c'), 'mm', 'default')
    assert data.keypoint_names == JOINTS
    points = data.keypoints3d('one')
    torch.testing.assert_close(points.xyz.double(), session.points, atol=1e-3, rtol=0)
    torch.testing.assert_close(data.cameras('one').R, session.cameras.R, atol=1e-5, rtol=0)
    for i in range(8):
        record = data.record(i)
        assert record.frame == 5 * i
        assert np.flatnonzero(record.view_mask).tolist() == sorted(SLOTS[i][SLOTS[i] >= 0])
        for c in np.flatnonzero(record.view_mask):
            seen = session.points[i].numpy() @ record.R[c].T + record.t[c]
            pixels = seen @ record.K[c].T
            pixels = pixels[:, :2] / pixels[:, 2:]
            np.testing.assert_allclose(pixels, record.keypoints2d[c], atol=2e-3)
            image = data.image(i, int(c))
            for point in pixels[(pixels > 8).all(1) & (pixels < RESOLUTION - 9).all(1)]:
                np.testing.assert_allclose(find_blob(image, point, 5), point, atol=0.12)
    assert data.known_betas('one').tolist() == [0.5, -1]
    assert data.true_params('one') is None


def test_images_are_copied_not_encoded_again(session, tmp_path):
    path = write_smilify(tmp_path / 's.h5', session, SLOTS, 'centred')
    data = convert(path, tmp_path / 'o.h5')
    with h5py.File(path) as valid, h5py.File(data.path) as here:
        start = here['samples/image_start'][3, 1]
        bytes_there = valid['multiview_images/image_jpeg_view_1'][3]
        assert (here['images/jpeg'][start : start + len(bytes_there)] == bytes_there).all()
    smaller = tmp_path / 'small.h5'
    preprocess(
        sessions_of(read_smilify(path), JOINTS), smaller, make_body(), PreprocessOptions(target_resolution=48)
    )
    small = open_dataset(smaller)
    assert small.image(0, 0).shape == (48, 48, 3)
    big, now = data.record(3), small.record(3)
    np.testing.assert_allclose((big.keypoints2d + 0.5) / 2 - 0.5, now.keypoints2d, atol=1e-9)


def test_visible_labels_at_0_0_are_missing_unless_the_point_is_there(session, tmp_path, caplog):
    path = write_smilify(tmp_path / 's.h5', session, SLOTS, 'centred')
    data = convert(path, tmp_path / 'o.h5')
    record = data.record(2)
    # A point that camera 0 sees in the corner of its image.
    ray = np.linalg.inv(record.K[0]) @ [-0.5, -0.5, 1.0]
    corner = record.R[0].T @ (500 * ray - record.t[0])
    with h5py.File(path, 'r+') as file:
        file['multiview_keypoints/keypoints_2d'][2, 0, :2] = 0.0
        file['multiview_keypoints/keypoints_3d'][2, 1] = corner
    again = convert(path, tmp_path / 'again.h5')
    assert again.record(2).confidence2d[0].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert '1 labels lie at exactly (0, 0)' in caplog.text


def test_missing_points_have_no_confidence(session, tmp_path):
    path = write_smilify(tmp_path / 's.h5', session, SLOTS, canonical=True)
    with h5py.File(path, 'r+') as file:
        file['multiview_keypoints/keypoints_3d'][0, 2] = 0.0
        file['auxiliary/has_3d_data'][1] = False
    data = convert(path, tmp_path / 'o.h5')
    assert data.record(0).confidence3d.tolist() == [1, 1, 0, 1]
    assert data.record(1).confidence3d.tolist() == [0, 0, 0, 0]


def test_an_unknown_source_size_is_told_and_can_be_given(session, tmp_path, caplog):
    K = session.cameras.K.clone()
    K[:, :2, 2] += torch.tensor([3.37, -2.21])
    other = BlobSession(n_frames=8, cameras=replace(session.cameras, K=K), names=JOINTS)
    path = write_smilify(tmp_path / 's.h5', other, SLOTS[:, :1] * 0, 'default')
    plain = convert(path, tmp_path / 'o.h5')
    assert 'Give --source-size' in caplog.text
    given = convert(path, tmp_path / 'g.h5', source_size=(320, 240))
    shift = given.record(0).keypoints2d[0] - plain.record(0).keypoints2d[0]
    expected = [(RESOLUTION / 320 - 1) / 2, (RESOLUTION / 240 - 1) / 2]
    np.testing.assert_allclose(shift, np.tile(expected, (4, 1)), atol=1e-6)


def test_source_scale_is_found_in_single_precision():
    for side, source in ((224, 1024), (96, 1080), (512, 2048), (128, 640)):
        s = np.float32(side / source)
        assert side_of_centred_axis(float(np.float32((source - 1) / 2) * s), side) == source
        assert side_of_centred_axis(float(np.float32(source / 2 + 7.3) * s), side) is None
    rng = np.random.default_rng(0)
    for focal in (371.62, 964.7204, 4210.3):
        K = np.tile(np.eye(3), (20, 1, 1))
        scale = rng.uniform(0.2, 0.7, 20)
        K[:, 0, 0], K[:, 1, 1] = focal * scale, 1.01 * focal * scale
        K[:, :2, 2] = (np.array([501.3, 389.8]) - rng.integers(0, 400, (20, 2))) * scale[:, None]
        result = focal_of_crops(K.astype(np.float32).astype(np.float64))
        assert result == pytest.approx(focal, rel=1e-5)
        K[:, :2, 2] += rng.uniform(0, 1, (20, 2))
        assert focal_of_crops(K) is None


def test_single_images_have_guessed_cameras_of_their_own(session, tmp_path, caplog):
    path = write_single_views(tmp_path / 's.h5', session)
    data = convert(path, tmp_path / 'o.h5')
    assert 'neither their cameras nor where they were cut' in caplog.text
    assert data.session_names == ('one/left',)
    assert not data.intrinsics_known('one/left').any()
    assert data.frame_indices('one/left').tolist() == list(range(8))
    assert data.record(0).keypoints2d.shape == (1, 4, 2)
    assert data.image(3, 0).shape == (RESOLUTION, RESOLUTION, 3)


def test_units_are_told_by_the_animals_size(session, tmp_path):
    path = write_smilify(tmp_path / 's.h5', session, SLOTS)
    file = read_smilify(path)
    assert (file.unit, common_unit([file], 'cm')[0]) == ('mm', 'cm')
    with h5py.File(path, 'r+') as raw:
        for name in ('keypoints_3d', 'camera_extrinsics_t'):
            raw[f'multiview_keypoints/{name}'][...] *= 0.001
    metres = replace(read_smilify(path), path=Path('metres.h5'))
    assert metres.unit == 'm'
    unit, factors = common_unit([file, metres], None)
    assert (unit, factors[path], factors[metres.path]) == ('mm', 1.0, 1000.0)
    (moved,) = sessions_of(replace(metres, path=path), JOINTS, None, unit, 1000.0)
    torch.testing.assert_close(moved.keypoints3d().xyz, session.points, atol=1e-3, rtol=0)


def test_what_cannot_be_right_is_refused(session, tmp_path):
    path = write_smilify(tmp_path / 's.h5', session, SLOTS)
    with pytest.raises(ValueError, match='tools/preprocess.py smilify .*s.h5'):
        open_dataset(path)
    with pytest.raises(ValueError, match='of 4 joints; got 3'):
        sessions_of(read_smilify(path), JOINTS[:3])
    with h5py.File(path, 'r+') as raw:
        raw['multiview_keypoints/camera_extrinsics_t'][3, 0] += 20
    with pytest.raises(ValueError, match='cameras of session one must stand still'):
        sessions_of(read_smilify(path), JOINTS)
    with h5py.File(path, 'r+') as raw:
        raw['multiview_keypoints/camera_intrinsics'][2] = np.eye(3)
    with pytest.raises(ValueError, match='3 of 22 views have an identity matrix'):
        read_smilify(path)
    lost = write_smilify(tmp_path / 'old.h5', session, SLOTS, 'bbox_crop', whole_cameras=True)
    with pytest.raises(ValueError, match='where those were cut is lost'):
        sessions_of(read_smilify(lost), JOINTS)


@pytest.mark.parametrize('canonical', [False, True])
def test_poses_are_taken_where_they_agree_with_the_points(tmp_path, canonical, caplog):
    """A pose of another convention, or of other joints, would be wrong truth: it is left out and counted."""
    data = make_body()
    body = SMIL(data).double()
    made = BlobSession(n_frames=8, cameras=centred_cameras(), names=JOINTS)
    params = body.zero_params(8).replace(
        global_orient=0.5 * torch.randn(8, 3).double(),
        body_pose=0.7 * torch.randn(8, 3, 3).double(),
        betas=torch.tensor([0.5, -1.0]).double().expand(8, 2),
        transl=made.points.mean(1),
        scale=torch.full((8,), 25.0).double(),
    )
    made.points = body(params, need=('joints',)).joints.detach()
    made.xy, _, valid = made.cameras.project(made.points)
    made.confidence = valid.double()
    path = write_smilify(tmp_path / 'theirs.h5', made, SLOTS, canonical=canonical)
    wrong = 3
    with h5py.File(path, 'a') as file:
        poses = torch.cat((torch.zeros(8, 1, 3), params.body_pose), 1).numpy()
        poses[wrong] = poses[wrong, ::-1]
        file['parameters/joint_rot'] = poses.astype(np.float32)
        posed = np.arange(8) != 5
        file['auxiliary/has_ground_truth_pose'] = posed
    read = read_smilify(path)
    unit, factors = common_unit([read], 'mm')
    sessions = sessions_of(read, JOINTS, None, unit, factors[path], body=data)
    assert 'poses of 1 samples are left out' in caplog.text
    options = PreprocessOptions(target_resolution=RESOLUTION, min_views=1)
    preprocess(sessions, tmp_path / 'ours.h5', data, options)
    dataset = open_dataset(tmp_path / 'ours.h5')
    for i in range(8):
        stored = dataset.record(i)
        assert (stored.params is not None) == (posed[i] and i != wrong)
        if stored.params is None:
            continue
        values = {n: torch.from_numpy(np.asarray(v)).double()[None] for n, v in stored.params.items()}
        again = body(BodyParams(**values), need=('joints',)).joints[0]
        torch.testing.assert_close(
            again, torch.from_numpy(stored.keypoints3d[:4]).double(), atol=0.05, rtol=0
        )
        np.testing.assert_allclose(stored.params['body_pose'], params.body_pose[i], atol=1e-6)
    other = sessions_of(read, JOINTS, None, unit, factors[path])
    assert other[0].known_params(4, 2).n_misfits == 7
