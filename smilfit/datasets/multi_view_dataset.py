"""Multi-view samples of a dataset file, as a regressor takes them."""

import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from smilfit.body_models.smil_json import landmarks_out
from smilfit.datasets.open_dataset import open_dataset
from smilfit.datasets.splits import LEAST_SESSIONS, SPLITS, chosen_split, split_samples
from smilfit.datasets.store_layout import PARAM_NAMES, CentreRecord, SampleRecord
from smilfit.registry import DATASETS, build_transform, did_you_mean
from smilfit.structures import ModelReference

logger = logging.getLogger('smilfit')
_OF_THE_SAME = (
    '%s: too few sessions (%d) to hold whole ones out, so the test split is stretches of those that are trained on; '
    'its figures say little of other animals. With %d sessions or more whole ones are held out. Of a file that '
    'nothing was trained on take all: test_dataloader.dataset.split=all.'
)


@DATASETS.register_module()
class MultiViewDataset(Dataset):
    """Give nested-tensor samples (see `docs/architecture.md`) of one split of a dataset file.

    Every worker process opens the file for itself.

    Args:
        data_path: a file of `tools/preprocess.py`.
        split: 'train', 'val', 'test' or 'all'.
        split_by: 'time_block', 'session' or 'auto'; see `split_samples`, also for the next three.
        ratios: shares of train, val and test.
        block_size: least samples a stretch of time.
        gap: frames kept out between splits.
        fraction: share of the split's samples to use, evenly spaced in time.
        views: names of the cameras to use, or how many at most a sample (drawn anew each time; the first ones
            with `test_mode`); None for all.
        transforms: called one after the other with the sample; objects or configs. Not called with
            `test_mode`.
        test_mode: give the samples as they are stored, always the same.

    Raises:
        ValueError: a split without samples, or options that are out of range.
    """

    def __init__(
        self,
        data_path: str | Path,
        split: str = 'train',
        split_by: str = 'time_block',
        ratios: Sequence[float] = (0.85, 0.05, 0.1),
        block_size: int = 100,
        gap: int = 2,
        fraction: float = 1.0,
        views: Sequence[str] | int | None = None,
        transforms: Sequence[Any] = (),
        test_mode: bool = False,
    ) -> None:
        self.file = open_dataset(data_path)
        self.file.require_images('training on images')
        self.split, self.test_mode = split, test_mode
        self.transforms: list[Callable[[dict], dict]] = [build_transform(t) for t in transforms]
        self._views = self._check_views(views)
        if not 0 < fraction <= 1:
            raise ValueError(f'MultiViewDataset: fraction must be in (0, 1]; got {fraction}.')
        self.indices = self._choose(split, split_by, ratios, block_size, gap, fraction)
        self._inform_transforms()

    @property
    def metainfo(self) -> dict[str, Any]:
        """What metrics and models need to know of the file."""
        file = self.file
        return {
            'keypoint_names': file.keypoint_names,
            'joint_names': file.joint_names,
            'n_betas': file.n_betas,
            'camera_names': file.camera_names,
            'session_names': file.session_names,
            'body_model_file': file.body_model_file,
            'body_model_hash': file.body_model_hash,
            # Text, as checkpoints keep what stands here.
            'landmarks': json.dumps(landmarks_out(getattr(file, 'landmarks', {}))),
            'unit': file.unit,
            'target_resolution': file.target_resolution,
            'crop_mode': getattr(file, 'crop_mode', None),
            'undistorted': getattr(file, 'undistorted', None),
            'bbox_margin': getattr(file, 'options', {}).get('bbox_margin'),
            'data_path': str(file.path),
            'split': self.split,
        }

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints."""
        return self.file.keypoint_names

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the C cameras, the union of all sessions'."""
        return self.file.camera_names

    @property
    def body_model_file(self) -> str:
        """The body model that the file was made with."""
        return self.file.body_model_file

    @property
    def body_model(self) -> ModelReference | None:
        """What names that body model; None of files of other programs."""
        return getattr(self.file, 'body_model', None)

    @property
    def n_images(self) -> int:
        """How many images its samples have together."""
        return int(self.file.view_mask_of[self.indices].sum())

    @property
    def session_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the split's sessions and frames, (n,) each."""
        return self.file.session_of[self.indices], self.file.frame_of[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> dict[str, Any]:
        index = int(self.indices[item])
        record = self.file.record(index)
        mask = self._choose_views(record.view_mask)
        sample = make_sample(
            record, index, mask, self._images(index, mask), len(self.file.joint_names), self.file.n_betas
        )
        if self.file.has_masks:
            sample['data_samples'] |= self._masks(index, mask)
        if not self.test_mode:
            for transform in self.transforms:
                sample = transform(sample)
        return sample

    def _inform_transforms(self) -> None:
        """Tell transforms that ask for it which file and keypoints they are of."""
        for transform in self.transforms:
            if hasattr(transform, 'use_dataset'):
                transform.use_dataset(self.file, self.keypoint_names)

    def _images(self, index: int, mask: np.ndarray) -> np.ndarray:
        side = self.file.target_resolution
        images = np.zeros((len(mask), 3, side, side), np.uint8)
        for c in np.flatnonzero(mask):
            images[c] = self.file.image(index, int(c)).transpose(2, 0, 1)
        return images

    def _masks(self, index: int, view_mask: np.ndarray) -> dict[str, torch.Tensor]:
        side = self.file.target_resolution
        masks, there = np.zeros((len(view_mask), side, side), np.uint8), np.zeros_like(view_mask)
        for c in np.flatnonzero(view_mask):
            found = self.file.mask(index, int(c))
            if found is not None:
                masks[c], there[c] = found, True
        return {'mask': torch.from_numpy(masks), 'has_mask': torch.from_numpy(there)}

    def _check_views(self, views: Sequence[str] | int | None) -> Sequence[str] | int | None:
        if isinstance(views, int) and views < 1:
            raise ValueError(f'MultiViewDataset: views must be at least 1; got {views}.')
        if views is not None and not isinstance(views, int):
            for name in views:
                if name not in self.file.camera_names:
                    hint = did_you_mean(name, self.file.camera_names)
                    raise ValueError(f'MultiViewDataset: no camera {name!r} in {self.file.path}. {hint}')
        return views

    def _choose_views(self, mask: np.ndarray) -> np.ndarray:
        if self._views is None:
            return mask
        if not isinstance(self._views, int):
            return mask & np.isin(self.file.camera_names, list(self._views))
        present = np.flatnonzero(mask)
        if not self.test_mode:
            present = present[torch.randperm(len(present)).numpy()]
        chosen = np.zeros_like(mask)
        chosen[present[: self._views]] = True
        return chosen

    def _choose(
        self, split: str, split_by: str, ratios: Sequence[float], block_size: int, gap: int, fraction: float
    ) -> np.ndarray:
        file = self.file
        if split == 'all':
            indices = np.arange(file.n_samples)
        elif split in SPLITS:
            order = (file.session_of, file.frame_of, file.session_names)
            temporal = [file.temporal(name) for name in file.session_names]
            parts = split_samples(*order, split_by, ratios, block_size, gap, temporal)
            indices = parts[split]
            by = chosen_split(split_by, len(file.session_names))
            if split == 'test' and split_by == 'auto' and by == 'time_block':
                logger.warning(_OF_THE_SAME, file.path, len(file.session_names), LEAST_SESSIONS)
        else:
            known = (*SPLITS, 'all')
            raise ValueError(
                f'MultiViewDataset: split must be one of {known}; got {split!r}. {did_you_mean(split, known)}'
            )
        seen = file.view_mask_of[indices]
        if self._views is not None and not isinstance(self._views, int):
            seen = seen & np.isin(file.camera_names, list(self._views))
        if not seen.any(1).all():
            which = 'no view' if self._views is None else f'none of the views {self._views}'
            logger.info('%s: %d samples have %s.', file.path, (~seen.any(1)).sum(), which)
        indices = indices[seen.any(1)]
        if len(indices) == 0:
            raise ValueError(
                f'MultiViewDataset: split {split!r} of {file.path} must have a sample; of {file.n_samples} samples '
                f'none is left with split_by={split_by!r}, ratios={tuple(ratios)}, gap={gap}. '
                'Change these, or record more.'
            )
        n = max(1, math.ceil(fraction * len(indices)))
        return indices[np.linspace(0, len(indices) - 1, n).round().astype(np.int64)]


def make_sample(
    record: SampleRecord, index: int, view_mask: np.ndarray, images: np.ndarray, n_joints: int, n_betas: int
) -> dict[str, Any]:
    """Bring a stored sample into the nested tensors that travel; an absent view is zeros.

    Args:
        record: what was stored.
        index: its number in the file.
        view_mask: the views to give, (C,).
        images: (C, 3, H, W) uint8, zeros where there is no view.
        n_joints: J of the body model.
        n_betas: S of the body model.
    """

    def views(array: np.ndarray) -> torch.Tensor:
        shape = (len(view_mask),) + (1,) * (array.ndim - 1)
        return torch.from_numpy((array * view_mask.reshape(shape)).astype(np.float32))

    params = {
        'global_orient': np.zeros(3),
        'body_pose': np.zeros((n_joints - 1, 3)),
        'betas': np.zeros(n_betas) if record.betas is None else record.betas,
        'transl': np.zeros(3),
        'scale': np.ones(()),
    }
    params |= {name: record.params[name] for name in PARAM_NAMES} if record.params is not None else {}
    return {
        'inputs': {
            'image': torch.from_numpy(images),
            'view_mask': torch.from_numpy(view_mask.copy()),
            **{name: views(getattr(record, name)) for name in ('K', 'R', 't', 'dist', 'size')},
        },
        'data_samples': {
            'keypoints2d': views(record.keypoints2d),
            'confidence2d': views(record.confidence2d),
            'keypoints3d': torch.from_numpy(record.keypoints3d.astype(np.float32)),
            'confidence3d': torch.from_numpy(record.confidence3d.astype(np.float32)),
            'to_original': views(record.to_original),
            'params': {name: torch.from_numpy(np.asarray(v, np.float32)) for name, v in params.items()},
            'has_params': torch.tensor(record.params is not None),
            'has_betas': torch.tensor(record.params is not None or record.betas is not None),
            'params_weight': torch.tensor(1.0),
            'session': torch.tensor(record.session),
            'frame': torch.tensor(record.frame),
            'index': torch.tensor(index),
            **_centres(record.centres, view_mask),
        },
    }


def _centres(centres: CentreRecord | None, view_mask: np.ndarray) -> dict[str, torch.Tensor]:
    """Give all animals' centres, where the file says where others are."""
    if centres is None:
        return {}
    known = centres.known & view_mask[:, None]
    return {
        'centres2d': torch.from_numpy((centres.xy * known[..., None]).astype(np.float32)),
        'centres_weight': torch.from_numpy(known.astype(np.float32)),
        'all_animals': torch.from_numpy(centres.complete & view_mask),
    }
