"""Read from a training set what a regressor must know of it before training."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import default_collate

from smilfit.body_models import SMIL
from smilfit.networks.scene_frame import cameras_of, locate_scene, pixel_rays
from smilfit.networks.training_set import DataSamples, DatasetNames, SampleBatch, TrainingStatistics
from smilfit.structures import BodyParams

logger = logging.getLogger('smilfit')

# So many samples, evenly spread, give means to a few per cent; decoding them takes seconds.
MOST_SAMPLES = 512
# A frame says something of the animal's size from so many keypoints on.
_LEAST_KEYPOINTS = 3

Summarise = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]


@runtime_checkable
class TrainingSet(Protocol):
    """A set of samples of the documented form, described by `metainfo`."""

    @property
    def metainfo(self) -> Mapping[str, Any]:
        """Names of keypoints and cameras, and where the file and its body model are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Mapping[str, object]]: ...


def dataset_names(dataset: TrainingSet) -> DatasetNames:
    """Read a dataset's names from its `metainfo`."""
    meta = dict(dataset.metainfo)
    for key in ('keypoint_names', 'camera_names'):
        if not meta.get(key):
            raise ValueError(f'{type(dataset).__name__}: metainfo must hold {key}; got {sorted(meta)}.')
    return DatasetNames(
        keypoint_names=tuple(meta['keypoint_names']),
        camera_names=tuple(meta['camera_names']),
        session_names=tuple(meta.get('session_names', ())),
        unit=_text(meta.get('unit')),
        body_model_file=_text(meta.get('body_model_file')),
        body_model_hash=_text(meta.get('body_model_hash')),
        data_path=_text(meta.get('data_path')),
        landmarks=_text(meta.get('landmarks')),
        body_model=getattr(dataset, 'body_model', None),
        **{key: meta.get(key) for key in ('crop_mode', 'target_resolution', 'undistorted', 'bbox_margin')},
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def compute_statistics(
    dataset: TrainingSet,
    body: SMIL,
    names: DatasetNames | None = None,
    summarise: Summarise | None = None,
    most_samples: int = MOST_SAMPLES,
    samples: SampleBatch | None = None,
) -> TrainingStatistics:
    """Compute where a training set's animals are, their size, scale and mean pose.

    Size and position come from 3D keypoints where there are any, else from parameters, else from 2D keypoints:
    the point nearest to the rays through their centroids, and their spread there. Where no sample has two views of
    them, the animal is taken to be of the resting body's size (scale 1), which says how far away it is.

    Args:
        dataset: gives samples of the documented form, and `metainfo`.
        body: for the size of the resting animal.
        names: the dataset's names, where the caller has them.
        summarise: turns the set's 3D keypoints (n, K, 3) and where they exist (n, K) into arrays to keep
            beside the statistics, such as the baselines of an evaluation; not called where there are none.
        most_samples: look at so many samples at most.
        samples: what `look_at` gave of it, where the caller has it.
    """
    names = dataset_names(dataset) if names is None else names
    batch = look_at(dataset, most_samples) if samples is None else samples
    targets = batch['data_samples']
    xyz, visible = targets['keypoints3d'].double(), targets['confidence3d'] > 0
    params, known = _params(targets)
    _check_sizes(params, body)
    rest = body(body.zero_params(), need=names.keypoint_names).keypoints[0].detach().double().cpu()

    source = '3D keypoints'
    if not bool(enough_keypoints(visible).any()) and bool(known.any()):
        source, visible = 'parameters', known.unsqueeze(1).expand_as(visible)
        xyz = torch.zeros_like(xyz)
        posed = body(params[known].map(Tensor.float), need=names.keypoint_names).keypoints
        xyz[known] = posed.detach().double()
    enough = enough_keypoints(visible)
    if bool(enough.any()):
        centre, spread = centre_and_spread(xyz[enough], visible[enough])
        _, at_rest = centre_and_spread(rest.expand_as(xyz[enough]), visible[enough])
        position, unit = centre.mean(0), float(spread.mean())
        scale = float((spread / at_rest).median())
    else:
        source = '2D keypoints'
        _, at_rest = centre_and_spread(rest[None], torch.ones(1, len(rest), dtype=torch.bool))
        position, unit = _from_views(batch, float(at_rest))
        scale = unit / float(at_rest)
    if bool(known.any()):
        scale = float(params.scale[known].double().mean())
    statistics = TrainingStatistics(
        position.float(), unit, scale, _mean_pose(params, known, body.n_joints), names
    )
    if summarise is not None:
        statistics.summaries['mean_place'] = _mean_places(batch, names.camera_names)
    if summarise is not None and bool(enough.any()):
        statistics.summaries |= {
            key: np.asarray(value).tolist() for key, value in summarise(xyz.numpy(), visible.numpy()).items()
        }
    logger.info(
        'training set: %d samples, %d looked at; position and size from its %s: (%.3g, %.3g, %.3g), %.3g %s; '
        'mean scale %.4g',
        len(dataset), len(known), source, *position.tolist(), unit, names.unit or 'units', scale,
    )  # fmt: skip
    return statistics


def look_at(dataset: TrainingSet, most_samples: int = MOST_SAMPLES) -> SampleBatch:
    """Read samples without their images, evenly spread over a dataset, as one batch.

    Raises:
        ValueError: there is none.
    """
    if len(dataset) == 0:
        raise ValueError(
            'training set: there must be at least one sample; got none. Check data_path and split.'
        )
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), most_samples)).round().astype(int))
    return default_collate([_without_images(dataset[int(i)]) for i in chosen])


