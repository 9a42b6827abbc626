"""What a regressor says of a batch."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.networks.animals.limb_maps import LimbSighting
from smilfit.networks.animals.scene_frame import SceneFrame
from smilfit.networks.regressors.parameter_losses import PARAMETER_KEYS
from smilfit.structures import BodyParams, Cameras


@dataclass(frozen=True)
class Prediction:
    """What the networks say of a batch; rotations are matrices.

    `steps` are the parameters after each step of the head, in the scene frame; `cameras` are the world's.
    """

    steps: tuple[BodyParams, ...]
    cameras: Cameras
    frame: SceneFrame
    camera_change: Float[Tensor, 'B C 7'] | None
    votes: Float[Tensor, 'B C 3 2'] | None = None
    limbs: LimbSighting | None = None

    @property
    def params(self) -> BodyParams:
        """The final parameters in the world."""
        last = self.steps[-1]
        return last.replace(transl=self.frame.to_world(last.transl), scale=self.frame.unit * last.scale)

    def total(self) -> Float[Tensor, '']:
        """Sum all that the networks say; not finite if any of it is not."""
        said = [getattr(step, key) for step in self.steps for key in PARAMETER_KEYS]
        said += [x for x in (self.camera_change, self.votes) if x is not None]
        return torch.stack([x.float().sum() for x in said]).sum()
