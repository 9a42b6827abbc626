"""A fit's numbers: exact where the fit is exact, per camera, beside the given points."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.evaluation import fit_benchmark, reprojection_errors, strongest_baselines
from smilfit.io import triangulate_keypoints
from smilfit.structures import Keypoints2d, Keypoints3d


@pytest.fixture
def seen(world):
    return Keypoints2d(world.truth2d, world.confidence2d, ('a', 'b', 'c', 'd', 'e'), world.cameras)


@pytest.fixture
def truth(world):
    return Keypoints3d(world.truth3d, torch.ones(6, 5).double(), ('a', 'b', 'c', 'd', 'e'), 'mm')


def test_an_exact_fit_has_no_error(world, seen, truth):
    vertices = torch.randn(6, 7, 3)
    result = fit_benchmark(seen, world.truth3d, truth, truth, vertices, vertices)
    assert [row.camera for row in result.cameras] == ['left', 'right']
    assert all(row.median_fitted_px == pytest.approx(0.0, abs=1e-9) for row in result.cameras)
    assert sum(row.n_points for row in result.cameras) == int(world.confidence2d.sum())
    assert result.n_frames_finite == 6
    for name in ('mpjpe_mm', 'pa_mpjpe_mm', 'vertex_error_mm'):
        assert result.metrics()[name] == pytest.approx(0.0, abs=1e-9)


def test_beside_errors_against_truth_stand_answers_without_a_body_or_a_pose(world, seen, truth):
    noisy = replace(seen, xy=seen.xy + torch.randn_like(seen.xy))
    placed = triangulate_keypoints(noisy)
    result = fit_benchmark(noisy, world.truth3d + 0.001, truth=truth).against_truth
    best = strongest_baselines(result)
    assert {name: answer.source for name, answer in best.items()} == {
        'mpjpe_mm': 'mean_pose_at_predicted_place',
        'pa_mpjpe_mm': 'mean_pose',
        'mpjpe_shared_mm': 'triangulated',
    }
    assert all(answer.beaten for answer in best.values())
    distance = (placed.xyz - world.truth3d).norm(dim=-1)[placed.visible]
    assert best['mpjpe_shared_mm'].value == pytest.approx(float(distance.mean()))
    # A fit that is what the labels' own triangulation is, is no better.
    worse = torch.where(placed.visible.unsqueeze(-1), placed.xyz, world.truth3d)
    assert not strongest_baselines(fit_benchmark(noisy, worse, truth=truth).against_truth)[
        'mpjpe_shared_mm'
    ].beaten


def test_medians_are_over_the_points_that_both_have(world, seen, truth):
    shifted = Keypoints2d(world.truth2d + torch.tensor([6.0, 8.0]).double(), *_rest(seen))
    given = replace(truth, confidence=truth.confidence * (torch.arange(5) < 3))
    result = fit_benchmark(shifted, world.truth3d, given)
    placed = triangulate_keypoints(shifted).visible
    for c, row in enumerate(result.cameras):
        assert row.median_fitted_px == pytest.approx(10.0)
        assert row.common_fitted_px == pytest.approx(10.0)
        assert row.given_px == pytest.approx(10.0)
        assert row.n_common == int((world.confidence2d[:, c] * placed).sum())


def test_the_yardstick_is_a_triangulation_of_the_same_labels(world, seen, truth):
    noisy = replace(seen, xy=seen.xy + torch.randn_like(seen.xy))
    placed = triangulate_keypoints(noisy)
    smoothed = replace(truth, xyz=truth.xyz + 0.5)
    result = fit_benchmark(noisy, placed.xyz, smoothed)
    for row in result.cameras:
        assert row.ratio == pytest.approx(1.0)
        assert row.common_triangulated_px == pytest.approx(row.common_fitted_px)
        assert row.given_px > 3 * row.common_triangulated_px
    assert result.metrics()['left/ratio_to_triangulated'] == pytest.approx(1.0)
    assert all(row.ratio > 0.5 for row in fit_benchmark(noisy, world.truth3d, smoothed).cameras)
    one = replace(
        noisy, xy=noisy.xy[:, :1], confidence=noisy.confidence[:, :1], cameras=world.cameras.select(['left'])
    )
    assert fit_benchmark(one, world.truth3d).cameras[0].ratio is None


def test_a_point_without_an_image_is_infinitely_wrong(world, seen):
    behind = world.truth3d.clone()
    behind[0, 0] = torch.tensor([0.0, 0.0, -100.0]).double()
    errors = reprojection_errors(seen, behind)
    assert np.isinf(errors[0, 0, 0]) == bool(world.confidence2d[0, 0, 0] > 0)
    broken = world.truth3d.clone()
    broken[1] = torch.nan
    assert fit_benchmark(seen, broken).n_frames_finite == 5


def test_a_camera_that_saw_nothing_has_no_median(world, seen):
    confidence = world.confidence2d.clone()
    confidence[:, 1] = 0.0
    result = fit_benchmark(replace(seen, confidence=confidence), world.truth3d)
    assert result.cameras[1].n_points == 0
    assert result.cameras[1].median_fitted_px is None
    assert 'right/median_fitted_px' not in result.metrics()


def test_bad_calls_are_named(world, seen, truth):
    with pytest.raises(ValueError, match='must have cameras; got none'):
        fit_benchmark(replace(seen, cameras=None), world.truth3d)
    with pytest.raises(ValueError, match=r'must be 6 frames x 5 keypoints, as seen; got \(6, 4\)'):
        fit_benchmark(seen, world.truth3d[:, :4])
    with pytest.raises(ValueError, match='the given points must have the keypoints and frames'):
        fit_benchmark(seen, world.truth3d, truth[:3])
    with pytest.raises(ValueError, match='give both meshes or none'):
        fit_benchmark(seen, world.truth3d, vertices=torch.zeros(6, 7, 3))


def _rest(seen):
    return seen.confidence, seen.names, seen.cameras


@pytest.mark.real
def test_the_recorded_points_reproject_as_known(real_data):
    from smilfit.io import SleapSession

    folder = real_data / 'mouse_sessions' / 'minimal_session'
    session = SleapSession(folder, exclude_cameras=('side',), confidence_threshold=0.0)
    given = session.keypoints3d()
    result = fit_benchmark(session.keypoints2d(given.names), given.xyz, given)
    medians = {row.camera: row.given_px for row in result.cameras}
    assert medians == pytest.approx({'back': 9.6, 'mid': 5.6, 'top': 5.3}, abs=0.1)
    # Smoothed, these points follow no label; points triangulated from the labels do.
    assert all(row.ratio > 1.1 for row in result.cameras)
