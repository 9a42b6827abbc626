"""Keypoints in images, under any number of cameras."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.geometry.triangulation import meet_rays
from smilfit.handlers.base import BaseHandler, BodyState
from smilfit.handlers.keypoints import (
    KeypointInput,
    KeypointMSEHandler,
    keypoint_names_or_numbers,
    without_gaps,
)
from smilfit.losses import (
    KeypointMSELoss,
    KeypointStepLoss,
    PointSource,
    Stated,
    TriangulationConsistencyLoss,
)
from smilfit.losses.base import from_source
from smilfit.registry import HANDLERS, INPUTS
from smilfit.structures import Cameras, Keypoints2d, RecordedData

# Residual (px) beyond which an annotation is more likely wrong than the body misplaced.
DEFAULT_SIGMA_PX = 20.0


@INPUTS.register_module(name=['MultiviewKeypoint2dMSEInput', 'Keypoint2dInput'])
class MultiviewKeypoint2dMSEInput(KeypointInput[Keypoints2d]):
    """Observed 2D keypoints, px, and the cameras that saw them.

    Args:
        keypoints2d: (B, C, K, 2) px, or `Keypoints2d` with names, confidences and cameras.
        keypoints2d_convention: a keypoint set of the body model, `'joints'`, a keypoint convention such as `'coco'`
            (of which the model's keypoints count), or the K names.
        keypoints2d_conf: (B, C, K); 0 where missing.
        cameras: of one set for all frames, or one a frame.
        handler_key: the handler's.
    """

    def __init__(
        self,
        keypoints2d: Float[Tensor, 'B C K 2'] | Keypoints2d,
        keypoints2d_convention: str | Path | Sequence[str] = 'joints',
        keypoints2d_conf: Float[Tensor, 'B C K'] | None = None,
        cameras: Cameras | None = None,
        handler_key: str = 'keypoints2d_mse',
    ) -> None:
        if isinstance(keypoints2d, Keypoints2d):
            super().__init__(keypoints2d, keypoints2d.names, handler_key)
        else:
            confidence = (
                torch.ones_like(keypoints2d[..., 0]) if keypoints2d_conf is None else keypoints2d_conf
            )
            names = keypoint_names_or_numbers(keypoints2d_convention, keypoints2d.shape[2])
            confidence, n_masked = without_gaps(keypoints2d, confidence)
            keypoints = Keypoints2d(keypoints2d, confidence, names, cameras)
            super().__init__(keypoints, keypoints2d_convention, handler_key)
            self._n_masked = n_masked
        if self.keypoints.cameras is None:
            raise ValueError(
                'MultiviewKeypoint2dMSEInput: the cameras must be known; got none. Give cameras=..., or keypoints '
                'of a calibrated session.'
            )
        self.keypoints.rig.check('MultiviewKeypoint2dMSEInput')

    @property
    def cameras(self) -> Cameras:
        """The cameras that observed."""
        return self.keypoints.rig

    @classmethod
    def from_dataset(
        cls, dataset: RecordedData, session: str, handler_key: str
    ) -> 'MultiviewKeypoint2dMSEInput':
        """Take a session's 2D keypoints and cameras out of a dataset file.

        They are in original px under a rig. Where every image has a camera of its own, they are in px of the
        stored crops: images of all sizes then mean the same to a loss.
        """
        return cls(dataset.session(session).fitted2d(), handler_key=handler_key)


@HANDLERS.register_module(name=['MultiviewKeypoint2dMSEHandler', 'Keypoint2dHandler'])
class MultiviewKeypoint2dMSEHandler(KeypointMSEHandler[Keypoints2d]):
    """Draws keypoints of the body, projected into every camera, to where they were seen.

    The loss is robust (Geman-McClure, 20 px) unless another is given.
    """

    input_type = MultiviewKeypoint2dMSEInput
    structure = Keypoints2d
    default_key = 'keypoints2d_mse'

    @staticmethod
    def default_loss() -> KeypointMSELoss:
        """Squared distance in px, bounded."""
        return KeypointMSELoss(sigma=DEFAULT_SIGMA_PX)

    def pair(self, state: BodyState, observations: Keypoints2d) -> tuple[Tensor, Tensor, PointSource]:
        """Compare pixels.

        A keypoint behind a camera or beyond its lens's fold has a finite stand-in pixel whose gradient leads
        back into view, so it stays in the loss.
        """
        cameras, points = state.corrected(observations.rig), state.output.select(observations.names)
        pixels, _, _ = cameras.project(points)
        return pixels, observations.xy, pixels_of(pixels, observations.names, cameras, points)


def pixels_of(pixels: Tensor, names: tuple[str, ...] | None, cameras: Cameras, points: Tensor) -> PointSource:
    """Report that pixels follow points under cameras."""
    return PointSource(pixels, names, lambda: cameras.linearise(points.detach())[1], cameras=cameras)


@HANDLERS.register_module()
class Keypoint2dStepHandler(MultiviewKeypoint2dMSEHandler):
    """Draws keypoints that nobody labelled to where they are in the images of the frame before, as SMAL4V does.

    For training on one video: batches must be frames in the order of time (a sampler that does not shuffle), cut
    alike. A step between two labelled frames does not count: labels say where keypoints move.
    """

    default_key = 'keypoints2d_steps'

    @staticmethod
    def default_loss() -> KeypointStepLoss:  # type: ignore[override]
        """Distance in px."""
        return KeypointStepLoss()

    def observed(
        self, related_input: KeypointInput[Keypoints2d], keypoint_weights: Mapping[str, float]
    ) -> Tensor:
        """Return that all frames count."""
        visible = related_input.keypoints.visible
        return torch.ones(len(visible), dtype=torch.bool, device=visible.device)

    def stated(self, state: BodyState, related_input: KeypointInput[Keypoints2d]) -> Stated:
        """Compare neighbouring frames."""
        observations = related_input.keypoints
        pixels, _, source = self.pair(state, observations)
        labelled = observations.visible.flatten(1).any(1)
        both = labelled & torch.cat((labelled[:1], labelled[:-1]))
        weight = torch.ones_like(pixels[..., 0]) * ~both[:, None, None]
        each = state.weights_of(observations.names)
        return from_source(
            self.loss.stated(pred=pixels, weight=weight if each is None else weight * each), source
        )


Keypoint2dHandler = MultiviewKeypoint2dMSEHandler
Keypoint2dInput = MultiviewKeypoint2dMSEInput


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
        observations = related_input.keypoints
        counts = [keypoint_weights.get(name, 1.0) != 0 for name in observations.names]
        twice = observations.visible.sum(1) >= 2
        return (twice & torch.tensor(counts, device=twice.device)).any(1)

    def arguments(
        self, state: BodyState, related_input: MultiviewKeypoint2dMSEInput
    ) -> dict[str, Tensor | None]:
        """Triangulate what was seen."""
        observations = related_input.keypoints
        cameras = state.corrected(observations.rig)
        directions, has_ray = cameras.rays(observations.xy)
        points, known = meet_rays(cameras.centres(), directions, observations.confidence * has_ray)
        return {
            'triangulated': points,
            'target': state.output.select(observations.names),
            'known': known,
            'keypoint_weight': state.weights_of(observations.names),
        }
