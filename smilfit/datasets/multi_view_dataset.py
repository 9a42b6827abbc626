"""Multi-view samples of a dataset file, as a regressor takes them."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import Dataset

from smilfit.body_models.files.smil_json import landmarks_out
from smilfit.datasets.store.store_layout import PARAM_NAMES, CentreRecord, SampleRecord
from smilfit.datasets.store.store_reader import open_dataset
from smilfit.datasets.transforms import Sample
from smilfit.registry import DATASETS, build_transform, did_you_mean
from smilfit.structures import ModelReference

SPLITS = ('train', 'val', 'test')
SPLIT_BYS = ('time_block', 'session', 'auto')
# From so many sessions on 'auto' holds whole ones out.
LEAST_SESSIONS = 5


def split_samples(
    session: Int[np.ndarray, 'N'],
    frame: Int[np.ndarray, 'N'],
    session_names: Sequence[str],
    split_by: str = 'time_block',
    ratios: Sequence[float] = (0.85, 0.05, 0.1),
    block_size: int = 100,
    gap: int = 2,
    temporal: Sequence[bool] | None = None,
) -> dict[str, Int[np.ndarray, ' _n']]:
    """Return the sample numbers of each split, in order; the same in every run and on every machine.

    Args:
        session: each sample's session.
        frame: each sample's frame in its session.
        session_names: names of the sessions.
        split_by: 'time_block' lays all sessions end to end and repeats stretches of train, val and test over
            them; 'session' deals out whole sessions; 'auto' is 'session' for 5 sessions or more, else 'time_block'.
        ratios: shares of train, val and test; their sum is 1.
        block_size: least samples of the shortest stretch; where the file has fewer, each split is one stretch.
        gap: training samples within this many frames of a held-out one are in no split, and validation samples
            within it of a test sample; 0 keeps all.
        temporal: which sessions' samples follow one another; stills have no neighbours to keep a gap from. None
            for all.

    Raises:
        ValueError: ratios that are no shares, or sessions too few for 'session'.
    """
    if len(ratios) != 3 or any(r < 0 for r in ratios) or not math.isclose(sum(ratios), 1.0, abs_tol=1e-6):
        raise ValueError(
            f'split: ratios must be three shares (train, val, test) of sum 1; got {tuple(ratios)}.'
        )
    if block_size < 1 or gap < 0:
        raise ValueError(f'split: block_size must be at least 1 and gap 0; got {block_size} and {gap}.')
    split_by = chosen_split(split_by, len(session_names))
    if split_by == 'session':
        label = _by_session(session_names, ratios)[session]
    elif split_by == 'time_block':
        label = _by_time_block(len(session), ratios, block_size)
        in_time = [s for s in np.unique(session).tolist() if temporal is None or temporal[s]]
        label = _open_gaps(label, session, frame, gap, in_time)
    else:
        raise ValueError(
            f'split: split_by must be one of {SPLIT_BYS}; got {split_by!r}. {did_you_mean(split_by, SPLIT_BYS)}'
        )
    return {name: np.flatnonzero(label == i) for i, name in enumerate(SPLITS)}


def chosen_split(split_by: str, n_sessions: int) -> str:
    """Return what 'auto' is for so many sessions; others stay."""
    if split_by != 'auto':
        return split_by
    return 'session' if n_sessions >= LEAST_SESSIONS else 'time_block'


def _by_session(names: Sequence[str], ratios: Sequence[float]) -> np.ndarray:
    """Deal out sessions in an order that depends on their names only, one at least to each wanted split."""
    wanted = [i for i in range(3) if ratios[i] > 0]
    if len(names) < len(wanted):
        raise ValueError(
            f'split: sessions must be at least {len(wanted)} to split by session; got {len(names)}. '
            "Use split_by='time_block', or set the ratio of a split to 0."
        )
    # Recording order follows the date, and with it light and animal: a hash of the name does not.
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).hexdigest())
    counts = [max(1, round(ratios[i] * len(names))) if i in wanted else 0 for i in range(3)]
    while sum(counts) != len(names):
        change = 1 if sum(counts) < len(names) else -1
        best = max(
            wanted, key=lambda i: (change > 0 or counts[i] > 1, change * (ratios[i] * len(names) - counts[i]))
        )
        counts[best] += change
    label = np.empty(len(names), np.int64)
    label[order] = np.repeat([0, 1, 2], counts)
    return label


def _by_time_block(n: int, ratios: Sequence[float], block_size: int) -> np.ndarray:
    """Repeat a stretch of train, one of val and one of test over all sessions laid end to end.

    Few long stretches have few neighbours of another split, so that gaps cost few samples.
    """
    smallest = min(r for r in ratios if r > 0)
    periods = max(1, int(n * smallest / block_size))
    phase = (np.arange(n) + 0.5) / n * periods % 1.0
    return np.searchsorted(np.cumsum(ratios)[:2], phase, side='right')


def _open_gaps(
    label: np.ndarray, session: np.ndarray, frame: np.ndarray, gap: int, in_time: Sequence[int]
) -> np.ndarray:
    """Take samples near those of a later split out of all splits."""
    opened = label.copy()
    for s in in_time if gap else ():
        here = np.flatnonzero(session == s)
        for split in (0, 1):
            held = np.sort(frame[here][label[here] > split])
            mine = here[label[here] == split]
            if len(held) and len(mine):
                after = np.searchsorted(held, frame[mine])
                to_next = np.abs(held[np.minimum(after, len(held) - 1)] - frame[mine])
                to_last = np.abs(frame[mine] - held[np.maximum(after - 1, 0)])
                opened[mine[np.minimum(to_next, to_last) <= gap]] = -1
    return opened


logger = logging.getLogger('smilfit')
_OF_THE_SAME = (
    '%s: too few sessions (%d) to hold whole ones out, so the test split is stretches of those that are trained on; '
    'its figures say little of other animals. With %d sessions or more whole ones are held out. Of a file that '
    'nothing was trained on take all: test_dataloader.dataset.split=all.'
)


@DATASETS.register_module()
class MultiViewDataset(Dataset):
    """Read nested-tensor samples (see `docs/architecture.md`) of one split of a dataset file.

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
        self.transforms: list[Callable[[Sample], Sample]] = [build_transform(t) for t in transforms]
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
            'still_sessions': tuple(n for n in file.session_names if not file.temporal(n)),
            'body_model_file': file.body_model_file,
            'body_model_hash': file.body_model_hash,
            # Text, as checkpoints keep what stands here.
            'landmarks': json.dumps(landmarks_out(file.landmarks)),
            'unit': file.unit,
            'target_resolution': file.target_resolution,
            'crop_mode': file.crop_mode,
            'undistorted': file.undistorted,
            'bbox_margin': file.options.get('bbox_margin'),
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
    def body_model(self) -> ModelReference:
        """What names that body model."""
        return self.file.body_model

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

    def __getitem__(self, item: int) -> Sample:
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
        """Report transforms that ask for it which file and keypoints they are of."""
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
        masks, valid = np.zeros((len(view_mask), side, side), np.uint8), np.zeros_like(view_mask)
        for c in np.flatnonzero(view_mask):
            result = self.file.mask(index, int(c))
            if result is not None:
                masks[c], valid[c] = result, True
        return {'mask': torch.from_numpy(masks), 'has_mask': torch.from_numpy(valid)}

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
            temporal = [file.session(name).temporal for name in file.session_names]
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
        observed = file.view_mask_of[indices]
        if self._views is not None and not isinstance(self._views, int):
            observed = observed & np.isin(file.camera_names, list(self._views))
        if not observed.any(1).all():
            which = 'no view' if self._views is None else f'none of the views {self._views}'
            logger.info('%s: %d samples have %s.', file.path, (~observed.any(1)).sum(), which)
        indices = indices[observed.any(1)]
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
) -> Sample:
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
    """Return all animals' centres, where the file states where others are."""
    if centres is None:
        return {}
    known = centres.known & view_mask[:, None]
    return {
        'centres2d': torch.from_numpy((centres.xy * known[..., None]).astype(np.float32)),
        'centres_weight': torch.from_numpy(known.astype(np.float32)),
        'all_animals': torch.from_numpy(centres.complete & view_mask),
    }
