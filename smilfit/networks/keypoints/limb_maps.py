"""Where limbs are, for a regressor of whole bodies: heat maps of its backbone, points in space, a lifted start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.losses import Energies, HeatmapLoss
from smilfit.networks.heads import BodyEstimate, KeypointHeatmapHead
from smilfit.networks.keypoints.consensus import MeetInSpace
from smilfit.networks.keypoints.keypoint_distances import KeypointDistances
from smilfit.networks.keypoints.keypoint_targets import ImageTargets
from smilfit.networks.keypoints.two_passes import apparent_depth
from smilfit.networks.lifter.point_evidence import PointEvidence
from smilfit.networks.lifter.point_lifter import PointLifter
from smilfit.networks.lifter.point_tokens import POINT_NUMBERS, tokens_of
from smilfit.networks.scene_frame import SceneFrame
from smilfit.networks.training_set import DataSamples, TrainingStatistics
from smilfit.registry import MODELS, build, build_head
from smilfit.structures import BodyParams, Cameras


@dataclass(frozen=True)
class LimbSighting:
    """Heat maps of every view, the body that they say in the scene frame, and a token a keypoint."""

    logits: Float[Tensor, 'B C K h w']
    start: BodyEstimate
    tokens: Float[Tensor, 'B K E']


@MODELS.register_module()
class Limbs(nn.Module):
    """Find keypoints on a backbone's finest map, let the views meet in space, and lift the points to a body.

    The body is where a decoder begins: its heading and place come in closed form and need no labels. The tokens tell
    the decoder of every point's displacement from the mean pose and how sure it is. Neither has a gradient towards
    the heat maps, which learn where keypoints are from labels alone, as the lifter does from drawn poses.

    Args:
        heatmap_head: maps, finest first, to logits.
        consensus: lets the views meet.
        lifter: points to parameters.
        out_dim: channels of the tokens.
        loss: of the heat maps.
        lifter_samples: poses that the lifter learns from in a step.
        hidden_weight: of keypoints whose place in an image is known only from their place in space.
    """

    def __init__(
        self,
        heatmap_head: KeypointHeatmapHead,
        consensus: MeetInSpace,
        lifter: PointLifter,
        out_dim: int,
        loss: HeatmapLoss | None = None,
        lifter_samples: int = 64,
        hidden_weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.heatmap_head, self.consensus, self.lifter = heatmap_head, consensus, lifter
        self.heatmap_loss = loss or HeatmapLoss()
        self.lifter_samples, self.hidden_weight = lifter_samples, hidden_weight
        self.embed = nn.Linear(POINT_NUMBERS, out_dim)
        self.which = nn.Parameter(0.02 * torch.randn(len(lifter.keypoint_names), out_dim))

    def forward(
        self,
        maps: Sequence[Tensor],
        view_mask: Bool[Tensor, 'B C'],
        cameras: Cameras,
        frame: SceneFrame,
        mean_scale: Float[Tensor, ''],
    ) -> LimbSighting:
        """Look at the maps of the present views, which come one after the other.

        Args:
            maps: of the backbone, finest first, of the present views alone.
            view_mask: which views there are.
            cameras: of the images.
            frame: the scene's.
            mean_scale: the scale that an estimate's is relative to.
        """
        present = self.heatmap_head(maps).float()
        logits = present.new_zeros(*view_mask.shape, *present.shape[1:])
        logits[view_mask] = present
        with torch.autocast(logits.device.type, enabled=False):
            evidence = self._evidence(logits.detach(), view_mask, cameras, frame.unit)
            with torch.no_grad():
                start = _as_estimate(self.lifter(evidence), frame, mean_scale)
            lifter = self.lifter
            read = tokens_of(evidence, lifter.reference, lifter.spread, lifter.mean_scale)
            tokens = self.embed(read.points) + self.which
        return LimbSighting(logits, start, tokens)

    @torch.no_grad()
    def _evidence(self, logits: Tensor, view_mask: Tensor, cameras: Cameras, extent: Tensor) -> PointEvidence:
        stride = self.heatmap_head.stride
        depth = apparent_depth(logits, stride, cameras, view_mask, extent)
        points = self.consensus(logits, stride, cameras, view_mask, depth)
        return PointEvidence.of(points, cameras, view_mask)

    def heatmap_energy(
        self, logits: Float[Tensor, 'B C K h w'], inputs: Mapping[str, Tensor], data_samples: DataSamples
    ) -> Energies:
        """State how far the heat maps are from the labels; views that are absent count nothing."""
        targets = ImageTargets.of_batch(inputs, data_samples, hidden_weight=self.hidden_weight)
        return self.heatmap_loss.energy(
            logits.flatten(0, 1), targets.px, targets.weight, self.heatmap_head.stride
        )

    def lifter_losses(self) -> dict[str, Tensor]:
        """Return the lifter's losses on drawn poses, by name."""
        terms = self.lifter.loss(self.lifter_samples)
        return {name.removeprefix('loss_'): value for name, value in terms.items()}


