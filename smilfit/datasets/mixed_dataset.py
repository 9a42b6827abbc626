"""Several datasets of single images as one, each with a weight."""

import bisect
import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch.utils.data import Dataset

from smilfit.datasets.picture_dataset import PictureDataset
from smilfit.registry import DATASETS
from smilfit.structures import ModelReference

logger = logging.getLogger('smilfit')


@DATASETS.register_module()
class MixedDataset(Dataset):
    """Join datasets of single images that may differ in keypoints, cameras, size and body model.

    Samples have the union of the keypoint names, or those that are asked for; what a set does not label has
    confidence 0 there. All images come in one size. Parameters are those of the first set's body model; sets of
    another one come without.

    Args:
        datasets: at least one.
        weights: share of the samples that come from each set, by `MixedSampler`; need not sum to 1. None takes them
            by their sizes.
        keypoint_names: the K keypoints; None takes the union, in the order in which they first appear.

    Raises:
        ValueError: a set without any of the keypoints, weights that are not positive, or images of several sizes.
    """

    def __init__(
        self,
        datasets: Sequence[PictureDataset],
        weights: Sequence[float] | None = None,
        keypoint_names: Sequence[str] | None = None,
    ) -> None:
        if not datasets:
            raise ValueError('MixedDataset: there must be at least one dataset; got none.')
        self.datasets = list(datasets)
        union = dict.fromkeys(name for dataset in self.datasets for name in dataset.keypoint_names)
        self.keypoint_names = tuple(union if keypoint_names is None else keypoint_names)
        for dataset in self.datasets:
            dataset.use_keypoints(self.keypoint_names)
        sizes = [dataset.resolution for dataset in self.datasets]
        if len(set(sizes)) > 1:
            raise ValueError(
                f'MixedDataset: images must be of one size; got {sizes} px. '
                f'Give each dataset resolution={max(sizes)}.'
            )
        self.weights = (
            [float(len(d)) for d in self.datasets] if weights is None else [float(w) for w in weights]
        )
        if len(self.weights) != len(self.datasets) or not all(0 < w < float('inf') for w in self.weights):
            raise ValueError(
                f'MixedDataset: weights must be one positive number a dataset; got {self.weights} for '
                f'{len(self.datasets)}.'
            )
        self._ends = list(accumulate(len(dataset) for dataset in self.datasets))
        first = self.datasets[0].file
        self._n_centres = max(getattr(d.file, 'n_centres', 0) for d in self.datasets)
        self._same_body = [d.file.body_model_hash == first.body_model_hash for d in self.datasets]
        for dataset, same in zip(self.datasets, self._same_body):
            if not same:
                logger.info(
                    '%s: made with another body model than %s; its parameters are not used (%d images).',
                    dataset.file.path, first.path, len(dataset),
                )  # fmt: skip

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many images each set has."""
        return tuple(len(dataset) for dataset in self.datasets)

    @property
    def n_images(self) -> int:
        """How many images all sets have."""
        return sum(self.sizes)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What metrics and models need to know: the first set's, with the keypoints of all."""
        return self.datasets[0].metainfo | {'keypoint_names': self.keypoint_names}

    @property
    def body_model_file(self) -> str:
        """The body model of the first set."""
        return self.datasets[0].body_model_file

    @property
    def body_model(self) -> ModelReference | None:
        """What names that body model."""
        return self.datasets[0].body_model

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras of all sets."""
        return tuple(dict.fromkeys(name for d in self.datasets for name in d.camera_names))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, item: int) -> dict[str, Any]:
        if not 0 <= item < len(self):
            raise IndexError(f'MixedDataset: the item must be below {len(self)}; got {item}.')
        which = bisect.bisect_right(self._ends, item)
        sample = self.datasets[which][item - (self._ends[which - 1] if which else 0)]
        data = sample['data_samples']
        if not self._same_body[which]:
            data = data | self._no_params()
        data = data | _centres(data, self._n_centres)
        return {**sample, 'data_samples': data | {'dataset': torch.tensor(which)}}

    def _no_params(self) -> dict[str, Any]:
        file = self.datasets[0].file
        shapes = {
            'global_orient': (3,), 'body_pose': (len(file.joint_names) - 1, 3), 'betas': (file.n_betas,),
            'transl': (3,), 'scale': (),
        }  # fmt: skip
        params = {name: torch.zeros(shape) for name, shape in shapes.items()}
        params['scale'] = torch.ones(())
        return {'params': params, 'has_params': torch.tensor(False), 'has_betas': torch.tensor(False)}


def _centres(data: Mapping[str, Any], n: int) -> dict[str, torch.Tensor]:
    """Bring all animals' centres to those of n; a set that knows of none says nothing but its own keypoints."""
    if n == 0:
        return {}
    views = len(data['confidence2d'])
    found = data.get('centres2d', torch.zeros(views, 0, 2))
    weight = data.get('centres_weight', torch.zeros(views, 0))
    more = n - weight.shape[1]
    return {
        'centres2d': torch.cat((found, torch.zeros(views, more, 2)), 1),
        'centres_weight': torch.cat((weight, torch.zeros(views, more)), 1),
        'all_animals': data.get('all_animals', torch.ones(views, dtype=torch.bool)),
    }
