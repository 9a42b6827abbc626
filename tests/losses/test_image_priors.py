"""Priors of fits to images: what they are for."""

import pytest
import torch

from smilfit.losses import FocalPriorLoss, SplayPriorLoss, TiedJointScalePriorLoss
from tests.animals import small_animal

DATA = small_animal(n_joints=8)
DRAW = torch.Generator().manual_seed(0)
SCALES = 0.3 * torch.randn(3, 8, 3, generator=DRAW).double()


def ties(**kwargs):
    loss = TiedJointScalePriorLoss(**kwargs)
    loss.bind_body(DATA)
    return loss


def test_only_named_axes_splay():
    pose = torch.zeros(1, 4, 3)
    pose[..., 1] = 1.0
    assert SplayPriorLoss()(pose) == 0
    assert SplayPriorLoss(axes=('y',))(pose) == 1


def test_tied_scales_that_agree_cost_no_more_than_untied_ones():
    left, right = (DATA.joint_names.index(n) for n in DATA.joint_symmetry[0])
    both, one = (torch.zeros(1, 8, 3).double() for _ in range(2))
    both[:, [left, right]] = 0.1
    one[:, left] = 0.1
    assert torch.isclose(ties()(both), ties(tie=0.0)(both))
    assert ties()(one) > 10 * ties(tie=0.0)(one)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match='axes must be some of'):
        SplayPriorLoss(axes=('w',))
    with pytest.raises(ValueError, match='sd must be positive'):
        FocalPriorLoss(sd=0)
    with pytest.raises(ValueError, match='tie must not be negative'):
        TiedJointScalePriorLoss(tie=-1)
    with pytest.raises(KeyError, match="Did you mean 'spine'"):
        ties(groups=('spin',))
    with pytest.raises(ValueError, match='bind_body'):
        TiedJointScalePriorLoss()(SCALES)
