"""Published protocols: numbers by hand, each of which the neighbouring rule would change."""

import numpy as np
import pytest

from smilfit.evaluation.protocols import ImageAnswer, evaluate, keypoint_groups, protocol_lines
from smilfit.registry import UnknownNameError

NAMES = ('paw_L', 'tail_tip', 'ear_L', 'nose')


def answer(off, weight=(1, 1, 1, 1), side=224, **parts):
    """Predictions `off` px to the right of keypoints at whole px."""
    truth = np.array([[20.0, 30.0], [60.0, 40.0], [100.0, 80.0], [150.0, 200.0]]) * side / 224
    predicted = truth + np.stack((np.asarray(off, float), np.zeros(4)), -1)
    return ImageAnswer(predicted, truth, np.asarray(weight, float), side, **parts)


def square(n, side=224):
    mask = np.zeros((side, side), np.bool_)
    mask[:n, :n] = True
    return mask


def test_wldo_weighs_within_an_image_then_averages_images():
    # The root of the area is 100 px: a threshold of 15. Exactly 15 is missed.
    first = answer([14.9, 15.0, 0, 0], [1, 1, 0.5, 0], mask=square(100))
    # The same at twice the size: 112 px crop, 29.8 of 448.
    second = answer([29.8, 29.8, 29.8, 100], [1, 1, 1, 1], side=448, mask=square(200, 448))
    # Nothing is visible, and no mask: neither counts.
    hidden = answer([0, 0, 0, 0], [0, 0, 0, 0], mask=square(100))
    bare = answer([0, 0, 0, 0])
    result = evaluate('wldo', [first, second, hidden, bare], NAMES)
    # (1 + .5) / 2.5 = .6 and 3 / 4; over all points alike it would be 4.5 / 6.5.
    assert result['PCK@.15'] == pytest.approx((0.6 + 0.75) / 2)
    assert result['PCK@.15 legs'] == 1
    assert result['PCK@.15 tail'] == 0.5
    assert np.isnan(result['IoU'])
    assert 'IoU' in protocol_lines('wldo', result)[-1]
    assert 'not known' in protocol_lines('wldo', result)[-1]


def test_wldo_forgives_what_lies_outside_of_the_image():
    inside = np.ones((224, 224), np.bool_)
    inside[:, :20] = False
    mask = square(100) & inside
    shown = dict(mask=mask, silhouette=square(100), inside=inside)
    assert evaluate('wldo', [answer([0] * 4, **shown)], NAMES)['IoU'] == 1
    assert evaluate('smalst', [answer([0] * 4, **shown)], NAMES)['IoU'] == pytest.approx(0.8)


def test_animer_counts_shares_of_the_root_of_the_area_in_256_px():
    # 112 of 224 are 128 of 256 px: thresholds 12.8 and 19.2, in px of 224 11.2 and 16.8.
    one = answer([11.1, 11.3, 16.7, 16.9], mask=square(112))
    # Without a mask the whole crop counts: thresholds 22.4 and 33.6 px.
    two = answer([22.3, 22.5, 33.5, 33.7])
    result = evaluate('animer', [one, two], NAMES)
    assert result['PCK@0.1'] == 0.25
    assert result['PCK@0.15'] == 0.75
    # All four off by .5 of the side: met by thresholds above .5, which 50 of 100 are.
    half = evaluate('animer', [answer([112.0] * 4)], NAMES)
    steps = np.linspace(0, 1, 100)
    assert half['AUC'] == pytest.approx(np.trapezoid((steps > 0.5) * 1.0, steps))
    assert half['PCK@0.15'] == 0


