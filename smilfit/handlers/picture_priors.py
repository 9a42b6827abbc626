"""Priors that fits to single pictures need: what one view leaves open."""

from torch import Tensor

from smilfit.handlers.base import BodyState
from smilfit.handlers.priors import BodyPosePriorHandler, PriorHandler
from smilfit.losses import FocalPriorLoss, SplayPriorLoss
from smilfit.registry import HANDLERS


@HANDLERS.register_module()
class SplayPriorHandler(BodyPosePriorHandler):
    """Keeps joints from turning about axes they hardly turn about, by `SplayPriorLoss` unless another is given."""

    holds = ()
    default_key = 'splay_prior'
    default_loss = SplayPriorLoss


@HANDLERS.register_module()
class FocalPriorHandler(PriorHandler):
    """Keeps focal lengths near what was guessed, by `FocalPriorLoss` unless another is given."""

    holds = ('focal',)
    default_key = 'focal_prior'
    default_loss = FocalPriorLoss

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Logarithms of the factors on the frames' focal lengths (B, 1); 0 where none is fitted."""
        like = state.params.transl[:, :1]
        focal = state.log_focal
        return (like.new_zeros(like.shape) if focal is None else focal.unsqueeze(1).expand_as(like),)
