"""Sides are put back before a fit, and told; labels are given to whoever asks as the fit took them."""

from dataclasses import replace

import torch

from smilfit.body_models import SMIL
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.registrants import SideUnswapper
from smilfit.registrants.swaps import (
    exchanged,
    input_as_fitted,
    labels_as_fitted,
    pairs_of,
    swap_sentences,
)
from smilfit.registry import build_registrant
from smilfit.structures import Keypoints3d
from smilfit.synthetic import make_insect, make_quadruped
from tests.animals import ring_of_cameras
from tests.registrants.clip import seen_by
from tests.registrants.test_swaps import in_space

N = 40


def walking(data):
    """Joints of a body that moves smoothly, by three cameras with a little noise."""
    body, g = SMIL(data), torch.Generator().manual_seed(0)
    time = torch.linspace(0, 3, N)[:, None, None]
    still = body.zero_params(N)
    rotation = 0.2 * torch.sin(time + 6 * torch.rand(1, still.body_pose.shape[1], 3, generator=g))
    joints = body(still.replace(body_pose=rotation)).joints
    seen = seen_by(
        ring_of_cameras(3, distance=5.0).to(torch.float32),
        Keypoints3d(joints, torch.ones(N, body.n_joints), body.joint_names),
    )
    return replace(seen, xy=seen.xy + torch.randn(seen.xy.shape, generator=g).to(seen.xy))


def test_names_tell_sides_where_the_model_does_not():
    data = make_quadruped()
    stated = pairs_of(data, data.joint_names)
    notes = pairs_of(replace(data, joint_symmetry=()), data.joint_names)
    assert len(stated.left)
    assert torch.equal(stated.left.sort().values, notes.left.sort().values)
    assert len(stated.members) == len(notes.members)
    names = ('eye_left', 'nose', 'eye_right')
    assert pairs_of(data, names).left.tolist() == [0]
    assert not len(pairs_of(data, names[:2]).left)


def test_exchanged_labels_are_put_back_and_told():
    data = make_insect()
    clean, pairs = walking(data), pairs_of(data, data.joint_names)
    mask = torch.rand(N, 3, 1, generator=torch.Generator().manual_seed(1)) < 0.2
    mask = mask.expand(N, 3, len(pairs.left))
    wrong = exchanged(clean, pairs, mask)
    frames = torch.arange(100, 100 + N)
    given = MultiviewKeypoint2dMSEInput(wrong, handler_key='keypoints').resolve(data)
    put_back, report = SideUnswapper()({'keypoints': given}, data, frames)
    off = (put_back['keypoints'].keypoints.xy - clean.xy).norm(dim=-1) > 1e-6
    assert float(off.float().mean()) < 0.01
    assert torch.equal(given.keypoints.xy, wrong.xy)
    notes = {'unswapped_keypoints': report}
    (first, *_) = swap_sentences(notes)
    count = int(mask[:, 0].any(-1).sum())
    assert first.startswith(f'camera cam0: left and right were exchanged in {count} frames')
    numbers = frames.tolist()
    assert torch.equal(labels_as_fitted(wrong, notes, numbers).xy, put_back['keypoints'].keypoints.xy)
    assert torch.equal(
        input_as_fitted(given, notes, numbers).keypoints.xy, put_back['keypoints'].keypoints.xy
    )
    # Other frames, and views that it does not know, stay.
    assert torch.equal(labels_as_fitted(wrong, notes, range(N)).xy, wrong.xy)
    clean_input = MultiviewKeypoint2dMSEInput(clean, handler_key='keypoints').resolve(data)
    assert SideUnswapper()({'keypoints': clean_input}, data, frames)[1] == {}


def test_a_fit_puts_them_back_first():
    data = replace(make_insect(), shape_mean=None, shape_cov=None)
    body, pairs = SMIL(data), pairs_of(data, data.joint_names)
    time = torch.linspace(0, 3, N)[:, None, None]
    params = body.zero_params(N)
    params = params.replace(
        body_pose=0.2
        * torch.sin(time + torch.arange(params.body_pose.shape[1])[:, None]).expand_as(params.body_pose)
    )
    joints = body(params).joints
    seen = Keypoints3d(joints, torch.ones(N, body.n_joints), body.joint_names)
    mask = torch.zeros(N, len(pairs.left), dtype=torch.bool)
    mask[[7, 8, 25]] = True
    result = in_space(body, unswap=SideUnswapper(), use_one_betas_per_video=True)(
        [exchanged(seen, pairs, mask)]
    )
    notes = result.report['unswapped_keypoints']['keypoints']
    assert notes['count'] == int(mask.sum())
    assert {f for pair in notes['pairs'] for f in pair['frames']} == {7, 8, 25}
    assert float((result.joints() - joints).norm(dim=-1).max()) < 0.02


def test_a_config_may_ask_for_it():
    assert build_registrant({'type': 'SideUnswapper', 'change': 3.0}).costs.change == 3.0