def test_smalst_cuts_predictions_to_whole_px_and_halves_equal_masks():
    # Cut to whole px nothing is off; .99 px are .0039 of 256, .01 of the side are 2.56 px.
    near = answer([0.99, 2.9, 3.1, 300], side=256)
    truth = near.truth.round()
    near = ImageAnswer(truth + (near.predicted - near.truth), truth, near.weight, 256)
    result = evaluate('smalst', [near], NAMES)
    # 2.9 is cut to 2 and met by 2.56; 3.1 to 3, which is not.
    assert result['PCK@0.01'] == 0.5
    assert result['PCK@0.02'] == 0.75
    # Keypoints of all images count alike.
    few = ImageAnswer(truth + 200, truth, np.array([1.0, 0, 0, 0]), 256)
    assert evaluate('smalst', [near, few], NAMES)['PCK@0.01'] == pytest.approx(2 / 5)
    same = answer([0] * 4, mask=square(50), silhouette=square(50))
    assert evaluate('smalst', [same], NAMES)['overlap'] == 0.5


def test_tigdog_counts_cells_joints_and_batches():
    # Cells of 4 px: 3 cells off is met, 4 is not (3.2 is between).
    truth = np.full((4, 2), 102.0)
    off = np.array([12.0, 16.0, 0.0, 0.0])
    first = ImageAnswer(truth + np.stack((off, 0 * off), -1), truth, np.array([1.0, 1, 1, 0]), 256)
    second = ImageAnswer(truth + np.stack((off + 16, 0 * off), -1), truth, np.array([1.0, 0, 0, 0]), 256)
    # One batch: joints 1/2, 0, 1: a half. Over points alike it would be 2/4, so one more joint tells them apart.
    assert evaluate('tigdog', [first, second], NAMES)['PCK@.05'] == pytest.approx((0.5 + 0 + 1) / 3)
    # A truth in the first rows of cells counts as not visible.
    edge = ImageAnswer(truth * 0 + 4, truth * 0 + 4, np.ones(4), 256)
    assert np.isnan(evaluate('tigdog', [edge], NAMES)['PCK@.05'])
    many = [first] * 32 + [second]
    # Batch by batch: (1 + 0 + 1) / 3 of the first 32, 0 of the last one.
    assert evaluate('tigdog', many, NAMES)['PCK@.05'] == pytest.approx((2 / 3 + 0) / 2)


def test_badja_takes_a_fifth_of_the_root_of_the_area():
    one = answer([19.9, 20.0, 50, 0], [1, 1, 0, 1], mask=square(100))
    assert evaluate('badja', [one, answer([0] * 4)], NAMES)['PCK@.2'] == pytest.approx(2 / 3)


def test_space_forbids_mirrors():
    points = np.random.default_rng(0).normal(0, 1, (8, 3))
    turned = 2.5 * points[:, [1, 2, 0]] + 3
    right = answer([0] * 4, predicted3d=turned, truth3d=points)
    assert evaluate('space', [right], NAMES)['PA-MPJPE'] < 1e-9
    mirrored = answer([0] * 4, predicted3d=points * [-1, 1, 1], truth3d=points, predicted_skin=turned)
    result = evaluate('space', [mirrored], NAMES)
    assert result['PA-MPJPE'] > 0.1
    assert np.isnan(result['PA-MPVPE'])
    # AniMer states thousandths.
    assert evaluate('animer', [mirrored], NAMES)['PA-MPJPE'] == pytest.approx(1000 * result['PA-MPJPE'])


def test_motion_stands_beside_a_line():
    def frame(t, noise, sequence=0):
        return answer([noise] * 4, sequence=sequence, frame=t)

    # Truth stands still; predictions jump 1 px to and fro: second differences of 2 px.
    run = [frame(t, t % 2) for t in range(5)]
    result = evaluate('motion', [*run, frame(9, 40)], NAMES)
    assert result == {'acceleration error': 2, 'jitter': 2, 'acceleration error of a line': 0}
    assert np.isnan(evaluate('motion', run[:2], NAMES)['jitter'])


def test_names_and_groups():
    groups = keypoint_groups((*NAMES, 'withers'))
    assert {g: np.flatnonzero(m).tolist() for g, m in groups.items()} == {
        'legs': [0], 'tail': [1], 'ears': [2], 'face': [3],
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match="no protocol 'wldoo'. Did you mean"):
        evaluate('wldoo', [answer([0] * 4)], NAMES)
    with pytest.raises(ValueError, match='must be an image'):
        evaluate('wldo', [], NAMES)
