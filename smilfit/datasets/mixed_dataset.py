"""Several datasets of single images as one, each with a weight, and how samples are drawn of them."""

import bisect
import logging
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from torch.utils.data import Dataset, Sampler

from smilfit.datasets.multi_view_dataset import MultiViewDataset, make_sample
from smilfit.datasets.store.store_layout import CentreRecord, SampleRecord
from smilfit.datasets.transforms import Sample
from smilfit.registry import DATA_SAMPLERS, DATASETS
from smilfit.structures import ModelReference

# Numbers of so many samples are kept in memory, some 10 kB each.
_MOST_RECORDS = 20_000
_OF_VIEWS = ('view_mask', 'K', 'R', 't', 'dist', 'size', 'to_original', 'keypoints2d', 'confidence2d')


@DATASETS.register_module()
class PictureDataset(MultiViewDataset):
    """Return every image of a split by itself: a sample in the documented form with one view (C = 1).

    What trains on single images (heat maps of keypoints) sees more of a recording in a batch this way, and sets of
    single images and of sessions may be mixed (`MixedDataset`).

    Args:
        data_path: as of `MultiViewDataset`, and so are the others that are not named here.
        keypoint_names: the K keypoints of the samples, in order; one that the file lacks has confidence 0. None takes
            the file's.
        sessions: use only these; None for all.
        resolution: side that images are resized to, px; None leaves them. Cameras and keypoints follow.
        views: names of the cameras to use; None for all.
        options: further arguments of `MultiViewDataset`, such as `split` and `test_mode`.

    Raises:
        ValueError: no keypoint of the file is among `keypoint_names`, or no image is left.
        KeyError: an unknown session or camera.
    """

    def __init__(
        self,
        data_path: str | Path,
        keypoint_names: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        resolution: int | None = None,
        views: Sequence[str] | int | None = None,
        **options: Any,
    ) -> None:
        if isinstance(views, int):
            raise ValueError(f'PictureDataset: views must be names of cameras or None; got {views}.')
        if resolution is not None and resolution < 8:
            raise ValueError(f'PictureDataset: resolution must be at least 8 px; got {resolution}.')
        self._names: tuple[str, ...] = ()
        super().__init__(data_path, views=views, **options)
        self._records: dict[int, SampleRecord] = {}
        self.resolution = resolution or self.file.target_resolution
        if sessions is not None:
            chosen = [self.file.session_index(name) for name in sessions]
            self.indices = self.indices[np.isin(self.file.session_of[self.indices], chosen)]
        observed = self.file.view_mask_of[self.indices]
        if views is not None:
            observed = observed & np.isin(self.file.camera_names, list(views))
        rows, cameras = np.nonzero(observed)
        self.images = np.stack((self.indices[rows], cameras), 1)
        if len(self.images) == 0:
            raise ValueError(
                f'PictureDataset: split {self.split!r} of {self.file.path} must have an image; none is left of '
                f'the sessions {list(sessions or self.file.session_names)}. Choose others.'
            )
        self.use_keypoints(self.file.keypoint_names if keypoint_names is None else keypoint_names)

    def use_keypoints(self, names: Sequence[str]) -> None:
        """Return samples with these keypoints, in this order; those that the file lacks have confidence 0.

        Raises:
            ValueError: the file has none of them.
        """
        own = list(self.file.keypoint_names)
        if not set(own) & set(names):
            raise ValueError(
                f'{self.file.path}: at least one of its keypoints must be among the {len(names)} to train '
                f'({", ".join(names)}); it has {", ".join(own)}. Preprocess it with a joint lookup that gives its '
                'keypoints these names.'
            )
        self._names = tuple(names)
        self._columns = np.array([own.index(name) if name in own else -1 for name in names])
        self._inform_transforms()

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints of the samples."""
        return self._names or self.file.keypoint_names

    @property
    def metainfo(self) -> dict[str, Any]:
        """What metrics and models need to know of the file."""
        return super().metainfo | {
            'keypoint_names': self._names,
            'target_resolution': self.resolution,
        }

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int) -> Sample:
        index, camera = (int(i) for i in self.images[item])
        record = self._one_view(self._record(index), camera)
        image = self.file.image(index, camera)
        side = image.shape[0]
        if side != self.resolution:
            image, record = _resized(image, record, self.resolution)
        sample = make_sample(
            record,
            index,
            record.view_mask,
            np.ascontiguousarray(image.transpose(2, 0, 1))[None],
            len(self.file.joint_names),
            self.file.n_betas,
        )
        sample['data_samples']['view'] = torch.tensor(camera)
        if not self.test_mode:
            for transform in self.transforms:
                sample = transform(sample)
        return sample

    def _record(self, index: int) -> SampleRecord:
        """Read a sample's numbers once: a dozen small reads take longer than its image."""
        result = self._records.get(index)
        if result is None:
            result = self.file.record(index)
            if len(self._records) < _MOST_RECORDS:
                self._records[index] = result
        return result

    def _one_view(self, record: SampleRecord, camera: int) -> SampleRecord:
        """Leave only one view and the keypoints asked for."""
        values = {name: getattr(record, name)[camera : camera + 1] for name in _OF_VIEWS}
        if record.centres is not None:
            one = slice(camera, camera + 1)
            centres = record.centres
            values['centres'] = CentreRecord(centres.xy[one], centres.known[one], centres.complete[one])
        valid = self._columns >= 0
        for name, axis in (('keypoints2d', 1), ('confidence2d', 1), ('keypoints3d', 0), ('confidence3d', 0)):
            value = np.take(values.get(name, getattr(record, name)), self._columns, axis)
            shape = (1,) * axis + (len(valid),) + (1,) * (value.ndim - axis - 1)
            values[name] = value * valid.reshape(shape)
        return replace(record, **values)


