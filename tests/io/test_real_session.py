"""A real recording of a mouse, one of whose cameras has another one's calibration."""

from pathlib import Path

import numpy as np
import pytest

from smilfit.io import SleapSession, check_cameras, find_sessions, triangulate_keypoints

pytestmark = pytest.mark.real


@pytest.fixture(scope='module')
def root(real_data: Path) -> Path:
    return real_data / 'mouse_sessions'


@pytest.fixture(scope='module')
def session(root: Path) -> SleapSession:
    (folder,) = find_sessions(root)
    return SleapSession(folder, joint_lookup=root / 'joint_lookup.csv', confidence_threshold=0.0, unit='mm')


def test_what_it_holds(session):
    assert session.camera_names == ('back', 'mid', 'side', 'top')
    assert (session.n_frames, session.fps, session.unit) == (120, 30.0, 'mm')
    assert len(session.keypoint_names) == 15
    assert session.keypoint_names[:3] == ('tharocic-vertebrae', 'cervical-vertebrae', 'skull')
    missing = 1 - session.keypoints2d().visible.double().mean((0, 2))
    assert missing.tolist() == pytest.approx([0.22, 0, 0.13, 0], abs=0.005)


def test_given_points_name_the_wrong_camera(session):
    report = check_cameras(session.keypoints2d(), session.keypoints3d())
    assert list(report.median_px.values()) == pytest.approx([9.6, 5.6, 91.9, 5.3], abs=0.05)
    assert report.contradicting == ('side',)
    assert report.same_place == (('side', 'top'),)
    assert "Camera 'side' contradicts the others: 91.9 px" in report.message()


@pytest.mark.parametrize('threshold', [0.0, 0.5])
def test_the_labels_alone_name_it_too(session, threshold):
    seen = SleapSession(session.folder, confidence_threshold=threshold).keypoints2d()
    report = check_cameras(seen)
    assert report.contradicting == ('side',)
    assert report.median_px['side'] > 80
    assert max(report.median_px[name] for name in ('back', 'mid', 'top')) < 10


@pytest.mark.parametrize('absent', ['back', 'mid', 'top'])
def test_three_cameras_are_enough_to_name_it(session, absent):
    seen = SleapSession(session.folder, confidence_threshold=0.0, exclude_cameras=[absent]).keypoints2d()
    assert check_cameras(seen).contradicting == ('side',)


def test_the_three_good_cameras_agree(session):
    good = SleapSession(session.folder, confidence_threshold=0.0, exclude_cameras=['side'])
    report = check_cameras(good.keypoints2d(), good.keypoints3d())
    assert report.ok
    seen = good.keypoints2d()
    placed = triangulate_keypoints(seen)
    assert placed.visible.double().mean() == 1
    pixels, _, _ = good.cameras.project(placed.xyz)
    error = (pixels - seen.xy).norm(dim=-1)
    medians = [float(error[:, c][seen.visible[:, c]].median()) for c in range(3)]
    assert max(medians) < 9
    # Another tool's points of the same labels, in mm; the mouse is some 90 mm long.
    distance = (placed.xyz - good.keypoints3d(seen.names).xyz).norm(dim=-1)
    assert float(distance.median()) < 6


def test_images_are_those_of_the_labels(session):
    (index, images), *_ = session.frames([7])
    assert index == 7
    assert all(image.shape == (1024, 1280, 3) for image in images.values())
    assert all(10 < np.mean(image) < 245 for image in images.values())
