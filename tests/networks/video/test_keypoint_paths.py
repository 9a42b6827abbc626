"""Labels carried along the flow, paths through modes, smooth paths: right where the motion is known."""

import cv2
import numpy as np
import pytest
from scipy.linalg import cholesky_banded

from smilfit.networks.video.flow import DISFlow, FlowFields, flow_fields
from smilfit.networks.video.keypoint_paths import (
    Candidates,
    KeypointPath,
    PathNoise,
    _variances,
    carry_labels,
    find_path,
    smooth_path,
)

SIZE = 60.0


def even_flow(n, move=(2.0, -1.0), shape=(48, 64)):
    """Everything moves by the same px a frame."""
    field = np.broadcast_to(np.float32(move), (n - 1, *shape, 2))
    return FlowFields(field, -field, np.zeros(n - 1, np.bool_), 1.0)


def moving(n, starts, move=(2.0, -1.0)):
    return np.asarray(starts)[None] + np.arange(n)[:, None, None] * np.asarray(move)


def test_flow_follows_a_moving_wall_and_says_where_the_scene_changes():
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(0, 255, (160, 200, 3)).astype(np.uint8), (0, 0), 3)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    shown = [wall[20:140, 20 + 3 * t : 180 + 3 * t] for t in range(3)]
    images = [np.ascontiguousarray(image) for image in (*shown, np.zeros_like(shown[0]))]
    for side in (384, 80):
        flow = flow_fields(images, DISFlow(), side)
        assert flow.cut.tolist() == [False, False, True]
        points = np.array([[60.0, 50.0], [100.0, 70.0]])
        np.testing.assert_allclose(flow.moved(points, 0), points - [3, 0], atol=0.5)
        np.testing.assert_allclose(flow.moved(points, 1, -1), points + [3, 0], atol=0.5)
        assert np.isnan(flow.moved(points, 2)).all()
    with pytest.raises(ValueError, match='flow: images must be of one size'):
        flow_fields([images[0], images[1][:100]], DISFlow())
    with pytest.raises(ValueError, match='two frames at least'):
        flow_fields(images[:1], DISFlow())
    with pytest.raises(ValueError, match="preset must be one of .*; got 'slow'"):
        DISFlow('slow')


def test_labels_are_carried_from_both_sides():
    n = 11
    true = moving(n, [[20.0, 30.0], [30.0, 28.0]])
    known = np.zeros((n, 2), np.bool_)
    known[[0, 10]] = True
    known[10, 1] = False
    result = carry_labels(np.where(known[..., None], true, np.nan), known, even_flow(n), SIZE)
    # Flow is stored in single precision.
    np.testing.assert_allclose(result.xy[:, 0], true[:, 0], atol=1e-4)
    np.testing.assert_allclose(result.weight[:, 0], 1.0, atol=1e-6)
    # From one side alone, for a few frames.
    assert (np.diff(result.weight[:10, 1]) <= 0).all()
    assert result.weight[1, 1] > 0.5
    assert result.weight[6:, 1].max() == 0
    # What arrives at different places is not believed.
    off = true.copy()
    off[10, 0] += 30
    assert carry_labels(off, known, even_flow(n), SIZE).weight[5, 0] < 0.01
    # Nothing is carried over a cut.
    flow = even_flow(n)
    cut = FlowFields(flow.forward, flow.backward, np.arange(n - 1) == 0, 1.0)
    assert carry_labels(true, known, cut, SIZE).weight[1:3, 1].max() == 0