def _scaled(centres: CentreRecord, scale: float, offset: float) -> CentreRecord:
    return replace(centres, xy=np.where(centres.known[..., None], centres.xy * scale + offset, 0.0))


def _resized(image: np.ndarray, record: SampleRecord, side: int) -> tuple[np.ndarray, SampleRecord]:
    """Resize the one image of a record; camera, keypoints and the way back to original px follow."""
    import cv2

    scale = side / image.shape[0]
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    offset = 0.5 * scale - 0.5
    map_ = np.array([[scale, 0, offset], [0, scale, offset], [0, 0, 1]])
    back = np.array([[1, 0, -offset], [0, 1, -offset], [0, 0, scale]]) / scale
    original = np.concatenate((record.to_original, [[[0.0, 0.0, 1.0]]]), 1) @ back
    observed = record.confidence2d[..., None] > 0
    changed = replace(
        record,
        K=map_ @ record.K,
        size=np.full_like(record.size, float(side)),
        to_original=original[:, :2],
        keypoints2d=np.where(observed, record.keypoints2d * scale + offset, 0.0),
        centres=None if record.centres is None else _scaled(record.centres, scale, offset),
    )
    return cv2.resize(image, (side, side), interpolation=shrinks), changed


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
        self._n_centres = max(d.file.n_centres for d in self.datasets)
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
    def body_model(self) -> ModelReference:
        """What names that body model."""
        return self.datasets[0].body_model

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras of all sets."""
        return tuple(dict.fromkeys(name for d in self.datasets for name in d.camera_names))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, item: int) -> Sample:
        if not 0 <= item < len(self):
            raise IndexError(f'MixedDataset: the item must be below {len(self)}; got {item}.')
        which = bisect.bisect_right(self._ends, item)
        sample = self.datasets[which][item - (self._ends[which - 1] if which else 0)]
        data = sample['data_samples']
        if not self._same_body[which]:
            data = data | self._no_params()
        data = data | _centres(data, self._n_centres)
        return {**sample, 'data_samples': data | {'dataset': torch.tensor(which)}}

    def _no_params(self) -> dict[str, torch.Tensor | dict[str, torch.Tensor]]:
        file = self.datasets[0].file
        shapes = {
            'global_orient': (3,), 'body_pose': (len(file.joint_names) - 1, 3), 'betas': (file.n_betas,),
            'transl': (3,), 'scale': (),
        }  # fmt: skip
        params = {name: torch.zeros(shape) for name, shape in shapes.items()}
        params['scale'] = torch.ones(())
        return {'params': params, 'has_params': torch.tensor(False), 'has_betas': torch.tensor(False)}


def _centres(data: Mapping[str, torch.Tensor], n: int) -> dict[str, torch.Tensor]:
    """Bring all animals' centres to those of n; a set that knows of none has those of its own keypoints alone."""
    if n == 0:
        return {}
    views = len(data['confidence2d'])
    result = data.get('centres2d', torch.zeros(views, 0, 2))
    weight = data.get('centres_weight', torch.zeros(views, 0))
    more = n - weight.shape[1]
    return {
        'centres2d': torch.cat((result, torch.zeros(views, more, 2)), 1),
        'centres_weight': torch.cat((weight, torch.zeros(views, more)), 1),
        'all_animals': data.get('all_animals', torch.ones(views, dtype=torch.bool)),
    }


