"""Left and right keypoints that were mistaken for each other are found and exchanged, and no others."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    ActiveTerm,
    BaseInput,
    BetasPriorHandler,
    BodyPosePriorHandler,
    Keypoint2dHandler,
    Keypoint3dMSEHandler,
)
from smilfit.losses import KeypointMSELoss, PoseRegLoss, ShapePriorLoss
from smilfit.registrants import SMALify, SMPLify, Stage
from smilfit.registrants.swaps import exchanged, labels_of, pairs_of
from smilfit.solvers import LBFGS, LevenbergMarquardt, Processes
from smilfit.structures import Keypoints3d
from smilfit.synthetic import make_insect
from tests.animals import ring_of_cameras
from tests.registrants.clip import seen_by

N = 12
DATA = replace(make_insect(), shape_mean=None, shape_cov=None)
PAIRS = pairs_of(DATA, DATA.joint_names)


@pytest.fixture(scope='module')
def animal():
    """A body, its true joints, and the joints with noise."""
    body, g = SMIL(DATA), torch.Generator().manual_seed(0)
    truth = body.zero_params(N)
    truth = truth.replace(
        body_pose=0.2 * torch.randn(truth.body_pose.shape, generator=g),
        global_orient=0.2 * torch.randn(N, 3, generator=g),
    )
    joints = body(truth).joints
    noisy = joints + 0.005 * torch.randn(joints.shape, generator=g)
    return body, joints, Keypoints3d(noisy, torch.ones(N, body.n_joints), body.joint_names)


def swapped_at(shape, share=0.2):
    return torch.rand((*shape, len(PAIRS.left)), generator=torch.Generator().manual_seed(1)) < share


def registrant(body, handler, weight, optimizer=None, n_iter=40, **kwargs):
    handlers = [
        handler,
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
        BetasPriorHandler(ShapePriorLoss(reduction='sum'), handler_key='shape'),
    ]
    stage = Stage(n_iter=n_iter, ftol=1e-6, weights={'keypoints': weight, 'pose': 0.04, 'shape': 0.01})
    optimizer = LevenbergMarquardt() if optimizer is None else optimizer
    return SMPLify(body, [stage], handlers, optimizer, **kwargs)


def in_space(body, **kwargs):
    loss = KeypointMSELoss(0.03, reduction='sum')
    return registrant(body, Keypoint3dMSEHandler(loss, handler_key='keypoints'), 100.0, **kwargs)


def reported(result):
    """Return (view, left keypoint, frame) of all that were exchanged."""
    matches = result.report['swapped_keypoints'].get('keypoints', {'pairs': []})['pairs']
    return {(row.get('view'), row['keypoints'][0], f) for row in matches for f in row['frames']}


def near(result, joints):
    return float(((result.joints() - joints).norm(dim=-1).mean(1) < 0.012).float().mean())


def test_limbs_are_joined_along_the_tree():
    limbs = [{DATA.joint_names[k] for k in PAIRS.left[members]} for members in PAIRS.members]
    legs = [{f'{part}_L{i}' for part in ('coxa', 'femur', 'tibia', 'tarsus')} for i in (1, 2, 3)]
    assert limbs == [*legs, {'scape_L', 'flagellum_L'}]


def test_exchanging_twice_changes_nothing(animal):
    _, _, seen = animal
    mask = swapped_at((N,))
    once = exchanged(seen, PAIRS, mask)
    assert torch.equal(exchanged(once, PAIRS, mask).xyz, seen.xyz)
    moved = (once.xyz != seen.xyz).any(-1)
    assert torch.equal(moved[:, PAIRS.left], mask)
    assert torch.equal(moved[:, PAIRS.right], mask)


@pytest.mark.parametrize('shared', [False, True])
def test_swaps_in_space_are_mended(animal, shared):
    body, joints, seen = animal
    wrong = exchanged(seen, PAIRS, swapped_at((N,)))
    before = wrong.xyz.clone()
    without = in_space(body, use_one_betas_per_video=shared)([wrong])
    result = in_space(body, try_swaps=True, use_one_betas_per_video=shared)(
        [wrong], frames=range(100, 100 + N)
    )
    assert near(result, joints) > max(0.8, near(without, joints))
    truth = {(None, DATA.joint_names[PAIRS.left[p]], 100 + f) for f, p in swapped_at((N,)).nonzero().tolist()}
    assert len(reported(result) & truth) > 0.8 * len(truth)
    assert len(reported(result) - truth) <= 0.2 * len(truth)
    assert torch.equal(wrong.xyz, before)
    assert [entry['stage'] for entry in result.history] == ['', '']


def test_swaps_in_single_views_are_mended(animal):
    body, joints, seen = animal
    cameras = ring_of_cameras(distance=5.0).to(torch.float32)
    clean = seen_by(cameras, seen)
    clean = replace(clean, confidence=clean.confidence.float())
    mask = swapped_at((N, len(cameras)))
    handler = Keypoint2dHandler(KeypointMSELoss(5.0, reduction='sum'), handler_key='keypoints')
    fits = [
        registrant(body, handler, 0.01, try_swaps=on)([exchanged(clean, PAIRS, mask)]) for on in (False, True)
    ]
    assert near(fits[1], joints) > max(0.6, near(fits[0], joints))
    truth = {(cameras.names[c], DATA.joint_names[PAIRS.left[p]], f) for f, c, p in mask.nonzero().tolist()}
    result = reported(fits[1])
    assert len(result & truth) > 0.9 * len(truth)
    assert len(result - truth) <= 0.02 * len(truth)


class OwnInput(BaseInput):
    """An Input of a user's own, which keeps keypoints and shares no class with those of smilfit."""

    rows = ('keypoints',)
    handler_key = 'keypoints'

    def __init__(self, keypoints):
        self.keypoints = keypoints


