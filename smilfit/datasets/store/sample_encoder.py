"""Decode, cut and encode the planned frames of a session: bounded memory, in order, in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from torch import Tensor

from smilfit.datasets.crops import (
    Crop,
    UndistortedCut,
    apply_affine,
    cut,
    encode_jpeg,
    encode_png,
    find_crop,
)
from smilfit.datasets.session_plan import SessionPlan
from smilfit.datasets.store.known_params import known_params_of
from smilfit.datasets.store.store_layout import CentreRecord, EncodedSample, StoreHeader
from smilfit.options.preprocess_options import PreprocessOptions

# Frames decoded ahead of the threads that encode them, per thread.
_AHEAD = 2

Cutter = Callable[[np.ndarray], np.ndarray]
# Images and masks as bytes, by camera index of the file.
Encoded: TypeAlias = tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
# Images and masks by camera of one frame, and why it has none.
DecodedFrame: TypeAlias = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray], str]


@dataclass(frozen=True)
class _FrameJob:
    """The images of one frame with what cuts them, by camera index of the file."""

    images: Mapping[int, tuple[np.ndarray, Cutter]]
    masks: Mapping[int, tuple[np.ndarray, Cutter]]
    quality: int

    def run(self) -> Encoded:
        images = {c: encode_jpeg(cutter(image), self.quality) for c, (image, cutter) in self.images.items()}
        # A silhouette's edge is where half of a stored pixel is covered.
        masks = {c: encode_png(cutter(mask) >= 128) for c, (mask, cutter) in self.masks.items()}
        return images, masks


def encode_frames(place: 'Placer', decoded: Iterable[DecodedFrame], skip: int) -> Iterator[EncodedSample]:
    """Cut and encode decoded frames in threads, give samples in order; few frames in memory.

    Args:
        place: of the session's plan.
        decoded: images and masks by camera of each frame from the `skip`-th on, or why it has none.
        skip: how many frames come before.
    """
    options = place.options
    waiting: deque[tuple[int, list[Crop | None], Callable[[], Encoded], str]] = deque()
    pool = ThreadPoolExecutor(options.num_workers) if options.num_workers else None
    try:
        for n, (images, masks, fault) in enumerate(decoded, start=skip):
            fault = fault or place.size_error(n, images, masks)
            crops: list[Crop | None] = [None] * len(place.plan.cameras) if fault else place.crops(n, images)
            job = place.job(n, crops, images, masks)
            waiting.append((n, crops, pool.submit(job.run).result if pool else job.run, fault))
            del images, masks, job
            while len(waiting) > _AHEAD * options.num_workers:
                yield place.collected(*waiting.popleft())
        while waiting:
            yield place.collected(*waiting.popleft())
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


class Placer:
    """Crops of one session's views, and its samples in the order of the file's cameras and keypoints."""

    def __init__(
        self, index: int, plan: SessionPlan, header: StoreHeader, options: PreprocessOptions
    ) -> None:
        self.index, self.plan, self.header, self.options = index, plan, header, options
        self.columns = [header.camera_names.index(name) for name in plan.cameras.names]
        self.rows = [header.keypoint_names.index(name) for name in plan.names]
        self.params = known_params_of(plan.session, len(header.joint_names), header.n_betas)
        self._cutters: dict[tuple[int, Crop], Cutter] = {}

    def _size(self, n: int, c: int) -> tuple[int, int]:
        width, height = self._row(self.plan.cameras.size, n, 2)[c].round().tolist()
        return int(width), int(height)

    def _row(self, value: Tensor, n: int, rank: int) -> Tensor:
        """Pick the n-th frame's row of a camera tensor, which has `rank` dimensions in a rig."""
        return value if value.ndim == rank else value[n]

    def size_error(self, n: int, images: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> str:
        """Return what is wrong with the sizes of the n-th frame's images.

        Raises:
            ValueError: the same of a rig, whose calibration is then wrong for all its images.
        """
        for c, name in enumerate(self.plan.cameras.names):
            for kind, result in (('pictures', images), ('masks', masks)):
                if name not in result or not self.plan.view_mask[n, c]:
                    continue
                height, width = result[name].shape[:2]
                if (width, height) == self._size(n, c):
                    continue
                rule = f'must have its stated size {self._size(n, c)}; got {(width, height)}'
                if self.plan.images is not None:
                    return f'the {kind[:-1]} {rule}.'
                raise ValueError(
                    f'{self.plan.session.name}: {kind} of camera {name!r} {rule} in frame {self.plan.frames[n]}.'
                )
        return ''

    def crops(self, n: int, images: Mapping[str, np.ndarray]) -> list[Crop | None]:
        """Choose the box of each view of the n-th frame; None where there is no view or no image."""
        plan, options = self.plan, self.options
        return [
            find_crop(
                options.crop_mode,
                self._size(n, c),
                options.target_resolution,
                plan.crop_points(n, c),
                options.bbox_margin,
            )
            if plan.view_mask[n, c] and name in images
            else None
            for c, name in enumerate(plan.cameras.names)
        ]

    def job(
        self,
        n: int,
        crops: list[Crop | None],
        images: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
    ) -> _FrameJob:
        """Tie the n-th frame's images to what cuts them."""
        decoded, silhouettes = {}, {}
        for c, (name, crop) in enumerate(zip(self.plan.cameras.names, crops)):
            if crop is None:
                continue
            cutter = self._cutter(n, c, crop)
            decoded[self.columns[c]] = (images[name], cutter)
            if name in masks:
                silhouettes[self.columns[c]] = ((masks[name] > 0).astype(np.uint8) * 255, cutter)
        return _FrameJob(decoded, silhouettes, self.options.jpeg_quality)

    def _cutter(self, n: int, c: int, crop: Crop) -> Cutter:
        lens = self._lens(n, c)
        if lens is None:
            return lambda image: cut(image, crop)
        if self.options.crop_mode == 'bbox_crop' or self.plan.images is not None:
            # The box moves with the animal: its map is found in the thread that uses it.
            return lambda image: UndistortedCut.plan(crop, *lens)(image)
        if (c, crop) not in self._cutters:
            self._cutters[c, crop] = UndistortedCut.plan(crop, *lens)
        return self._cutters[c, crop]

    def _lens(self, n: int, c: int) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Return K, coefficients and fold of a lens that must be undone; None without one."""
        cameras = self.plan.cameras
        if not self.plan.undistorted or cameras.dist is None or cameras.fold is None:
            return None
        dist = self._row(cameras.dist, n, 2)[c]
        if not bool(dist.any()):
            return None
        fold = float(self._row(cameras.fold, n, 1)[c])
        return self._row(cameras.K, n, 3)[c].numpy(), dist.numpy(), fold

    def collected(
        self, n: int, crops: list[Crop | None], encoded: Callable[[], Encoded], fault: str
    ) -> EncodedSample:
        """Return the n-th sample when its images are encoded."""
        affines = [None if crop is None else crop.affine() for crop in crops]
        return self.sample(n, affines, *encoded(), fault)

    def sample(
        self,
        n: int,
        affines: Sequence[np.ndarray | None],
        images: Mapping[int, np.ndarray],
        masks: Mapping[int, np.ndarray],
        fault: str,
    ) -> EncodedSample:
        """Put the n-th frame into the file's order of cameras and keypoints.

        Args:
            n: of the plan's frames.
            affines: maps from source px to stored px (2, 3) of the plan's cameras; None where there is no image.
            images: bytes by the file's cameras.
            masks: likewise.
            fault: why there is no image.
        """
        plan, header = self.plan, self.header
        C, K = len(header.camera_names), len(header.keypoint_names)
        view_mask, affine = np.zeros(C, np.bool_), np.zeros((C, 2, 3))
        xy, confidence = np.zeros((C, K, 2)), np.zeros((C, K))
        xyz, confidence3d = np.zeros((K, 3)), np.zeros(K)
        for c, own in enumerate(affines):
            if own is None:
                continue
            column, observed = self.columns[c], plan.confidence2d[n, c] > 0
            view_mask[column], affine[column] = True, own
            stored = apply_affine(affine[column], plan.keypoints2d[n, c]) * observed[:, None]
            xy[column, self.rows], confidence[column, self.rows] = stored, plan.confidence2d[n, c]
        xyz[self.rows], confidence3d[self.rows] = plan.keypoints3d[n], plan.confidence3d[n]
        return EncodedSample(
            session=self.index,
            frame=plan.frame_number(n),
            view_mask=view_mask,
            affine=affine,
            keypoints2d=xy,
            confidence2d=confidence,
            keypoints3d=xyz,
            confidence3d=confidence3d,
            images=images,
            masks=masks,
            params=None if self.params is None else self.params.row(int(plan.frames[n])),
            fault=fault,
            centres=self._centres(n, affine, view_mask),
        )

    def _centres(self, n: int, affine: np.ndarray, view_mask: np.ndarray) -> CentreRecord | None:
        """Bring all animals' centres to stored px; those of a session that states nothing of others are unknown."""
        header, centres = self.header, self.plan.centres
        if not header.n_centres:
            return None
        C, A = len(header.camera_names), header.n_centres
        xy, known, complete = np.zeros((C, A, 2)), np.zeros((C, A), np.bool_), np.zeros(C, np.bool_)
        if centres is not None:
            count = centres.xy.shape[2]
            known[self.columns, :count] = centres.known[n] & view_mask[self.columns][:, None]
            xy[self.columns, :count] = apply_affine(affine[self.columns], centres.xy[n])
            complete[self.columns] = centres.complete[n]
        return CentreRecord(np.where(known[..., None], xy, 0.0), known, complete)