@DATA_SAMPLERS.register_module()
class MixedSampler(Sampler[int]):
    """Draw from the parts of a `MixedDataset` in proportion to their weights.

    Each epoch's order follows from the seed and the epoch alone; every process takes its own share of it, so none
    draws what another does and a resumed run goes on as an unbroken one. Within a part all samples come once before
    one comes again.

    Args:
        dataset: with `sizes` and `weights` of its parts; any other counts as one part.
        seed: of the order; the same in all processes.
        samples_per_epoch: of all processes together; None for as many as the dataset has.
        shuffle: mix the order; without, parts come one after the other, each in its own order.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int | None = None,
        samples_per_epoch: int | None = None,
        shuffle: bool = True,
    ) -> None:
        if samples_per_epoch is not None and samples_per_epoch < 1:
            raise ValueError(f'MixedSampler: samples_per_epoch must be at least 1; got {samples_per_epoch}.')
        self.rank, self.world_size = get_dist_info()
        self.sizes = tuple(getattr(dataset, 'sizes', (len(dataset),)))
        weights = torch.tensor(getattr(dataset, 'weights', [1.0]), dtype=torch.float64)
        self.shares = weights / weights.sum()
        self.seed, self.epoch, self.shuffle = seed or 0, 0, shuffle
        total = samples_per_epoch or sum(self.sizes)
        # Every process must take as many steps as the others.
        self.n_each = -(-total // self.world_size)
        self.counts = shared_out(self.n_each * self.world_size, self.shares)

    def set_epoch(self, epoch: int) -> None:
        """Return which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_each

    def __iter__(self) -> Iterator[int]:
        parts, first = [], 0
        for which, (size, count) in enumerate(zip(self.sizes, self.counts)):
            parts.append(first + self._of_part(which, size, count))
            first += size
        order = torch.cat(parts)
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=self._generator(len(self.sizes), self.epoch))]
        yield from order[self.rank :: self.world_size].tolist()

    def _of_part(self, which: int, size: int, count: int) -> torch.Tensor:
        """Return the next `count` samples of a part, going on where the epoch before ended."""
        if not self.shuffle:
            return torch.arange(count) % size
        start, chosen = self.epoch * count, []
        for cycle in range(start // size, (start + count - 1) // size + 1 if count else start // size):
            order = torch.randperm(size, generator=self._generator(which, cycle))
            chosen.append(order[max(0, start - cycle * size) : max(0, start + count - cycle * size)])
        return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.long)

    def _generator(self, which: int, cycle: int) -> torch.Generator:
        # Large odd factors keep the streams of parts and cycles separate.
        return torch.Generator().manual_seed(
            (self.seed * 1_000_003 + which * 7_919 + cycle * 104_729) % 2**63
        )


def shared_out(total: int, shares: torch.Tensor) -> list[int]:
    """Part a whole number in given shares, which sum to 1, by the largest remainders."""
    exact = shares * total
    counts = exact.floor().long()
    for i in (exact - counts).argsort(descending=True)[: total - int(counts.sum())]:
        counts[i] += 1
    return counts.tolist()