class MovedInput(OwnInput):
    """One that keeps them under another name."""

    rows = ('labels',)

    def __init__(self, keypoints):
        self.labels = keypoints


def test_an_input_of_ones_own_is_mended_or_refused_in_words(animal):
    body, joints, seen = animal
    wrong = exchanged(seen, PAIRS, swapped_at((N,)))
    result = in_space(body, try_swaps=True)([OwnInput(wrong)])
    assert near(result, joints) > 0.8
    term = ActiveTerm(Keypoint3dMSEHandler(handler_key='keypoints'), MovedInput(wrong), 1.0)
    with pytest.raises(
        TypeError, match=r"'keypoints': its Input must keep .* as `keypoints` .*; got MovedInput"
    ):
        labels_of(term)


def test_a_clean_clip_keeps_its_labels(animal):
    body, _, seen = animal
    plain, tried = (in_space(body, try_swaps=on)([seen]) for on in (False, True))
    assert tried.report['swapped_keypoints'] == {}
    assert 'swapped_keypoints' not in plain.report
    assert torch.equal(plain.params.body_pose, tried.params.body_pose)
    assert len(tried.history) == 1


def test_a_solver_of_first_order_may_try_too(animal):
    body, _, seen = animal
    seen = seen[torch.arange(2)]
    mask = torch.zeros(2, len(PAIRS.left), dtype=torch.bool)
    mask[1, 1] = True
    result = in_space(body, try_swaps=True, optimizer=LBFGS(), n_iter=2)([exchanged(seen, PAIRS, mask)])
    assert reported(result) == {(None, DATA.joint_names[PAIRS.left[1]], 1)}


def test_the_second_side_must_have_been_seen(animal):
    body, _, seen = animal
    confidence = seen.confidence.clone()
    confidence[:, PAIRS.right] = 0
    result = in_space(body, try_swaps=True)([replace(seen, confidence=confidence)])
    assert result.report['swapped_keypoints'] == {}


def test_it_is_refused_where_it_cannot_be(animal):
    body, _, seen = animal

    class Two(Processes):
        count = 2

    with pytest.raises(ValueError, match='try_swaps must be False: frames are tried'):
        in_space(body, try_swaps=True, processes=Two())([seen])
    with pytest.raises(ValueError, match='SMALify: try_swaps must be False'):
        SMALify(body, [], [], hypothesis_stages=0, try_swaps=True)
