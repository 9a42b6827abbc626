import pytest
import torch

from smilfit.geometry.consistency import camera_consistency
from smilfit.geometry.projection import project_points
from smilfit.geometry.rotation import axis_angle_to_rotmat

LENS = torch.tensor([-0.25, 0.03, 0.0005, -0.0005, 0.0], dtype=torch.float64)


def _seen(rig, noise=2.0, missing=0.2, n_frames=30):
    K, R, t, _ = rig
    points = torch.randn(n_frames, 8, 3, dtype=torch.float64)
    xy, _, valid = project_points(points, K, R, t, LENS.expand(len(K), 5))
    xy = xy + noise * torch.randn_like(xy)
    confidence = (valid & (torch.rand(xy.shape[:-1]) > missing)).double()
    return points, torch.where(confidence[..., None] > 0, xy, 0.0), confidence


def _turned(R, t, camera, angle):
    """A camera that was knocked: turned about its own centre."""
    R, t = R.clone(), t.clone()
    rotation = axis_angle_to_rotmat(angle * torch.tensor([0.5, 0.7, -0.5], dtype=torch.float64))
    R[camera], t[camera] = rotation @ R[camera], rotation @ t[camera]
    return R, t


@pytest.mark.parametrize('with_points', [True, False])
@pytest.mark.parametrize('n', [2, 3, 4, 8])
@pytest.mark.parametrize('seed', range(3))
def test_none_is_named_in_a_good_rig(make_ring, n, with_points, seed):
    torch.manual_seed(seed)
    rig = make_ring(n) if n > 2 else tuple(x[:2] for x in make_ring(4))
    points, xy, confidence = _seen(rig)
    result = camera_consistency(xy, confidence, *rig, LENS.expand(n, 5), points if with_points else None)
    assert not result.contradicts.any()
    assert not result.ambiguous
    assert result.same_place == ()
    assert float(result.median_px.max()) < 4


@pytest.mark.parametrize('with_points', [True, False])
@pytest.mark.parametrize('bad', range(4))
@pytest.mark.parametrize('angle', [0.04, 0.15])
def test_one_knocked_camera_is_named(ring, bad, angle, with_points):
    K, R, t, size = ring
    points, xy, confidence = _seen(ring)
    R, t = _turned(R, t, bad, angle)
    result = camera_consistency(
        xy, confidence, K, R, t, size, LENS.expand(4, 5), points if with_points else None
    )
    assert result.contradicts.nonzero().flatten().tolist() == [bad]
    assert not result.ambiguous


def test_narrow_baselines_raise_no_alarm(make_ring):
    """Points of two neighbouring cameras are vague in depth; that is no fault of a third."""
    K, R, t, size = make_ring(40)
    pick = [0, 1, 10]
    rig = (K[pick], R[pick], t[pick], size[pick])
    _, xy, confidence = _seen(rig)
    result = camera_consistency(xy, confidence, *rig, LENS.expand(3, 5))
    assert not result.contradicts.any()
    assert not result.ambiguous


@pytest.mark.parametrize('with_points', [True, False])
def test_a_repeated_calibration_is_named_and_listed(ring, with_points):
    K, R, t, size = ring
    points, xy, confidence = _seen(ring)
    R, t = R.clone(), t.clone()
    R[2], t[2] = R[3], t[3]
    result = camera_consistency(
        xy, confidence, K, R, t, size, LENS.expand(4, 5), points if with_points else None
    )
    assert result.contradicts.tolist() == [False, False, True, False]
    assert result.same_place == ((2, 3),)


def test_two_knocked_of_six_are_named(make_ring):
    K, R, t, size = make_ring(6)
    _, xy, confidence = _seen((K, R, t, size))
    R, t = _turned(*_turned(R, t, 1, 0.1), 4, -0.13)
    result = camera_consistency(xy, confidence, K, R, t, size, LENS.expand(6, 5))
    assert result.contradicts.nonzero().flatten().tolist() == [1, 4]


def test_two_cameras_that_disagree_blame_neither(ring):
    K, R, t, size = (x[:2] for x in ring)
    _, xy, confidence = _seen((K, R, t, size))
    R, t = _turned(R, t, 1, 0.2)
    result = camera_consistency(xy, confidence, K, R, t, size, LENS.expand(2, 5))
    assert result.ambiguous
    assert not result.contradicts.any()


def test_too_few_points_judge_nobody(ring):
    _, xy, confidence = _seen(ring)
    confidence[:, 1] = 0
    confidence[:1, 1, :2] = 1
    result = camera_consistency(xy, confidence, *ring, LENS.expand(4, 5))
    assert result.median_px.isnan().tolist() == [False, True, False, False]
    assert not result.contradicts.any()
    none = camera_consistency(xy, 0 * confidence, *ring, LENS.expand(4, 5))
    assert none.median_px.isnan().all()
    assert not none.contradicts.any()


def test_a_camera_that_looks_away_is_named(ring):
    K, R, t, size = ring
    points, xy, confidence = _seen(ring)
    R, t = R.clone(), t.clone()
    half_rotation = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    R[0], t[0] = half_rotation @ R[0], half_rotation @ t[0]
    for given in (points, None):
        result = camera_consistency(xy, confidence, K, R, t, size, LENS.expand(4, 5), given)
        assert result.contradicts.tolist() == [True, False, False, False]
