"""Keep a body in the image that was cut out around the animal."""

import logging

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState, Index, rows_of, several
from smilfit.handlers.keypoints2d import pixels_of
from smilfit.losses import PointDistanceLoss, Stated
from smilfit.losses.base import from_source
from smilfit.registry import HANDLERS, INPUTS
from smilfit.structures import Cameras, RecordedData


@INPUTS.register_module()
class ImageFrameInput(BaseInput):
    """The frames of B images in C views, which hold the whole animal.

    Args:
        cameras: of the images, one set for all frames or one a frame.
        n_frames: B.
        handler_key: the handler's.
    """

    def __init__(self, cameras: Cameras, n_frames: int, handler_key: str = 'in_image') -> None:
        self._cameras, self._n_frames, self.handler_key = cameras, n_frames, handler_key

    @classmethod
    def from_dataset(cls, dataset: RecordedData, session: str, handler_key: str) -> 'ImageFrameInput':
        """Take the frames of a session's stored crops."""
        return cls(dataset.stored_cameras(session), len(dataset.samples(session)), handler_key)

    @property
    def batch_size(self) -> int:
        """How many frames."""
        return self._n_frames

    @property
    def cameras(self) -> Cameras:
        """The cameras of the images."""
        return self._cameras

    def observed(self) -> Bool[Tensor, ' B']:
        """A frame alone shows no animal."""
        return torch.zeros(self.batch_size, dtype=torch.bool)

    def to(self, *args: object, **kwargs: object) -> 'ImageFrameInput':
        """Move or cast."""
        return ImageFrameInput(self.cameras.to(*args, **kwargs), self.batch_size, self.handler_key)

    def __getitem__(self, index: Index) -> 'ImageFrameInput':
        """Select frames."""
        count = len(rows_of(index, self.batch_size))
        return ImageFrameInput(self.cameras[several(index)], count, self.handler_key)


@HANDLERS.register_module()
class InImageHandler(BaseHandler):
    """Draws joints that fall beside their image back into it: a joint pays its squared distance to the frame.

    From few keypoints of one view a body close to the camera that points into the depth looks as good as one that
    lies in the image. The cut was made around the animal and tells them apart.

    Args:
        loss: scores squared distances, px; `PointDistanceLoss()` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type = ImageFrameInput

    def __init__(
        self,
        loss: nn.Module | None = None,
        handler_key: str = 'in_image',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, PointDistanceLoss() if loss is None else loss, device, logger)

    def need(self, related_input: ImageFrameInput) -> tuple[str, ...]:
        """Ask for the joints."""
        return ('joints',)

    def stated(self, state: BodyState, related_input: ImageFrameInput) -> Stated:
        """Score the distances of all joints to the images."""
        cameras, joints = state.corrected(related_input.cameras), state.joints
        pixels, _, valid = cameras.project(joints)
        beyond = beyond_image(pixels, cameras.size)
        # Beside the image a pixel's distance changes as the pixel does, and not at all inside.
        slope = torch.diag_embed((beyond != 0).to(beyond))
        stated = self.loss.stated(beyond, valid.to(beyond), slope)
        return from_source(stated, pixels_of(pixels, tuple(state.output.joint_names), cameras, joints))


def beyond_image(pixels: Float[Tensor, 'B C P 2'], size: Float[Tensor, '*b C 2']) -> Float[Tensor, 'B C P 2']:
    """Return the way from the image's nearest pixel to each point, px; 0 inside."""
    last = (size - 1).unsqueeze(-2)
    return pixels - torch.minimum(pixels.clamp_min(0), last.to(pixels))
