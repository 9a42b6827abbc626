"""Single images of a dataset file: one view a sample."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.datasets.multi_view_dataset import MultiViewDataset, make_sample
from smilfit.datasets.store_layout import CentreRecord, SampleRecord
from smilfit.registry import DATASETS

# Numbers of so many samples are kept in memory, some 10 kB each.
_MOST_RECORDS = 20_000
_OF_VIEWS = ('view_mask', 'K', 'R', 't', 'dist', 'size', 'to_original', 'keypoints2d', 'confidence2d')


@DATASETS.register_module()
class PictureDataset(MultiViewDataset):
    """Give every image of a split by itself: a sample in the documented form with one view (C = 1).

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
        seen = self.file.view_mask_of[self.indices]
        if views is not None:
            seen = seen & np.isin(self.file.camera_names, list(views))
        rows, cameras = np.nonzero(seen)
        self.images = np.stack((self.indices[rows], cameras), 1)
        if len(self.images) == 0:
            raise ValueError(
                f'PictureDataset: split {self.split!r} of {self.file.path} must have an image; none is left of '
                f'the sessions {list(sessions or self.file.session_names)}. Choose others.'
            )
        self.use_keypoints(self.file.keypoint_names if keypoint_names is None else keypoint_names)

    def use_keypoints(self, names: Sequence[str]) -> None:
        """Give samples with these keypoints, in this order; those that the file lacks have confidence 0.

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

    def __getitem__(self, item: int) -> dict[str, Any]:
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
        found = self._records.get(index)
        if found is None:
            found = self.file.record(index)
            if len(self._records) < _MOST_RECORDS:
                self._records[index] = found
        return found

    def _one_view(self, record: SampleRecord, camera: int) -> SampleRecord:
        """Leave only one view and the keypoints asked for."""
        values = {name: getattr(record, name)[camera : camera + 1] for name in _OF_VIEWS}
        if record.centres is not None:
            one = slice(camera, camera + 1)
            centres = record.centres
            values['centres'] = CentreRecord(centres.xy[one], centres.known[one], centres.complete[one])
        there = self._columns >= 0
        for name, axis in (('keypoints2d', 1), ('confidence2d', 1), ('keypoints3d', 0), ('confidence3d', 0)):
            value = np.take(values.get(name, getattr(record, name)), self._columns, axis)
            shape = (1,) * axis + (len(there),) + (1,) * (value.ndim - axis - 1)
            values[name] = value * there.reshape(shape)
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
    seen = record.confidence2d[..., None] > 0
    changed = replace(
        record,
        K=map_ @ record.K,
        size=np.full_like(record.size, float(side)),
        to_original=original[:, :2],
        keypoints2d=np.where(seen, record.keypoints2d * scale + offset, 0.0),
        centres=None if record.centres is None else _scaled(record.centres, scale, offset),
    )
    return cv2.resize(image, (side, side), interpolation=shrinks), changed
