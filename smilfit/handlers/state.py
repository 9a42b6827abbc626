"""One evaluation of the body, as handlers see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.structures import BodyOutput, BodyParams, Cameras


@dataclass(frozen=True)
class BodyState:
    """One evaluation of the body: what a handler may look at.

    `keypoint_weights` are factors on named keypoints (body parts of a stage, ignored keypoints); absent is 1.
    `frames` numbers the frames in
    the recording, where some may be missing; None where they follow one another. `camera_shift` (C, 6) corrects
    the cameras (see `Cameras.shifted`), `log_focal` (one number, or one a frame) their focal lengths (see
    `Cameras.refocused`); None where they are not fitted.
    """

    body: SMIL
    params: BodyParams
    output: BodyOutput
    keypoint_weights: dict[str, float] = field(default_factory=dict)
    frames: Tensor | None = None
    camera_shift: Tensor | None = None
    log_focal: Tensor | None = None

    @property
    def joints(self) -> Float[Tensor, 'B J 3']:
        """Return the posed joints, world unit; a handler asks for them by `need`."""
        if self.output.joints is None:
            raise ValueError("BodyState: joints were not computed. Name 'joints' in the handler's need.")
        return self.output.joints

    @property
    def vertices(self) -> Float[Tensor, 'B V 3']:
        """Return the posed surface, world unit; a handler asks for it by `need`."""
        if self.output.vertices is None:
            raise ValueError("BodyState: vertices were not computed. Name 'vertices' in the handler's need.")
        return self.output.vertices

    def corrected(self, cameras: Cameras) -> Cameras:
        """Return cameras with the corrections of a fit that moves them."""
        cameras = cameras if self.camera_shift is None else cameras.shifted(self.camera_shift)
        return cameras if self.log_focal is None else cameras.refocused(self.log_focal)

    def take(self, rows: Tensor) -> 'BodyState':
        """Pick frames."""
        output = self.output
        points = {n: getattr(output, n) for n in ('joints', 'vertices', 'keypoints')}
        points = {n: v[rows] for n, v in points.items() if v is not None}
        frames = None if self.frames is None else self.frames[rows]
        focal = self.log_focal if self.log_focal is None or len(self.log_focal) == 1 else self.log_focal[rows]
        output = replace(output, **points)
        return replace(self, params=self.params[rows], output=output, frames=frames, log_focal=focal)

    def continuous(self, order: int) -> Tensor:
        """Report for every frame whether it and the `order` frames before it follow one another (B,) bool."""
        count = self.params.batch_size
        frames = torch.arange(count) if self.frames is None else self.frames
        result = torch.zeros(count, dtype=torch.bool)
        if count > order:
            result[order:] = (frames[order:] - frames[:-order]).cpu() == order
        return result.to(self.params.transl.device)

    def weights_of(self, names: Sequence[str]) -> Tensor | None:
        """Return the factors of some keypoints (K,), or None where all are 1."""
        if not any(name in self.keypoint_weights for name in names):
            return None
        return self.params.transl.new_tensor([self.keypoint_weights.get(name, 1.0) for name in names])

    def body_size(self) -> Tensor:
        """Return each body's size (B,) in world units, detached."""
        return (self.body.rest_size * self.params.scale).detach()
