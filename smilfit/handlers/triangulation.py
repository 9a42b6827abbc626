"""What cameras make of seen keypoints, against the body."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from smilfit.geometry.triangulation import meet_rays
from smilfit.handlers.base import BaseHandler
from smilfit.handlers.keypoints2d import MultiviewKeypoint2dMSEInput
from smilfit.handlers.state import BodyState
from smilfit.losses import TriangulationConsistencyLoss
from smilfit.registry import HANDLERS
from smilfit.structures import Keypoints2d


@HANDLERS.register_module()
class TriangulationConsistencyHandler(BaseHandler):
    """Draws cameras to where they triangulate the seen keypoints to the body's; the body feels nothing.

    For networks that predict or correct cameras, beside a loss that holds the body. A keypoint that fewer than two
    views see, or that lies behind one of them, does not count.

    Args:
        loss: compares the points; a plain square if None.
        handler_key: names it in stages and loss weights.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type = MultiviewKeypoint2dMSEInput
    structure = Keypoints2d
    default_key = 'triangulation_consistency'

    def __init__(
        self,
        loss: nn.Module | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key or self.default_key, loss or TriangulationConsistencyLoss(), device, logger
        )

    def need(self, related_input: MultiviewKeypoint2dMSEInput) -> tuple[str, ...]:
        """Ask for the observed keypoints."""
        return related_input.keypoints.names

    def observed(
        self, related_input: MultiviewKeypoint2dMSEInput, keypoint_weights: Mapping[str, float]
    ) -> Tensor:
        """Return which frames have a keypoint that two views see and whose weight is not 0."""
        seen = related_input.keypoints
        counts = [keypoint_weights.get(name, 1.0) != 0 for name in seen.names]
        twice = seen.visible.sum(1) >= 2
        return (twice & torch.tensor(counts, device=twice.device)).any(1)

    def arguments(
        self, state: BodyState, related_input: MultiviewKeypoint2dMSEInput
    ) -> dict[str, Tensor | None]:
        """Triangulate what was seen."""
        seen = related_input.keypoints
        cameras = state.corrected(seen.rig)
        directions, has_ray = cameras.rays(seen.xy)
        points, known = meet_rays(cameras.centres(), directions, seen.confidence * has_ray)
        return {
            'triangulated': points,
            'target': state.output.select(seen.names),
            'known': known,
            'keypoint_weight': state.weights_of(seen.names),
        }