def _as_estimate(params: BodyParams, frame: SceneFrame, mean_scale: Tensor) -> BodyEstimate:
    """Write world parameters as an estimate in the scene frame."""
    rest = BodyEstimate.resting(params.rotations()[0].detach(), params.betas.shape[1], len(params.betas))
    return replace(
        rest,
        rotations=params.rotations(),
        betas=params.betas,
        position=frame.from_world(params.transl),
        log_scale=(params.scale / mean_scale).log(),
    )


# Configs of parts by name, or the arguments of one.
PartConfigs = Mapping[str, Any]


@runtime_checkable
class Pyramid(Protocol):
    """A backbone of several maps: channels, and px a cell, of each, finest first."""

    dims: Sequence[int]
    strides: Sequence[int]


def built_parts(
    cfg: PartConfigs, backbone: Pyramid, body: SMIL, statistics: TrainingStatistics
) -> dict[str, nn.Module]:
    """Build the heat maps' head, the consensus and, where a config has one, the lifter."""
    names = statistics.names.keypoint_names or body.joint_names
    sizes = {'in_dims': backbone.dims, 'in_strides': backbone.strides, 'n_keypoints': len(names)}
    parts = {
        'heatmap_head': build_head(cfg['heatmap_head'], **sizes),
        'consensus': _built_consensus(cfg['consensus'], body, names),
    }
    if cfg.get('lifter') is not None:
        lifter = dict(cfg['lifter'])
        if cfg.get('feature_map') is not None:
            lifter['feature_dim'] = backbone.dims[cfg['feature_map']]
        parts['lifter'] = _built_lifter(lifter, body, statistics)
    return parts


def _built_lifter(cfg: PartConfigs, body: SMIL, statistics: TrainingStatistics) -> nn.Module:
    """Build a lifter whose sampler draws bodies about the size of the training set's."""
    cfg = dict(cfg)
    sampler = cfg.pop('sampler', None) or {'type': 'PoseSampler'}
    cfg['sampler'] = build(sampler, MODELS, body_model=body, scale=float(statistics.mean_scale))
    names = statistics.names.keypoint_names or body.joint_names
    return build_head(cfg, body_model=body, keypoint_names=names)


def _built_consensus(cfg: PartConfigs, body: SMIL, names: Sequence[str]) -> nn.Module:
    """Build a consensus; where it is to know the keypoints' distances, these are counted in poses of the body."""
    cfg = dict(cfg)
    if cfg.get('distances') is not None:
        given = dict(cfg['distances'])
        # Size is estimated of every animal anew.
        sampler = build(given.pop('sampler', {'type': 'PoseSampler'}), MODELS, body_model=body, scale=1.0)
        cfg['distances'] = KeypointDistances.of_body(sampler, body, tuple(names), **given)
    return build(cfg, MODELS)


def built_limbs(
    cfg: PartConfigs, backbone: nn.Module, body: SMIL, statistics: TrainingStatistics, out_dim: int
) -> Limbs:
    """Build limbs from their config, sizes taken from the backbone, the body and the training set.

    Raises:
        ValueError: a backbone that gives one map only.
    """
    if not isinstance(backbone, Pyramid):
        raise ValueError(
            f'Limbs: the backbone must give several maps, finest first; {type(backbone).__name__} gives one. Take '
            'SmallUNet, TimmPyramid or ViTPyramid.'
        )
    # Weights are drawn in this order: the lifter's, then the heads', as in trainings of the same seed before.
    lifter = _built_lifter(cfg['lifter'], body, statistics)
    seeing = built_parts({**cfg, 'lifter': None}, backbone, body, statistics)
    return build({**cfg, **seeing, 'lifter': lifter}, MODELS, out_dim=out_dim)
