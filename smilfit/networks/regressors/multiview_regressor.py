"""The multi-view regressor: images and cameras of one moment to body parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import BaseHandler
from smilfit.losses import Energies
from smilfit.networks.exported_networks import ExportedViews
from smilfit.networks.heads import BodyEstimate, NamedCameraHead, corrected_cameras
from smilfit.networks.heads.camera_heads import CameraNames
from smilfit.networks.heads.orientation_head import OrientationHead
from smilfit.networks.keypoints.limb_maps import Limbs, built_limbs
from smilfit.networks.regressors.body_regressor import (
    BodyRegressor,
    Prediction,
    check_views,
    remember_cameras,
)
from smilfit.networks.regressors.modal_regressor import PartConfigs
from smilfit.networks.regressors.parameter_losses import CAMERA_KEYS, weighted_means
from smilfit.networks.scene_frame import SceneFrame, SceneRays, cameras_of, locate_scene, patch_rays
from smilfit.networks.training_set import DataSamples, TrainingStatistics
from smilfit.registry import MODELS, build, build_backbone, build_handler, build_head
from smilfit.structures import BodyParams, Cameras

# The weights of the squared corrections of a camera head, and of every view's own vote of the heading.
CAMERA_KEY = 'camera'
VOTE_KEY = 'view_orientation'
LIMB_KEYS = ('heatmap', 'lifter')


@MODELS.register_module()
class MultiViewRegressor(BodyRegressor):
    """Predict body parameters from any number of calibrated views.

    The views' tokens are fused by attention, each with its ray in the scene's frame; a decoder corrects an
    estimate (the training set's mean pose at the scene's origin) step by step. Rotation matrices go to the
    body as they are. A view outside `view_mask` changes nothing: it does not even enter the backbone.

    Args:
        backbone: images (N, 3, H, W) to maps (N, D, h, w).
        fusion: tokens (B, C, N, D), rays and mask to fused tokens (B, C, N, E).
        head: fused tokens and a start to a list of `BodyEstimate`.
        body_model: the body.
        handlers: those of fitting; each with an observation is fed from the sample's truth.
        statistics: of the training set.
        camera_head: corrects the given cameras, or predicts them (`NamedCameraHead`); None takes them as they are.
        orientation_head: gives the root's rotation to start from; None starts at the training set's mean.
        limbs: finds keypoints and gives a whole body to start from, and tokens of it, in its place; the backbone must
            give several maps, finest first.
        token_map: which of several maps the patch tokens are of.
        loss_weights: as are the next four, see `BodyRegressor`. Among them are also `view_orientation` (each view's
            vote of the root's rotation, where a sample has parameters), `heatmap` and `lifter` (of limbs), and
            `camera` (squared corrections). Lengths are in scene units, and 2D distances in px of a crop brought to
            256 px, whatever the dataset's unit and crops.
    """

    start_betas: Tensor
    auxiliary_keys = (CAMERA_KEY, VOTE_KEY, *LIMB_KEYS, *CAMERA_KEYS)

    def __init__(
        self,
        backbone: nn.Module,
        fusion: nn.Module,
        head: nn.Module,
        body_model: SMIL,
        handlers: Sequence[BaseHandler] = (),
        statistics: TrainingStatistics | None = None,
        camera_head: nn.Module | None = None,
        orientation_head: OrientationHead | None = None,
        limbs: Limbs | None = None,
        token_map: int = -1,
        loss_weights: Mapping[str, float] | None = None,
        keypoint_weights: Mapping[str, float] | None = None,
        intermediate_weight: float = 0.3,
        mask_side: int | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(
            *(body_model, handlers, statistics, loss_weights, keypoint_weights),
            *(intermediate_weight, mask_side, data_preprocessor),
        )
        self.backbone, self.fusion, self.head, self.camera_head = backbone, fusion, head, camera_head
        if orientation_head is not None and limbs is not None:
            raise ValueError(
                'MultiViewRegressor: the start must come from one head; got orientation_head and limbs. Limbs find '
                'the heading in closed form: leave orientation_head out.'
            )
        self.orientation_head, self.limbs, self.token_map = orientation_head, limbs, token_map
        self.use_cameras(self.statistics.names.camera_names)
        directed = body_model.scaledirs is not None or body_model.data.scaledirs is None
        if getattr(head, 'joint_sizes', None) == 'entangled_with_betas' and not directed:
            raise ValueError(
                f"MultiViewRegressor: joint_sizes='entangled_with_betas' lets betas scale the joints; the body "
                f"{body_model.data.name!r} is loaded without that. Give body_model=dict(type='SMIL', "
                f'scale_directions=1.0).'
            )
        # As the body model's own, these are no part of a checkpoint.
        start = body_model.zero_params().betas[0].detach().float()
        self.register_buffer('start_betas', start, persistent=False)

    @property
    def known_cameras(self) -> CameraNames | None:
        """Those of the camera head, where it knows cameras by name."""
        return self.camera_head.names if isinstance(self.camera_head, NamedCameraHead) else None

    @classmethod
    def build_parts(cls, cfg: PartConfigs, body: SMIL, statistics: TrainingStatistics) -> PartConfigs:
        """Build the parts of a config, their sizes taken from each other and from the body."""
        backbone = cfg['backbone'] = build_backbone(cfg['backbone'])
        dims = getattr(backbone, 'dims', None)
        in_dim = backbone.dim if dims is None else dims[cfg.get('token_map', -1)]
        fusion = cfg['fusion'] = build(cfg['fusion'], MODELS, in_dim=in_dim)
        sizes = {'n_joints': body.n_joints, 'n_betas': body.n_betas, 'context_dim': fusion.dim}
        if isinstance(cfg['head'], Mapping) and cfg['head'].get('part_sizes'):
            sizes['n_part_sizes'] = len(body.part_sizes)
        cfg['head'] = build_head(cfg['head'], **sizes)
        if cfg.get('camera_head') is not None:
            remember_cameras(cfg, statistics.names.camera_names)
            cfg['camera_head'] = build_head(cfg['camera_head'], context_dim=fusion.dim)
        if cfg.get('orientation_head') is not None:
            cfg['orientation_head'] = build_head(cfg['orientation_head'], in_dim=in_dim)
        if cfg.get('limbs') is not None:
            cfg['limbs'] = built_limbs(cfg['limbs'], backbone, body, statistics, fusion.dim)
        cfg['handlers'] = [build_handler(handler) for handler in cfg.get('handlers', ())]
        return cfg

    @property
    def label_needs(self) -> dict[str, str]:
        """Return which labels losses need."""
        return super().label_needs | {VOTE_KEY: 'params', 'heatmap': 'keypoints'}

    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> Prediction:
        """Run the networks."""
        view_mask = inputs['view_mask']
        check_views(type(self).__name__, view_mask)
        cameras = cameras_of(inputs)
        device = view_mask.device.type
        maps = self._maps(inputs['image'], view_mask)
        tokens, grid = _tokens(maps[self.token_map], view_mask)
        frame, rays, mask = self.scene_of(cameras, view_mask, grid)
        if self.limbs is None:
            sighting, further = None, None
            start, votes = self._start(tokens, view_mask, cameras)
        else:
            sighting = self.limbs(maps, view_mask, cameras, frame, self.statistics.mean_scale)
            start, votes, further = sighting.start, None, sighting.tokens
        estimates, change = self.decode(tokens, rays, mask, start, further)
        with torch.autocast(device, enabled=False):
            if isinstance(self.camera_head, NamedCameraHead) and change is not None:
                cameras = self.camera_head.cameras(change, cameras, frame)
                change = change if self.camera_head.mode == 'delta' else None
            elif change is not None:
                cameras = corrected_cameras(cameras, change, self.statistics.scene_unit)
            steps = tuple(self._params(estimate, frame) for estimate in estimates)
        return Prediction(steps, cameras, frame, change, votes, sighting)

    def scene_of(self, cameras: Cameras, view_mask: Bool[Tensor, 'B C'], grid: tuple[int, int]) -> SceneRays:
        """Find the scene of each sample and its rays through the cells of a grid (rows, columns)."""
        with torch.autocast(view_mask.device.type, enabled=False):
            origin = locate_scene(cameras, view_mask, self.statistics.mean_position)
            frame = SceneFrame(origin, self.statistics.scene_unit)
            rays, has_ray = patch_rays(cameras, grid, frame)
        return SceneRays(frame, rays, view_mask.unsqueeze(-1) & has_ray)

    def decode(
        self,
        tokens: Float[Tensor, 'B C N D'],
        rays: Float[Tensor, 'B C N 6'],
        mask: Bool[Tensor, 'B C N'],
        start: BodyEstimate,
        further: Float[Tensor, 'B M E'] | None = None,
    ) -> tuple[Sequence[BodyEstimate], Tensor | None]:
        """Let the views talk to each other, and read the body and the cameras' changes off them.

        Args:
            tokens: the backbone's.
            rays: of the tokens, in the scene frame.
            mask: which tokens count.
            start: where estimates begin.
            further: tokens that the body is read off beside those of the views.

        Returns:
            The estimates of all steps; the changes, None without a camera head.
        """
        fused = self.fusion(tokens, rays, mask)
        context, context_mask = fused.flatten(1, 2), mask.flatten(1)
        if further is not None:
            context = torch.cat((context, further.to(context)), 1)
            context_mask = torch.cat((context_mask, context_mask.new_ones(further.shape[:2])), 1)
        change = None if self.camera_head is None else self.camera_head(fused, mask)
        return self.head(context, context_mask, start), change

    def exported_network(self, side: int | None = None) -> ExportedViews:
        """Return the network by itself, for images of `side` px; the training's if None."""
        side = side or self.statistics.names.target_resolution
        if side is None:
            raise ValueError(
                'export: the side of images must be known; this checkpoint does not say it. Give --side PX.'
            )
        return ExportedViews(self, side)

    def mean_start(self, n_batch: int) -> BodyEstimate:
        """Return the training set's mean, where estimates begin."""
        mean = BodyEstimate.resting(self.statistics.mean_pose, self.body_model.n_betas, n_batch)
        return replace(mean, betas=mean.betas + self.start_betas)

    def _start(
        self, tokens: Tensor, view_mask: Tensor, cameras: Cameras
    ) -> tuple[BodyEstimate, Tensor | None]:
        """Begin at the training set's mean, turned as the views say."""
        start = self.mean_start(len(view_mask))
        if self.orientation_head is None:
            return start, None
        votes, agreed = self.orientation_head(tokens, view_mask, cameras, self.statistics.mean_pose[0])
        return start.with_root(agreed), votes

    def _maps(
        self, images: Float[Tensor, 'B C 3 H W'], view_mask: Bool[Tensor, 'B C']
    ) -> list[Float[Tensor, 'N D h w']]:
        """Run the backbone on the present views alone; finest map first."""
        maps = self.backbone(images[view_mask])
        return [maps] if isinstance(maps, Tensor) else list(maps)

    def _params(self, estimate: BodyEstimate, frame: SceneFrame) -> BodyParams:
        return BodyParams(
            global_orient=estimate.rotations[:, 0],
            body_pose=estimate.rotations[:, 1:],
            betas=estimate.betas,
            transl=estimate.position,
            scale=self.statistics.mean_scale / frame.unit * estimate.log_scale.exp(),
            log_joint_scales=estimate.log_joint_scales,
            joint_offsets=None
            if estimate.joint_offsets is None
            else self.body_model.rest_size * estimate.joint_offsets,
            part_sizes=estimate.part_sizes,
        )

    def further_losses(
        self, prediction: Prediction, inputs: Mapping[str, Tensor], data_samples: DataSamples
    ) -> dict[str, Tensor]:
        """Return losses of cameras and of the views' votes."""
        losses, mask = super().further_losses(prediction, inputs, data_samples), inputs['view_mask']
        stated: dict[str, Energies] = {}
        if prediction.camera_change is not None:
            # Present even at weight 0, so that every parameter has a gradient in every step.
            stated[CAMERA_KEY] = Energies(prediction.camera_change.square().sum(-1), mask.float())
        if prediction.votes is not None:
            stated[VOTE_KEY] = self._vote_energy(prediction.votes, mask, data_samples)
        if self.limbs is not None and prediction.limbs is not None:
            stated['heatmap'] = self.limbs.heatmap_energy(prediction.limbs.logits, inputs, data_samples)
        means = weighted_means(stated, self.loss_weights)
        losses |= {f'loss_{key}': value for key, value in means.items()}
        if self.limbs is not None:
            weight = self.loss_weights['lifter']
            losses |= {
                f'loss_lifter_{name}': weight * term for name, term in self.limbs.lifter_losses().items()
            }
        return losses

    def _vote_energy(self, votes: Tensor, view_mask: Tensor, data_samples: DataSamples) -> Energies:
        has_params = data_samples['has_params']
        known = data_samples['params']['global_orient']
        known = axis_angle_to_rotmat(torch.where(has_params[:, None], known, torch.zeros_like(known)))
        squared = (votes - known[..., :2].unsqueeze(1)).square().sum((-1, -2))
        weight = (view_mask & has_params[:, None]).float()
        if 'params_weight' in data_samples:
            weight = weight * data_samples['params_weight'][:, None]
        return Energies(squared, weight)


def _tokens(
    features: Float[Tensor, 'N D h w'], view_mask: Bool[Tensor, 'B C']
) -> tuple[Float[Tensor, 'B C n D'], tuple[int, int]]:
    """Write a map's cells as tokens; absent views have zeros."""
    grid = (features.shape[2], features.shape[3])
    tokens = features.new_zeros(*view_mask.shape, grid[0] * grid[1], features.shape[1])
    tokens[view_mask] = features.flatten(2).transpose(1, 2)
    return tokens, grid
