"""Confidences are chances: monotone, right on average, nothing where no image can hold a keypoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.networks.calibration import Calibration, Checked, monotone, of_frames
from smilfit.networks.inference.predictions import UNRECOGNISED, Predictions, with_confidences, without_unsure
from smilfit.structures import Cameras

T, C, K = 3, 2, 5


def test_the_map_is_monotone_and_finds_the_chance():
    rng = np.random.default_rng(0)
    stated = rng.uniform(0, 1, 20_000)
    chance = 0.8 * stated**2
    x, y = monotone(stated, rng.uniform(0, 1, len(stated)) < chance)
    assert (np.diff(y) >= 0).all()
    assert (np.diff(x) >= 0).all()
    wanted = np.linspace(0.05, 0.95, 20)
    np.testing.assert_allclose(np.interp(wanted, x, y), 0.8 * wanted**2, atol=0.06)
    # Violators are pooled to their mean: nothing is learned of an order that is not there.
    _, flat = monotone(np.arange(400) / 400, np.arange(400) % 400 < 200)
    np.testing.assert_allclose(flat[1:], 0.5, atol=0.01)


def known(rng, n_right=60, n_wrong=60, n_views=C) -> Checked:
    """Frames that are right and stated with some .8, and others, stated with some .1."""
    right = np.arange(n_right + n_wrong) < n_right
    level = np.where(right, 0.8, 0.1)[:, None] + rng.uniform(-0.1, 0.1, (len(right), K))
    error = np.where(right, 0.02, 0.5)[:, None] + rng.uniform(0, 0.02, (len(right), K))
    views = np.repeat(level[:, None], n_views, 1)
    return Checked(
        stated3d=level,
        error3d=error,
        stated2d=views,
        error2d=np.repeat(error[:, None], n_views, 1),
        off=np.full(views.shape, 0.01),
        view_mask=np.ones((len(right), n_views), np.bool_),
    )


def test_the_least_confidence_parts_right_frames_from_others():
    result = known(np.random.default_rng(0)).calibration()
    assert result.of_points(np.array(0.8)) > 0.9
    assert result.of_points(np.array(0.1)) < 0.1
    assert result.of_points(np.array(0.0)) == 0
    assert all(0.1 < least < 0.7 for least in result.least)
    # Of a network that predicts nothing well nothing is left out.
    assert known(np.random.default_rng(0), n_right=5).calibration().least == ()


def test_fewer_cameras_are_held_against_frames_of_as_few():
    n = 4
    made = known(np.random.default_rng(0), n_views=n)
    # Two neighbours of the cameras see each right frame well, for animals hide their other side.
    first = np.random.default_rng(1).integers(n, size=(len(made.stated2d), 1))
    dim = (np.arange(n) - first) % n > 1
    stated2d = np.where(dim[..., None], 0.1 * made.stated2d, made.stated2d)
    error2d = np.where(dim[..., None], np.nan, made.error2d)
    result = replace(made, stated2d=stated2d, error2d=error2d).calibration()
    assert len(result.least) == n
    assert result.least[1] < 0.5 * result.least[-1]
    views = np.arange(n) < np.array([[1], [2], [4]])
    np.testing.assert_array_equal(result.least_of(views), np.array(result.least)[[0, 1, 3]])
    # A rig of more cameras than any in training is as good as the largest of those.
    assert result.least_of(np.ones((1, 2 * n), np.bool_)) == result.least[-1]


def test_a_checkpoint_holds_it_and_nonsense_is_refused():
    result = known(np.random.default_rng(0)).calibration()
    assert Calibration.of_record('x', result.record()) == result
    assert Calibration.of_record('x', {}) == Calibration()
    # One number for any number of cameras, as checkpoints had it once.
    assert Calibration.of_record('x', result.record() | {'least': 0.2}).least == (0.2,)
    for wrong in (5, {'points': 1}, result.record() | {'pixels': [[0, 1], [1, 0]]}):
        with pytest.raises(ValueError, match='x: the calibration of confidences'):
            Calibration.of_record('x', wrong)


def predictions(points: np.ndarray, cameras: Cameras, **further) -> Predictions:
    pixels = cameras.project(torch.from_numpy(points))[0].numpy()
    rig = {f'camera_{n}': getattr(cameras, n).numpy()[None].repeat(T, 0) for n in ('K', 'R', 't')}
    return Predictions(
        frames=np.arange(T),
        valid=np.ones(T, np.bool_),
        reasons=('',) * T,
        params={},
        keypoints3d=points,
        confidence3d=np.ones(points.shape[:2]),
        keypoints2d=pixels,
        confidence2d=np.ones(pixels.shape[:-1]),
        view_mask=np.ones((T, C), np.bool_),
        further={'seen2d': pixels, 'seen2d_confidence': np.full(pixels.shape[:-1], 0.5), **further},
        **rig,
    )


@pytest.fixture
def cameras():
    K = torch.tensor([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]], dtype=torch.float64)
    t = torch.tensor([[0.0, 0, 5], [1, 0, 5]], dtype=torch.float64)
    return Cameras(
        names=('a', 'b'),
        K=K.repeat(C, 1, 1),
        R=torch.eye(3, dtype=torch.float64).repeat(C, 1, 1),
        t=t,
        size=torch.tensor([[100.0, 80], [100, 80]], dtype=torch.float64),
    )


def test_what_no_image_can_hold_has_no_confidence(cameras):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (T, K, 3))
    points[0, 0, 2] = -20  # behind both
    points[1, 1, 0] = 8.0  # far outside of both images
    points[2, 2, 0] = -2.9  # outside, by less than half their side
    result = with_confidences(predictions(points, cameras), Calibration(), cameras)
    gone = np.zeros((T, C, K), np.bool_)
    gone[0, :, 0] = gone[1, :, 1] = True
    assert ((result.confidence2d == 0) == gone).all()
    np.testing.assert_allclose(result.confidence2d[~gone], 0.5)
    assert (result.keypoints2d[gone] == 0).all()
    assert ((result.confidence3d == 0) == gone.all(1)).all()
    # Nobody says how large the images are: the cameras' centres do.
    alone = with_confidences(predictions(points, cameras), Calibration(), None)
    assert ((alone.confidence2d == 0) == gone).all()


def test_a_lens_holds_nothing_beyond_its_fold(cameras):
    bent = Cameras(
        names=cameras.names, K=cameras.K, R=cameras.R, t=cameras.t, size=cameras.size,
        dist=torch.tensor([[-0.9, 0.0, 0, 0, 0]] * C, dtype=torch.float64),
    )  # fmt: skip
    points = np.zeros((T, K, 3))
    points[..., 1] = np.linspace(-0.4, 0.4, K)
    points[0, 0, 0] = 10.0  # bent back into the images
    made = predictions(points, cameras)
    made.keypoints2d[0, :, 0] = 30.0
    result = with_confidences(made, Calibration(), bent)
    assert (result.confidence2d[0, :, 0] == 0).all()
    assert (result.confidence2d[1:] > 0).all()


def test_where_body_and_heat_maps_disagree_the_confidence_falls(cameras):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (T, K, 3))
    made = predictions(points, cameras)
    seen = made.further['seen2d'].copy()
    seen[0, 0, 0] += 2.0
    seen[0, 0, 1] += 30.0
    result = with_confidences(replace(made, further={**made.further, 'seen2d': seen}), Calibration(), cameras)
    assert 0.1 < result.confidence2d[0, 0, 0] < 0.5
    assert result.confidence2d[0, 0, 1] < 1e-3


def test_an_unsure_frame_is_not_predicted_and_says_why(cameras):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (T, K, 3))
    shares = np.full((T, C, K), 0.8)
    shares[1] = 0.02
    made = with_confidences(predictions(points, cameras, seen2d_confidence=shares), Calibration(), cameras)
    np.testing.assert_allclose(of_frames(made.confidence2d, made.view_mask), [0.8, 0.02, 0.8])
    result = without_unsure(made, 0.1)
    assert result.valid.tolist() == [True, False, True]
    assert result.reasons[1] == f'{UNRECOGNISED}: the median confidence is 0.02, below 0.1'
    assert (result.confidence2d[1] == 0).all()
    assert (result.confidence3d[1] == 0).all()
    assert without_unsure(made, 0.0) is made
    # Where nothing else is known, what the network said stays.
    nothing = without_unsure(made, 0.9)
    assert not nothing.valid.any()
    assert nothing.filled() is nothing


def test_one_camera_that_does_not_see_the_animal_is_no_doubt():
    confidence = np.full((1, 3, K), 0.7)
    confidence[0, 2] = 0
    assert of_frames(confidence, np.ones((1, 3), np.bool_)) == 0.7
    # A view that is not there is none.
    assert of_frames(confidence, np.array([[True, False, False]])) == 0.7


def test_a_network_that_diverged_is_calibrated_to_nothing():
    broken = known(np.random.default_rng(0))
    nothing = {name: np.full_like(getattr(broken, name), np.nan) for name in ('stated3d', 'stated2d', 'off')}
    result = replace(broken, **nothing).calibration()
    assert result.least == ()
    assert Calibration.of_record('x', result.record()) == result
