"""Decode, cut and encode the planned frames of a session: bounded memory, in order, in threads."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from smilfit.datasets.crops import Crop, UndistortedCut, apply_affine, cut, encode_jpeg, encode_png, find_crop
from smilfit.datasets.frame_plan import PreprocessOptions, SessionPlan
from smilfit.datasets.store_layout import PARAM_NAMES, EncodedSample, StoreHeader

# Frames decoded ahead of the threads that encode them, per thread.
_AHEAD = 2

Cutter = Callable[[np.ndarray], np.ndarray]


def true_params_of(session: Any, n_joints: int, n_betas: int) -> dict[str, np.ndarray] | None:
    """Give the parameters that a made session knows, as arrays; None of a real one.

    Raises:
        ValueError: parameters of another body model, or with fields that are not stored.
    """
    params = getattr(session, 'true_params', None)
    if params is None:
        return None
    values = {n: v.detach().cpu().double().numpy() for n, v in params.as_axis_angle().as_dict().items()}
    extra = sorted(n for n, v in values.items() if n not in PARAM_NAMES and v.any())
    shape, expected = (params.n_joints, params.betas.shape[1]), (n_joints, n_betas)
    if extra or shape != expected:
        raise ValueError(
            f'{session.name}: true parameters must be {", ".join(PARAM_NAMES)} of a model with {expected[0]} joints '
            f'and {expected[1]} betas; got {shape[0]} and {shape[1]}, and beside these {extra or "nothing"}. '
            "Give the body model that the session was made with, or take the session's truth away."
        )
    return {name: values[name] for name in PARAM_NAMES}


@dataclass(frozen=True)
class _FrameJob:
    """The pictures of one frame with what cuts them, by camera index of the file."""

    images: Mapping[int, tuple[np.ndarray, Cutter]]
    masks: Mapping[int, tuple[np.ndarray, Cutter]]
    quality: int

    def run(self) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        images = {
            c: encode_jpeg(cutter(picture), self.quality) for c, (picture, cutter) in self.images.items()
        }
        # A silhouette's edge is where half of a stored pixel is covered.
        masks = {c: encode_png(cutter(mask) >= 128) for c, (mask, cutter) in self.masks.items()}
        return images, masks


def encode_session(
    index: int, plan: SessionPlan, header: StoreHeader, options: PreprocessOptions, skip: int
) -> Iterator[EncodedSample]:
    """Decode frames in order, cut and encode them in threads, give samples in order; few frames in memory."""
    if skip == len(plan.frames):
        return
    place = _Placer(index, plan, header, options)
    pictures = _decode(plan, plan.frames[skip:].tolist(), header.with_masks)
    waiting: deque[tuple[int, list[Crop | None], Future | None, Any]] = deque()
    pool = ThreadPoolExecutor(options.num_workers) if options.num_workers else None
    try:
        for n, (images, masks) in enumerate(pictures, start=skip):
            crops = place.crops(n)
            job = place.job(n, crops, images, masks)
            waiting.append((n, crops, pool.submit(job.run) if pool else None, job if pool is None else None))
            del images, masks, job
            while len(waiting) > _AHEAD * options.num_workers:
                yield _collect(place, *waiting.popleft())
        while waiting:
            yield _collect(place, *waiting.popleft())
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _collect(
    place: '_Placer', n: int, crops: list[Crop | None], future: Future | None, job: Any
) -> EncodedSample:
    encoded = future.result() if future is not None else job.run()
    return place.sample(n, crops, *encoded)


def _decode(plan: SessionPlan, frames: list[int], with_masks: bool) -> Iterator[tuple[dict, dict]]:
    """Give pictures (and masks) of each frame; refuse a reader that loses frames."""
    session = plan.session
    masks = iter(session.masks(frames)) if with_masks and hasattr(session, 'masks') else None
    decoded = session.frames(frames)
    for wanted in frames:
        item = next(decoded, None)
        if item is None or item[0] != wanted:
            raise RuntimeError(
                f'{session.name}: frame {wanted} must come next; got {None if item is None else item[0]}. '
                'Is a video cut short?'
            )
        yield item[1], (next(masks)[1] if masks is not None else {})


class _Placer:
    """Crops of one session's views, and its samples in the order of the file's cameras and keypoints."""

    def __init__(
        self, index: int, plan: SessionPlan, header: StoreHeader, options: PreprocessOptions
    ) -> None:
        self.index, self.plan, self.header, self.options = index, plan, header, options
        self.columns = [header.camera_names.index(name) for name in plan.cameras.names]
        self.rows = [header.keypoint_names.index(name) for name in plan.names]
        self.params = true_params_of(plan.session, len(header.joint_names), header.n_betas)
        cameras = plan.cameras
        self.sizes = [(int(w), int(h)) for w, h in cameras.size.round().tolist()]
        self.lenses: list[tuple[np.ndarray, np.ndarray, float] | None] = [None] * len(cameras)
        if plan.undistorted and cameras.dist is not None:
            folds = cameras.fold.tolist()
            self.lenses = [
                (cameras.K[c].numpy(), cameras.dist[c].numpy(), folds[c])
                if bool(cameras.dist[c].any())
                else None
                for c in range(len(cameras))
            ]
        self._cutters: dict[tuple[int, Crop], Cutter] = {}

    def crops(self, n: int) -> list[Crop | None]:
        """Choose the box of each view of the n-th frame; None where there is no view."""
        plan, options = self.plan, self.options
        return [
            find_crop(
                options.crop_mode,
                self.sizes[c],
                options.target_resolution,
                plan.keypoints2d[n, c][plan.confidence2d[n, c] > 0],
                options.bbox_margin,
            )
            if plan.view_mask[n, c]
            else None
            for c in range(len(self.columns))
        ]

    def job(
        self,
        n: int,
        crops: list[Crop | None],
        images: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
    ) -> _FrameJob:
        """Tie the n-th frame's pictures to what cuts them."""
        pictures, silhouettes = {}, {}
        for c, (name, crop) in enumerate(zip(self.plan.cameras.names, crops)):
            if crop is None:
                continue
            height, width = images[name].shape[:2]
            if (width, height) != self.sizes[c]:
                raise ValueError(
                    f'{self.plan.session.name}: pictures of camera {name!r} must have its calibrated size '
                    f'{self.sizes[c]}; got {(width, height)} in frame {self.plan.frames[n]}.'
                )
            cutter = self._cutter(c, crop)
            pictures[self.columns[c]] = (images[name], cutter)
            if name in masks:
                silhouettes[self.columns[c]] = ((masks[name] > 0).astype(np.uint8) * 255, cutter)
        return _FrameJob(pictures, silhouettes, self.options.jpeg_quality)

    def _cutter(self, c: int, crop: Crop) -> Cutter:
        lens = self.lenses[c]
        if lens is None:
            return lambda picture: cut(picture, crop)
        if self.options.crop_mode == 'bbox_crop':
            # The box moves with the animal: its map is found in the thread that uses it.
            return lambda picture: UndistortedCut.plan(crop, *lens)(picture)
        if (c, crop) not in self._cutters:
            self._cutters[c, crop] = UndistortedCut.plan(crop, *lens)
        return self._cutters[c, crop]

    def sample(
        self,
        n: int,
        crops: list[Crop | None],
        images: Mapping[int, np.ndarray],
        masks: Mapping[int, np.ndarray],
    ) -> EncodedSample:
        """Put the n-th frame into the file's order of cameras and keypoints."""
        plan, header = self.plan, self.header
        C, K = len(header.camera_names), len(header.keypoint_names)
        view_mask, affine = np.zeros(C, np.bool_), np.zeros((C, 2, 3))
        xy, confidence = np.zeros((C, K, 2)), np.zeros((C, K))
        xyz, confidence3d = np.zeros((K, 3)), np.zeros(K)
        for c, crop in enumerate(crops):
            if crop is None:
                continue
            column, seen = self.columns[c], plan.confidence2d[n, c] > 0
            view_mask[column], affine[column] = True, crop.affine()
            stored = apply_affine(affine[column], plan.keypoints2d[n, c]) * seen[:, None]
            xy[column, self.rows], confidence[column, self.rows] = stored, plan.confidence2d[n, c]
        xyz[self.rows], confidence3d[self.rows] = plan.keypoints3d[n], plan.confidence3d[n]
        frame = int(plan.frames[n])
        params = None if self.params is None else {k: v[frame] for k, v in self.params.items()}
        return EncodedSample(
            self.index, frame, view_mask, affine, xy, confidence, xyz, confidence3d, images, masks, params
        )