def centre_and_spread(
    points: Float[Tensor, 'n K 3'], visible: Bool[Tensor, 'n K']
) -> tuple[Float[Tensor, 'n 3'], Float[Tensor, ' n']]:
    """Return the centroid of each frame's points, and twice their RMS distance from it."""
    weight = visible.to(points.dtype).unsqueeze(-1)
    count = weight.sum(1).clamp_min(1)
    centre = (points * weight).sum(1) / count
    squared = (weight * (points - centre.unsqueeze(1)).square()).sum((1, 2)) / count.squeeze(-1)
    return centre, 2 * squared.sqrt()


def enough_keypoints(visible: Bool[Tensor, '*n K']) -> Bool[Tensor, '*n']:
    """Return which frames (or views) have keypoints enough to tell a size."""
    return visible.sum(-1) >= _LEAST_KEYPOINTS


def _mean_places(batch: SampleBatch, cameras: Sequence[str]) -> dict[str, list[list[float]]]:
    """Average where each keypoint is in each camera's images, shares of their sides; NaN where it never is."""
    targets = batch['data_samples']
    shares = targets['keypoints2d'].double() / batch['inputs']['size'].double().clamp_min(1).unsqueeze(2)
    visible = (targets['confidence2d'] > 0) & batch['inputs']['view_mask'].unsqueeze(-1)
    # Single images say which camera they are of.
    camera = (
        targets['view'].unsqueeze(1)
        if 'view' in targets
        else torch.arange(visible.shape[1]).expand(visible.shape[:2])
    )
    result = {}
    for c, name in enumerate(cameras):
        counted = visible & (camera == c).unsqueeze(-1)
        total = torch.where(counted.unsqueeze(-1), shares, 0.0).sum((0, 1))
        # No label is no place.
        result[name] = (total / counted.sum((0, 1)).unsqueeze(-1)).tolist()
    return result


def _without_images(sample: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    return {
        'inputs': {k: v for k, v in sample['inputs'].items() if k != 'image'},
        'data_samples': {k: v for k, v in sample['data_samples'].items() if k != 'mask'},
    }


def _params(targets: DataSamples) -> tuple[BodyParams, Tensor]:
    params = BodyParams.of({name: value.double() for name, value in targets['params'].items()})
    return params, targets['has_params'].bool()


def _check_sizes(params: BodyParams, body: SMIL) -> None:
    result = (params.n_joints, params.betas.shape[1])
    if result != (body.n_joints, body.n_betas):
        raise ValueError(
            f'training set: its parameters must be those of the body model {body.data.name!r} '
            f'({body.n_joints} joints, {body.n_betas} betas); got {result[0]} joints, {result[1]} betas. '
            f'Give the body model of the dataset file by --body-model.'
        )


def _mean_pose(params: BodyParams, known: Tensor, n_joints: int) -> Tensor:
    """Average rotations: the nearest rotation to the mean matrix; the root stays the identity."""
    pose = torch.eye(3).repeat(n_joints, 1, 1)
    if bool(known.any()) and n_joints > 1:
        # Imported where it is used: it takes a second.
        import roma

        pose[1:] = roma.special_procrustes(params.rotations()[known, 1:].mean(0)).float()
    return pose


def _from_views(batch: SampleBatch, at_rest: float) -> tuple[Tensor, float]:
    """Estimate the mean position and size from 2D keypoints, their centroids' rays and their spread."""
    inputs, targets = batch['inputs'], batch['data_samples']
    cameras = cameras_of(inputs)
    xy, visible = targets['keypoints2d'].float(), targets['confidence2d'] > 0
    usable = inputs['view_mask'] & enough_keypoints(visible)
    frames = usable.any(1)
    if not bool(frames.any()):
        raise ValueError(
            f'training set: a view must show {_LEAST_KEYPOINTS} keypoints, or 3D keypoints or parameters must '
            f'be known; none does and none is. There is nothing to learn from.'
        )
    flat = torch.cat((xy, torch.zeros_like(xy[..., :1])), -1).flatten(0, 1)
    centre, spread = centre_and_spread(flat, visible.flatten(0, 1))
    centre, spread = centre[:, :2].unflatten(0, usable.shape), spread.unflatten(0, usable.shape)
    centre = torch.where(usable.unsqueeze(-1), centre, (cameras.size - 1) / 2)
    # An image shows two of three dimensions: size per distance.
    angle = math.sqrt(3 / 2) * spread / cameras.K[..., 0, 0]
    if not bool((usable.sum(1) > 1).any()):
        directions, _ = pixel_rays(cameras, centre.unsqueeze(2))
        places = cameras.centres() + directions.squeeze(2) * (at_rest / angle).unsqueeze(-1)
        # Few keypoints close together would put the animal anywhere: the median does not mind.
        return places[usable].median(0).values.double(), at_rest
    prior = cameras.centres()[usable].mean(0)
    origins = locate_scene(cameras, usable, prior, centre)
    distance = (cameras.centres() - origins.unsqueeze(1)).norm(dim=-1)
    return origins[frames].mean(0).double(), float((angle * distance)[usable].mean())