def test_the_path_follows_the_flow_past_stronger_decoys():
    n = 12
    true = moving(n, [[20.0, 30.0]])
    modes = np.stack((true, true + [18, 0]), 2)
    mass = np.full((n, 1, 2), [0.6, 0.2])
    # In three frames the decoy is far stronger.
    mass[4:7] = [0.1, 0.85]
    known = np.zeros((n, 1), np.bool_)
    path = find_path(Candidates.of(modes, mass, None, known), even_flow(n), SIZE)
    np.testing.assert_allclose(path.xy, true)
    assert not path.hidden.any()
    assert path.confidence.min() > 0.7
    # Where nothing is seen for a while it is hidden, and its place doubtful.
    mass[:] = [0.9, 0.05]
    mass[4:9] = 1e-3
    path = find_path(Candidates.of(modes, mass, None, known), even_flow(n), SIZE)
    assert path.hidden[:, 0].tolist() == [False] * 4 + [True] * 5 + [False] * 3
    assert path.confidence[4:9].max() < 0.1
    # A label is where it is, whatever the maps show.
    known[6], labels = True, true.copy()
    labels[6] += 25
    carried = carry_labels(labels, known, even_flow(n), SIZE)
    path = find_path(Candidates.of(modes, mass, carried, known), even_flow(n), SIZE)
    np.testing.assert_allclose(path.xy[6], labels[6])
    # A labelled frame that lacks a keypoint which others have says that it is hidden.
    both = np.repeat(known, 2, 1)
    both[6, 1], both[0, 1] = False, True
    carried = carry_labels(np.repeat(labels, 2, 1), both, even_flow(n), SIZE)
    mass = np.full((n, 2, 2), [0.6, 0.2])
    path = find_path(Candidates.of(np.repeat(modes, 2, 1), mass, carried, both), even_flow(n), SIZE)
    assert path.hidden[6].tolist() == [False, True]
    assert np.isnan(path.xy[6, 1]).all()
    # Two places that are equally likely: as sure as a coin.
    even = np.full((n, 1, 2), 0.45)
    coin = find_path(Candidates.of(modes, even, None, np.zeros((n, 1), np.bool_)), even_flow(n), SIZE)
    np.testing.assert_allclose(coin.confidence, 0.5, atol=0.05)


def path_of(xy, confidence=1.0):
    shape = xy.shape[:2]
    return KeypointPath(xy, np.full(shape, confidence), ~np.isfinite(xy[..., 0]))


def test_even_motion_stays_and_gaps_are_bridged():
    n = 30
    # Frames that do not follow evenly, as a camera with dropped frames gives them.
    times = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, n))
    true = np.array([[5.0, 7.0]]) + times[:, None, None] * [2.0, -1.0]
    xy = true.copy()
    xy[10:14] = np.nan
    known = np.zeros((n, 1), np.bool_)
    smooth, sd = smooth_path(path_of(xy), known, times, 50.0)
    np.testing.assert_allclose(smooth, true, atol=1e-5)
    assert sd[12, 0] > 1.8 * sd[5, 0]
    nothing, _ = smooth_path(path_of(np.full_like(xy, np.nan)), known, times, 50.0)
    assert np.isnan(nothing).all()


def test_noise_is_taken_away_strays_are_outvoted_and_labels_stay():
    n, rng = 60, np.random.default_rng(0)
    t = np.arange(n, dtype=float)
    true = np.stack((40 + 20 * np.sin(t / 12), 30 + 0.5 * t), -1)[:, None]
    xy = true + rng.normal(0, 2, true.shape)
    xy[20] += 40
    known = np.zeros((n, 1), np.bool_)
    known[40], xy[40] = True, true[40] + [6, 0]
    noise = PathNoise(acceleration=0.008)
    smooth, sd = smooth_path(path_of(xy), known, t, 50.0, noise=noise)
    error = np.linalg.norm(smooth - true, axis=-1)[:, 0]
    kept = np.abs(t - 40) > 3
    assert np.median(error[kept]) < 0.6 * np.median(np.linalg.norm(xy - true, axis=-1)[kept])
    assert error[20] < 4
    assert np.linalg.norm(smooth[40] - xy[40]) < 0.5
    # What remains is about as large as is stated.
    assert 0.5 < error[kept].mean() / (np.sqrt(np.pi / 2) * sd[kept].mean()) < 1.6
    # With the flow it is closer still.
    moves = np.diff(true[:, 0], axis=0)
    field = np.broadcast_to(moves[:, None, None], (n - 1, 48, 64, 2))
    flow = FlowFields(field, -field, np.zeros(n - 1, np.bool_), 1.0)
    tied, _ = smooth_path(path_of(xy), known, t, 50.0, flow, noise)
    assert np.linalg.norm(tied - true, axis=-1)[kept].mean() < error[kept].mean()


def test_variances_are_those_of_the_inverse():
    rng = np.random.default_rng(0)
    bands = rng.normal(0, 1, (3, 12))
    bands[2] = 8 + rng.uniform(0, 1, 12)
    assert np.isfinite(cholesky_banded(bands)[:, 2:]).all()
    dense = np.diag(bands[2]) + sum(
        np.diag(bands[2 - i, i:], i) + np.diag(bands[2 - i, i:], -i) for i in (1, 2)
    )
    np.testing.assert_allclose(_variances(bands), np.diag(np.linalg.inv(dense)), rtol=1e-10)
