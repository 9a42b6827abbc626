"""The multi-view regressor: images and cameras of one moment to body parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.losses import Energies, reduced
from smilfit.models.heads import BodyEstimate, corrected_cameras
from smilfit.models.preprocessor import RegressorPreprocessor
from smilfit.models.regressors.loss_weights import checked_loss_weights
from smilfit.models.regressors.normaliser import mean_over_processes
from smilfit.models.regressors.parameter_losses import PARAMETER_KEYS, ParameterLosses
from smilfit.models.regressors.per_sample import body_predictions, per_sample
from smilfit.models.regressors.targets import HandlerLosses, Observation
from smilfit.models.scene import SceneFrame, cameras_of, locate_scene, patch_rays
from smilfit.models.statistics import TrainingStatistics
from smilfit.registry import MODELS, build, build_backbone, build_handler, build_head, reject_unknown
from smilfit.structures import BodyParams, Cameras

# The weights of the squared corrections of a camera head, and of every view's own vote of the heading.
CAMERA_KEY = 'camera'
VOTE_KEY = 'view_orientation'


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


@MODELS.register_module()
class MultiViewRegressor(BaseModel):
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
        camera_head: corrects the given cameras; None takes them as they are.
        orientation_head: gives the root's rotation to start from; None starts at the training set's mean.
        loss_weights: by handler key, `global_orient`, `body_pose`, `betas`, `transl`, `scale` (all 0 unless
            given; compared where a sample has parameters), `view_orientation` (each view's vote of the root's
            rotation, likewise) and `camera` (squared corrections). A handler's own
            loss weight holds unless given here. Lengths are in scene units, and 2D distances in px of a crop
            brought to 256 px, whatever the dataset's unit and crops.
        keypoint_weights: factors on named keypoints in the handlers' losses; 0 ignores one.
        intermediate_weight: factor on the losses of the head's earlier steps; the i-th of n has
            `intermediate_weight * i / n`.
        mask_side: silhouettes are compared at so many px of a crop's longer side; None at the crop's.
        data_preprocessor: casts a batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        fusion: nn.Module,
        head: nn.Module,
        body_model: nn.Module,
        handlers: Sequence[Any] = (),
        statistics: TrainingStatistics | None = None,
        camera_head: nn.Module | None = None,
        orientation_head: nn.Module | None = None,
        loss_weights: Mapping[str, float] | None = None,
        keypoint_weights: Mapping[str, float] | None = None,
        intermediate_weight: float = 0.3,
        mask_side: int | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor or RegressorPreprocessor())
        self.backbone, self.fusion, self.head, self.camera_head = backbone, fusion, head, camera_head
        self.orientation_head = orientation_head
        self.body_model = body_model
        self.statistics = statistics or TrainingStatistics.neutral(body_model.n_joints)
        self.keypoint_names = self.statistics.names.keypoint_names or body_model.joint_names
        self.handler_losses = HandlerLosses(
            body_model, handlers, self.keypoint_names, keypoint_weights, mask_side
        )
        self.parameter_losses = ParameterLosses(mean_over_processes)
        self.intermediate_weight = intermediate_weight
        self.loss_weights: dict[str, float] = {
            **{handler.handler_key: handler.loss.loss_weight for handler in handlers},
            **dict.fromkeys(PARAMETER_KEYS, 0.0),
            CAMERA_KEY: 0.0,
            VOTE_KEY: 0.0,
        }
        self.set_loss_weights(loss_weights or {})
        # As the body model's own, these are no part of a checkpoint.
        start = body_model.zero_params().betas[0].detach().float()
        self.register_buffer('start_betas', start, persistent=False)

    @classmethod
    def build_parts(cls, cfg: dict[str, Any], body: SMIL, statistics: TrainingStatistics) -> dict[str, Any]:
        """Build the parts of a config, their sizes taken from each other and from the body."""
        backbone = cfg['backbone'] = build_backbone(cfg['backbone'])
        fusion = cfg['fusion'] = build(cfg['fusion'], MODELS, in_dim=backbone.dim)
        cfg['head'] = build_head(
            cfg['head'], n_joints=body.n_joints, n_betas=body.n_betas, context_dim=fusion.dim
        )
        if cfg.get('camera_head') is not None:
            cfg['camera_head'] = build_head(cfg['camera_head'], context_dim=fusion.dim)
        if cfg.get('orientation_head') is not None:
            cfg['orientation_head'] = build_head(cfg['orientation_head'], in_dim=backbone.dim)
        cfg['handlers'] = [build_handler(handler) for handler in cfg.get('handlers', ())]
        return cfg

    def set_loss_weights(self, weights: Mapping[str, float]) -> None:
        """Change the weights of some losses; 0 switches one off.

        Raises:
            KeyError: an unknown key, with the near ones.
        """
        reject_unknown('MultiViewRegressor', 'loss key', weights, self.loss_weights)
        self.loss_weights.update(checked_loss_weights('MultiViewRegressor', weights))

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        data_samples: Mapping[str, Any] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Predict a batch.

        Args:
            inputs: `image` (B, C, 3, H, W) in [0, 1], `view_mask` and the cameras of the crops.
            data_samples: the truth, for the losses and to be handed on with predictions.
            mode: 'tensor' gives a `Prediction`, 'predict' a list with one dict a sample on the CPU, 'loss' a
                dict of losses.
        """
        if mode == 'tensor':
            return self.predict_parameters(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        raise ValueError(f"MultiViewRegressor: mode must be 'tensor', 'predict' or 'loss'; got {mode!r}.")

    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> Prediction:
        """Run the networks."""
        view_mask = inputs['view_mask']
        if not bool(view_mask.any(1).all()):
            bad = (~view_mask.any(1)).nonzero().flatten().tolist()
            raise ValueError(
                f'MultiViewRegressor: every sample must have a view; samples {bad} of the batch have none. '
                f'Drop them when preprocessing (--min-views).'
            )
        cameras = cameras_of(inputs)
        device = view_mask.device.type
        tokens, grid = self._tokens(inputs['image'], view_mask)
        with torch.autocast(device, enabled=False):
            origin = locate_scene(cameras, view_mask, self.statistics.mean_position)
            frame = SceneFrame(origin, self.statistics.scene_unit)
            rays, has_ray = patch_rays(cameras, grid, frame)
        mask = view_mask.unsqueeze(-1) & has_ray
        fused = self.fusion(tokens, rays, mask)
        start, votes = self._start(tokens, view_mask, cameras)
        estimates = self.head(fused.flatten(1, 2), mask.flatten(1), start)
        change = None if self.camera_head is None else self.camera_head(fused, mask)
        with torch.autocast(device, enabled=False):
            if change is not None:
                cameras = corrected_cameras(cameras, change, self.statistics.scene_unit)
            steps = tuple(self._params(estimate, frame) for estimate in estimates)
        return Prediction(steps, cameras, frame, change, votes)

    def _start(
        self, tokens: Tensor, view_mask: Tensor, cameras: Cameras
    ) -> tuple[BodyEstimate, Tensor | None]:
        """Begin at the training set's mean, turned as the views say."""
        mean = BodyEstimate.resting(self.statistics.mean_pose, self.head.n_betas, len(view_mask))
        start = replace(mean, betas=mean.betas + self.start_betas)
        if self.orientation_head is None:
            return start, None
        votes, agreed = self.orientation_head(tokens, view_mask, cameras, self.statistics.mean_pose[0])
        rotations = torch.cat((agreed.unsqueeze(1), start.rotations[:, 1:]), 1)
        return replace(start, rotations=rotations), votes

    def _tokens(
        self, images: Float[Tensor, 'B C 3 H W'], view_mask: Bool[Tensor, 'B C']
    ) -> tuple[Float[Tensor, 'B C N D'], tuple[int, int]]:
        """Run the backbone on the present views alone; absent ones have zeros."""
        features = self.backbone(images[view_mask])
        grid = (features.shape[2], features.shape[3])
        tokens = features.new_zeros(*view_mask.shape, grid[0] * grid[1], features.shape[1])
        tokens[view_mask] = features.flatten(2).transpose(1, 2)
        return tokens, grid

    def _params(self, estimate: BodyEstimate, frame: SceneFrame) -> BodyParams:
        return BodyParams(
            global_orient=estimate.rotations[:, 0],
            body_pose=estimate.rotations[:, 1:],
            betas=estimate.betas,
            transl=estimate.position,
            scale=self.statistics.mean_scale / frame.unit * estimate.log_scale.exp(),
        )

    def loss(self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute all losses whose weight is not 0, and counts of what was left out.

        A loss of the final step is called `loss_<key>`; those of earlier steps are summed in
        `loss_intermediate`.
        """
        if not any(weight for key, weight in self.loss_weights.items() if key not in (CAMERA_KEY, VOTE_KEY)):
            raise ValueError(
                f'MultiViewRegressor: a loss must be switched on; all of {sorted(self.loss_weights)} are 0.'
            )
        prediction = self.predict_parameters(inputs)
        answer = prediction.total()
        if not bool(mean_over_processes(answer.isfinite().float()) == 1):
            # No loss can be computed of it, nor by the others, who would wait for its share of the means.
            return {'loss_prediction': answer}
        mask, n_steps = inputs['view_mask'], len(prediction.steps)
        losses: dict[str, Tensor] = {}
        earlier: list[Tensor] = []
        with torch.autocast(mask.device.type, enabled=False):
            seen = Observation.of(data_samples, mask, prediction.cameras, prediction.frame)
            for i, params in enumerate(prediction.steps, start=1):
                terms, counts = self._terms(params, seen, prediction.frame, data_samples)
                if i == n_steps:
                    losses |= {f'loss_{key}': value for key, value in terms.items()} | counts
                elif self.intermediate_weight > 0:
                    share = self.intermediate_weight * i / n_steps
                    earlier += [share * value for value in terms.values()]
            if earlier:
                losses['loss_intermediate'] = torch.stack(earlier).sum()
            if prediction.camera_change is not None:
                # Present even at weight 0, so that every parameter has a gradient in every step.
                losses[f'loss_{CAMERA_KEY}'] = self._camera_term(prediction, mask)
            if prediction.votes is not None:
                losses[f'loss_{VOTE_KEY}'] = self._vote_term(prediction.votes, mask, data_samples)
        return losses

    def _terms(
        self, params: BodyParams, seen: Observation, frame: SceneFrame, data_samples: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        terms, counts = self.handler_losses(self.body_model, params, seen, self.loss_weights)
        if any(self.loss_weights[key] for key in PARAMETER_KEYS):
            known = BodyParams(**data_samples['params'])
            known = known.replace(transl=frame.from_world(known.transl), scale=known.scale / frame.unit)
            has_params = data_samples['has_params']
            has_betas = data_samples.get('has_betas', has_params)
            terms |= self.parameter_losses(params, known, has_params, has_betas, self.loss_weights)
        return terms, counts

    def _camera_term(self, prediction: Prediction, view_mask: Tensor) -> Tensor:
        squared = prediction.camera_change.square().sum(-1)
        return _mean(squared, view_mask.float(), self.loss_weights[CAMERA_KEY])

    def _vote_term(self, votes: Tensor, view_mask: Tensor, data_samples: Mapping[str, Any]) -> Tensor:
        has_params = data_samples['has_params']
        known = data_samples['params']['global_orient']
        known = axis_angle_to_rotmat(torch.where(has_params[:, None], known, torch.zeros_like(known)))
        squared = (votes - known[..., :2].unsqueeze(1)).square().sum((-1, -2))
        weight = (view_mask & has_params[:, None]).float()
        return _mean(squared, weight, self.loss_weights[VOTE_KEY])

    @torch.no_grad()
    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Predict each sample: parameters as axis-angle, joints, keypoints in 3D and in every crop."""
        prediction = self.predict_parameters(inputs)
        mask = inputs['view_mask']
        batch = body_predictions(
            self.body_model, prediction.params, prediction.cameras, mask, self.keypoint_names
        )
        return per_sample(batch | ({} if data_samples is None else {'truth': data_samples}), len(mask))


def _mean(terms: Tensor, weight: Tensor, factor: float) -> Tensor:
    return reduced((Energies(terms, weight),), factor, 'mean', over=mean_over_processes)
