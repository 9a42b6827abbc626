from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.io import SleapSession, check_cameras, triangulate_keypoints, write_calibration
from smilfit.structures import Keypoints2d


def test_labels_of_a_perfect_session_give_back_its_points(tiny):
    session = SleapSession(tiny.folder)
    points = triangulate_keypoints(session.keypoints2d())
    assert points.unit == 'mm'
    assert points.names == session.keypoint_names
    np.testing.assert_allclose(points.xyz.numpy(), tiny.xyz, atol=1e-8)
    torch.testing.assert_close(points.confidence, torch.full((6, 4), 0.9, dtype=torch.float64))


def test_labels_beyond_the_fold_place_nothing(tiny):
    seen = SleapSession(tiny.folder).keypoints2d()
    lens = torch.tensor([[-0.9, 0, 0, 0, 0]], dtype=torch.float64).repeat(3, 1)
    cameras = type(seen.cameras)(
        names=seen.cameras.names,
        **{k: getattr(seen.cameras, k) for k in ('K', 'R', 't', 'size')},
        dist=lens,
    )
    xy = seen.xy.clone()
    xy[0, :2, 0] = torch.tensor([95.0, 63.0], dtype=torch.float64)
    points = triangulate_keypoints(Keypoints2d(xy, seen.confidence, seen.names, cameras))
    assert not points.visible[0, 0]
    assert points.visible[1].all()


def test_views_of_little_confidence_can_be_left_out(tiny):
    seen = SleapSession(tiny.folder).keypoints2d()
    confidence = seen.confidence.clone()
    confidence[:, 2] = 0.2
    xy = seen.xy.clone()
    xy[:, 2] += 30
    points = triangulate_keypoints(Keypoints2d(xy, confidence, seen.names, seen.cameras), min_confidence=0.5)
    np.testing.assert_allclose(points.xyz.numpy(), tiny.xyz, atol=1e-8)


def test_a_good_session_passes(tiny):
    session = SleapSession(tiny.folder)
    for points in (None, session.keypoints3d()):
        report = check_cameras(session.keypoints2d(), points)
        assert report.ok
        assert max(report.median_px.values()) < 1e-6


def test_points_made_with_the_wrong_camera_do_not_hide_it(tiny):
    cameras = tiny.cameras
    t = cameras.t.clone()
    t[1, 0] += 1.5
    moved = type(cameras)(
        names=cameras.names, K=cameras.K, R=cameras.R, t=t, size=cameras.size, dist=cameras.dist, unit='mm'
    )
    write_calibration(tiny.folder / 'calibration.toml', moved)
    session = SleapSession(tiny.folder)
    assert check_cameras(session.keypoints2d(), session.keypoints3d()).contradicting == ('mid',)
    bad_points = triangulate_keypoints(session.keypoints2d(), huber_px=None)
    report = check_cameras(session.keypoints2d(), bad_points)
    assert not report.ok


@pytest.mark.parametrize('factor', [1000.0, 0.1, 25.4])
def test_points_in_another_unit_blame_no_camera(tiny, factor):
    session = SleapSession(tiny.folder)
    seen, points = session.keypoints2d(), session.keypoints3d()
    report = check_cameras(seen, replace(points, xyz=points.xyz * factor))
    assert not report.ok
    np.testing.assert_allclose(report.unit_factor, factor)
    assert f'{factor:.4g} times as large' in report.message()
    assert 'in another unit than the calibration' in report.message()
    assert 'contradicts' not in report.message()
    # Points that are shifted, or another animal's, are in no other unit.
    assert check_cameras(seen, replace(points, xyz=points.xyz + 3.0)).unit_factor is None
    assert check_cameras(seen, replace(points, xyz=points.xyz.flip(1))).unit_factor is None


def test_what_cannot_be_checked_is_an_error(tiny):
    session = SleapSession(tiny.folder)
    seen, points = session.keypoints2d(), session.keypoints3d()
    bare = Keypoints2d(seen.xy, seen.confidence, seen.names)
    with pytest.raises(ValueError, match='triangulate_keypoints: keypoints must have cameras'):
        triangulate_keypoints(bare)
    with pytest.raises(ValueError, match='check_cameras: keypoints must have cameras'):
        check_cameras(bare)
    with pytest.raises(ValueError, match='must have the frames and names of the labels'):
        check_cameras(seen, points[:3])
    one = SleapSession(tiny.folder, exclude_cameras=['mid', 'left']).keypoints2d()
    with pytest.raises(ValueError, match='must be seen by two cameras; got only'):
        triangulate_keypoints(one)
