"""The keypoint regressor: see keypoints densely, let the views meet in space, lift the points to the body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.body_models.sides import mirrored_order
from smilfit.losses import CentreHeatmapLoss, Energies, HeatmapLoss
from smilfit.networks.animals.several_animals import AnimalSearch, without_twins
from smilfit.networks.exported_networks import ExportedHeatmaps
from smilfit.networks.heads.heatmap_head import KeypointHeatmapHead
from smilfit.networks.keypoints.consensus import MeetInSpace
from smilfit.networks.keypoints.consensus_loss import consensus_energy
from smilfit.networks.keypoints.crop_augment import CropAugment, CropBatch, swap_where
from smilfit.networks.keypoints.keypoint_targets import CentreTargets, ImageTargets
from smilfit.networks.keypoints.keypoint_targets import keypoint_weights as weights_of_keypoints
from smilfit.networks.keypoints.limb_maps import built_parts
from smilfit.networks.keypoints.two_passes import Sighting, TwoPasses
from smilfit.networks.lifter.lifted_refinement import Refined, Refinement
from smilfit.networks.lifter.point_evidence import PointEvidence
from smilfit.networks.lifter.point_lifter import LifterTruth, PointLifter
from smilfit.networks.regressors.modal_regressor import (
    ModalRegressor,
    PartConfigs,
    PredictedSample,
    RegressorPreprocessor,
    body_predictions,
    chosen_rows,
    per_sample,
)
from smilfit.networks.regressors.parameter_losses import weighted_means
from smilfit.networks.scene_frame import cameras_of
from smilfit.networks.training_set import DataSamples, TrainingStatistics
from smilfit.registry import MODELS, build, build_backbone, build_registrant
from smilfit.structures import BodyParams, Cameras


@dataclass(frozen=True)
class CropMoments:
    """Maps of B moments of C views under the cameras of their crops; keypoints have their own names in mirrored ones.

    `features` are of the N views that are there.
    """

    logits: Float[Tensor, 'B C K h w']
    features: Float[Tensor, 'N F i j'] | None
    cameras: Cameras
    view_mask: Bool[Tensor, 'B C']

    @classmethod
    def of(
        cls,
        logits: Float[Tensor, 'N K h w'],
        features: Float[Tensor, 'N F i j'] | None,
        crops: CropBatch,
        inputs: Mapping[str, Tensor],
        swap: Int[Tensor, ' K'] | None,
    ) -> 'CropMoments':
        """Take the crops of the N views that are there.

        Args:
            logits: of the crops, by the names of the crops.
            features: of the crops.
            crops: in the order of the batch's present views.
            inputs: of the batch.
            swap: as it was handed to the augmentation.
        """
        mask = inputs['view_mask']
        if swap is not None:
            # In a mirrored crop the left one is where the right one is.
            logits = swap_where(crops.mirrored, logits, swap)
        maps = logits.new_zeros(mask.numel(), *logits.shape[1:])
        affine = crops.affine.new_zeros(mask.numel(), 2, 3)
        affine[:, :, :2] = torch.eye(2).to(affine)
        maps[mask.flatten()], affine[mask.flatten()] = logits, crops.affine
        affine = affine.unflatten(0, mask.shape)
        size = affine.new_full((*mask.shape, 2), float(crops.images.shape[-1]))
        cameras = cameras_of(inputs).transformed(affine, size)
        return cls(maps.unflatten(0, mask.shape), features, cameras, mask)

    def evidence(self, vision: TwoPasses, extent: Float[Tensor, '']) -> PointEvidence:
        """Let the views meet, without a gradient, as they do in a prediction.

        Args:
            vision: its consensus.
            extent: see `TwoPasses.forward`.
        """
        features = None if self.features is None else self.features.detach()
        points, read = vision.meet(self.logits.detach(), features, self.cameras, self.view_mask, extent)
        return PointEvidence.of(points, self.cameras, self.view_mask, read)


# Two animals whose points are nearer to one another than this share of the animal's extent (RMS) are one.
TWINS = 0.12
LOSS_KEYS = ('heatmap', 'centre', 'consensus', 'lifter', 'seen')


@dataclass(frozen=True)
class KeypointPrediction:
    """What the views showed, and the body that it was lifted to (world; None without a lifter).

    `params` are the refined ones where there is a refinement, `lifted` those before.
    """

    sighting: Sighting
    params: BodyParams | None
    lifted: BodyParams | None = None
    refined: Refined | None = None


@MODELS.register_module()
class KeypointRegressor(ModalRegressor):
    """Predict keypoints, and the body that they are of, from any number of views.

    A network gives one heat map a keypoint and view; the views meet in space (`MeetInSpace`); a small network lifts
    the points to the body's parameters. The first learns from single images, with no parameters and no 3D needed; the
    last from poses of the body model, with no images at all. `refine` takes some steps of optimisation from there.

    Args:
        backbone: images (N, 3, S, S) in [0, 1] to maps, finest first.
        heatmap_head: maps to logits.
        body_model: the body.
        statistics: of the training set.
        boxes: where to look; see `OwnBoxes` and `GivenBoxes`.
        consensus: lets the views meet.
        lifter: points to parameters; None gives keypoints only.
        refine: a `Refinement` for `predict`; None takes the lifted parameters.
        heatmap_loss: of the maps.
        centre_loss: of the map of centres, where the head gives one.
        augment: cuts crops out of training images.
        search: finds several animals, for `predict_animals`.
        lifter_samples: poses that the lifter learns from in a step.
        feature_map: which of the backbone's maps the lifter reads at the keypoints, such as -1 for the coarsest; None
            for none. It learns to by the loss `seen`.
        loss_weights: by key: `heatmap`, `centre`, `lifter` (on drawn bodies); 1 unless given. 0 unless given, because
            they ask for trained maps: `consensus`, of the points where several views of a sample meet, and `seen`, of
            the body lifted from what a sample's views show.
        keypoint_weights: factors on named keypoints; 0 ignores one.
        hidden_weight: of keypoints whose place in an image is known only from their place in space.
        half_precision: run the network in bfloat16; None where the device is fast with it.
        data_preprocessor: casts a batch.
    """

    finds_boxes = True
    swap: Tensor | None
    keypoint_weights: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        heatmap_head: KeypointHeatmapHead,
        body_model: SMIL,
        statistics: TrainingStatistics,
        boxes: nn.Module,
        consensus: MeetInSpace,
        lifter: PointLifter | None = None,
        refine: Refinement | None = None,
        heatmap_loss: HeatmapLoss | None = None,
        centre_loss: CentreHeatmapLoss | None = None,
        augment: CropAugment | None = None,
        search: AnimalSearch | None = None,
        lifter_samples: int = 128,
        feature_map: int | None = None,
        loss_weights: Mapping[str, float] | None = None,
        keypoint_weights: Mapping[str, float] | None = None,
        hidden_weight: float = 0.5,
        half_precision: bool | None = False,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor or RegressorPreprocessor())
        augment = augment or CropAugment()
        if getattr(backbone, 'cache', None) is not None and augment.n_versions is None:
            raise ValueError(
                'KeypointRegressor: what is kept of images must be of crops that come again; the augmentation draws '
                'others in every epoch. Set zoom=0, shift=0, rotation_deg=0 and the noise to 0, as '
                'configs/train/keypoint_frozen.py does, or leave the cache out.'
            )
        if feature_map is not None and augment.mirror:
            raise ValueError(
                f'KeypointRegressor: a lifter that reads pictures must see them as they are, for a mirrored one '
                f'shows another pose; got feature_map={feature_map} and mirror={augment.mirror}. Set '
                'model.augment.mirror=0.'
            )
        self.vision = TwoPasses(
            backbone, heatmap_head, boxes, consensus, augment.side, half_precision, feature_map
        )
        self.body_model, self.statistics = body_model, statistics
        self.lifter, self.refine, self.lifter_samples = lifter, refine, lifter_samples
        self.heatmap_loss = heatmap_loss or HeatmapLoss()
        self.centre_loss = centre_loss or CentreHeatmapLoss()
        self.augment, self.hidden_weight = augment, hidden_weight
        self.search = search or AnimalSearch()
        self.keypoint_names = statistics.names.keypoint_names or body_model.joint_names
        order = mirrored_order(self.keypoint_names, body_model.data) if augment.mirror else None
        self.register_buffer('swap', None if order is None else torch.tensor(order), persistent=False)
        weights = weights_of_keypoints(self.keypoint_names, keypoint_weights)
        self.register_buffer('keypoint_weights', weights, persistent=False)
        self.loss_weights = dict.fromkeys(LOSS_KEYS, 1.0) | {'consensus': 0.0, 'seen': 0.0}
        self.set_loss_weights(loss_weights or {})

    @classmethod
    def build_parts(cls, cfg: PartConfigs, body: SMIL, statistics: TrainingStatistics) -> PartConfigs:
        """Build the parts of a config, their sizes taken from each other, from the body and the training set."""
        backbone = cfg['backbone'] = build_backbone(cfg['backbone'])
        cfg |= built_parts(cfg, backbone, body, statistics)
        if cfg.get('refine') is not None:
            refine = dict(cfg['refine'])
            refine['registrant'] = build_registrant(refine['registrant'], body_model=body)
            cfg['refine'] = build(refine, MODELS)
        return cfg

    @property
    def label_needs(self) -> dict[str, str]:
        """Return which labels losses need: the lifter learns from poses that are drawn."""
        labels = {'heatmap': 'keypoints', 'centre': 'keypoints'}
        return labels | {'consensus': 'keypoints3d', 'seen': 'keypoints3d'}

    def loss(self, inputs: Mapping[str, Tensor], data_samples: DataSamples) -> dict[str, Tensor]:
        """Compute the losses of the maps, from crops cut at random, and of the lifter, from poses drawn at random."""
        targets = ImageTargets.of_batch(inputs, data_samples, self.keypoint_weights, self.hidden_weight)
        everyone = CentreTargets.of_batch(data_samples, targets) if self.vision.head.centre else None
        images, px, weight = inputs['image'].flatten(0, 1), targets.px, targets.weight
        several = inputs['view_mask'].shape[1] > 1
        if several:
            # Of samples with one view each none is absent, and nothing need be asked of the device.
            present = inputs['view_mask'].flatten()
            images, px, weight = images[present], px[present], weight[present]
            everyone = None if everyone is None else everyone[present]
        crops = self.augment(images, px, weight, self.swap)
        logits, features = self.vision.network(crops.images)
        maps, centres = self.vision.head.split(logits)
        stride = self.vision.head.stride
        stated = {'heatmap': self.heatmap_loss.energy(maps, crops.px, crops.weight, stride)}
        if centres is not None and everyone is not None:
            shown = everyone.moved(crops.affine)
            region = shown.region((centres.shape[-2], centres.shape[-1]), stride)
            stated['centre'] = self.centre_loss.energy(centres, shown.px, shown.weight, stride, region)
        weights = dict(self.loss_weights)
        of_points = several and weights['consensus'] > 0
        lifter = self.lifter if weights['seen'] > 0 else None
        if of_points or lifter is not None:
            moments = CropMoments.of(maps, features, crops, inputs, self.swap)
            if of_points:
                stated['consensus'] = self._consensus(moments, data_samples)
            if lifter is not None:
                energies = self._lifted_energies(lifter, moments, data_samples)
                stated |= {f'seen_{name}': terms for name, terms in energies.items()}
                own = lifter.loss_weights
                weights |= {f'seen_{name}': weights['seen'] * own[name] for name in energies}
        means = weighted_means(stated, weights)
        losses = {f'loss_{key}': value for key, value in means.items()}
        if self.lifter is not None:
            terms = self.lifter.loss(self.lifter_samples)
            losses |= {
                f'loss_lifter_{k.removeprefix("loss_")}': weights['lifter'] * v for k, v in terms.items()
            }
        return losses

    def _consensus(self, moments: CropMoments, data_samples: DataSamples) -> Energies:
        """State how far from the truth the crops of each sample meet."""
        return consensus_energy(
            *(moments.logits, self.vision.head.stride, moments.cameras, moments.view_mask),
            data_samples['keypoints3d'],
            data_samples['confidence3d'] * (self.keypoint_weights > 0),
            self.statistics.scene_unit,
        )

    def _lifted_energies(
        self, lifter: PointLifter, moments: CropMoments, data_samples: DataSamples
    ) -> dict[str, Energies]:
        """State what the body misses that is lifted from the crops of each sample."""
        truth = LifterTruth.of(
            data_samples['keypoints3d'],
            data_samples['confidence3d'] * (self.keypoint_weights > 0),
            BodyParams.of(data_samples['params']),
            data_samples['has_params'],
            data_samples.get('has_betas'),
            data_samples.get('params_weight'),
        )
        return lifter.energies(moments.evidence(self.vision, self.statistics.scene_unit), truth)

    def compile_network(self, **options: Any) -> None:
        """Let torch.compile write the network of heat maps; see `TwoPasses.compile_network`."""
        self.vision.compile_network(**options)

    def exported_network(self, side: int | None = None) -> ExportedHeatmaps:
        """Return the network of heat maps by itself, for images of `side` px; those of its crops if None."""
        vision = self.vision
        return ExportedHeatmaps(vision.backbone, vision.head, side or vision.side, self.keypoint_names)

    @torch.no_grad()
    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> KeypointPrediction:
        """Look, lift what was seen, and refine that."""
        return self._lifted(
            self.vision(inputs['image'], inputs['view_mask'], cameras_of(inputs), self.statistics.scene_unit)
        )

    def _lifted(self, sighting: Sighting) -> KeypointPrediction:
        """Lift what was seen, and refine that."""
        if self.lifter is None:
            return KeypointPrediction(sighting, None)

        points, cameras = sighting.points, sighting.cameras
        lifted = self.lifter(PointEvidence.of(points, cameras, sighting.view_mask, sighting.features))
        if self.refine is None:
            return KeypointPrediction(sighting, lifted, lifted)
        observed = points.keypoints2d(self.keypoint_names, cameras)
        refined = self.refine(lifted, observed, modes=points.heatmap_modes())
        return KeypointPrediction(sighting, refined.params, lifted, refined)

    @torch.no_grad()
    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: DataSamples | None = None
    ) -> list[PredictedSample]:
        """Predict each sample: parameters as axis-angle, joints, keypoints in space and in every image, boxes.

        `uncertainty` is the covariance (K, 3, 3) of the refined body's keypoints, infinite where nothing tells.
        `keypoints3d` and `keypoints2d` are the body's, `points3d` and `seen2d` what the heat maps say; without a
        lifter they are the same. All px are of the given images.
        """
        return self._samples(self.predict_parameters(inputs), inputs, data_samples)

    @torch.no_grad()
    def predict_animals(
        self, inputs: Mapping[str, Tensor], data_samples: DataSamples | None = None, most: int = 2
    ) -> tuple[list[list[PredictedSample]], dict[str, int]]:
        """Predict up to `most` animals in each sample.

        Returns:
            For each sample its animals, each as `predict` gives it, with `sure`: False where the views' detections
            could be paired otherwise nearly as well. Those of one sample are in no order. And counts of what was left
            out, by reason.

        Raises:
            ValueError: the model gives no map of centres.
        """
        if not self.vision.head.centre:
            raise ValueError(
                'KeypointRegressor: several animals need a map of centres; this model gives none. Train with '
                'heatmap_head=dict(centre=True), as configs/train/keypoint_several.py does.'
            )
        unit, mask = self.statistics.scene_unit, inputs['view_mask']
        sighting, result = self.vision.several(
            inputs['image'], mask, cameras_of(inputs), unit, self.search, most
        )
        counts = dict(result.counts)
        animals: list[list[PredictedSample]] = [[] for _ in range(len(mask))]
        if sighting is None:
            return animals, counts | {'twins': 0}
        points = sighting.points
        keep = without_twins(result.moment, points.xyz, points.confidence, TWINS * float(unit))
        counts['twins'] = int((~keep).sum())
        rows = result.moment
        # Images are not asked for any more.
        shown = {name: value[rows] for name, value in inputs.items() if name != 'image'}
        truth = None if data_samples is None else chosen_rows(data_samples, rows)
        samples = self._samples(self._lifted(sighting), shown, truth)
        for sample, moment, kept, sure in zip(samples, rows.tolist(), keep.tolist(), result.sure.tolist()):
            if kept:
                animals[moment].append(sample | {'sure': torch.tensor(sure)})
        return animals, counts

    def _samples(
        self,
        prediction: KeypointPrediction,
        inputs: Mapping[str, Tensor],
        data_samples: DataSamples | None,
    ) -> list[PredictedSample]:
        sighting, mask = prediction.sighting, inputs['view_mask']
        points = sighting.points
        pixels = sighting.pixels()
        batch = {
            'points3d': points.xyz,
            'points_confidence': points.confidence,
            'points_covariance': points.covariance,
            'seen2d': pixels,
            'seen_confidence': points.pixel_confidence * sighting.view_mask.unsqueeze(-1),
            'boxes': sighting.boxes,
            'view_mask': mask,
            **({} if data_samples is None else {'truth': data_samples}),
        }
        if prediction.params is None:
            batch |= {'keypoints3d': points.xyz, 'keypoints2d': pixels}
        else:
            batch |= body_predictions(
                self.body_model, prediction.params, cameras_of(inputs), mask, self.keypoint_names
            )
        if prediction.refined is not None:
            refined = prediction.refined
            batch |= {'refined': refined.refined, 'refined_energy': refined.energy}
            if refined.uncertainty is not None:
                batch['uncertainty'] = refined.uncertainty.keypoints
        return per_sample(batch, len(mask))
