"""From recorded images to what a regressor takes: cut, undone of the lens, with the cameras of the crops."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from smilfit.datasets.boxes import Box, BoxFinder, box_outline, square_crop
from smilfit.datasets.crops import Crop, UndistortedCut, cut, find_crop, invert_affine
from smilfit.io.recordings.synchronised_videos import RecordedFrame
from smilfit.structures import Cameras

# Maps of lenses that are kept: whole frames have one a camera, boxes that move have one a frame.
_MOST_MAPS = 16


@dataclass(frozen=True)
class CropOptions:
    """How frames are cut: as the training's images were.

    `mode` is that of whole frames ('default' or 'centred', or '' for a square around all of it), `side` the crops'
    side, px; `undistort` undoes the lenses.
    """

    side: int
    mode: str = 'default'
    undistort: bool = True

    def whole(self, size: tuple[int, int]) -> Crop:
        """Return the crop of a whole frame of this width and height."""
        if self.mode:
            return find_crop(self.mode, size, self.side)
        return square_crop((0.0, 0.0, float(size[0]), float(size[1])), self.side)


@dataclass(frozen=True)
class PreparedFrame:
    """One moment as a regressor takes it, C views.

    `affine` maps px of the recorded image (undistorted where the crop is) to the crop's. Absent views are zeros;
    `faults` says why they are absent.
    """

    number: int
    image: UInt8[np.ndarray, 'C 3 S S']
    view_mask: Bool[np.ndarray, 'C']
    K: Float[np.ndarray, 'C 3 3']
    R: Float[np.ndarray, 'C 3 3']
    t: Float[np.ndarray, 'C 3']
    dist: Float[np.ndarray, 'C 5']
    affine: Float[np.ndarray, 'C 2 3']
    faults: dict[str, str] = field(default_factory=dict)

    def inputs(self) -> dict[str, torch.Tensor]:
        """Return the inputs of one sample."""
        side = self.image.shape[-1]
        size = np.where(self.view_mask[:, None], np.full((len(self.view_mask), 2), float(side)), 0.0)
        arrays = {'K': self.K, 'R': self.R, 't': self.t, 'dist': self.dist, 'size': size}
        return {
            'image': torch.from_numpy(self.image),
            'view_mask': torch.from_numpy(self.view_mask),
            **{name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()},
        }

    def data_samples(self) -> dict[str, torch.Tensor]:
        """Return what goes along with one sample."""
        back = invert_affine(np.where(self.view_mask[:, None, None], self.affine, np.eye(2, 3)))
        back = back * self.view_mask[:, None, None]
        return {
            'to_original': torch.from_numpy(back.astype(np.float32)),
            'frame': torch.tensor(self.number),
        }


class FrameCutter:
    """Cut recorded frames for a regressor.

    Args:
        cameras: of the recorded images, one set for all frames, with their lenses.
        options: how to cut.
        boxes: where the animal is; whole frames if None.
    """

    def __init__(self, cameras: Cameras, options: CropOptions, boxes: BoxFinder | None = None) -> None:
        self.cameras, self.options, self.boxes = cameras.to(torch.float64), options, boxes
        self._maps: dict[tuple[str, Crop], UndistortedCut] = {}
        self._single = {name: self.cameras.select([name]) for name in self.cameras.names}

    def prepare(self, frames: Iterator[RecordedFrame]) -> Iterator[PreparedFrame]:
        """Cut frames, in their order."""
        for frame in frames:
            yield self(frame)

    def __call__(self, frame: RecordedFrame) -> PreparedFrame:
        """Cut one frame."""
        names, side = self.cameras.names, self.options.side
        crops, faults = self._crops(frame)
        image = np.zeros((len(names), 3, side, side), np.uint8)
        affine = np.zeros((len(names), 2, 3))
        mask = np.zeros(len(names), np.bool_)
        for c, name in enumerate(names):
            if name in crops:
                image[c] = self._cut(frame.images[name], name, crops[name]).transpose(2, 0, 1)
                affine[c], mask[c] = crops[name].affine(), True
        K, R, t, dist = self._rig(affine, mask)
        return PreparedFrame(frame.number, image, mask, K, R, t, dist, affine, faults)

    def _rig(self, affine: np.ndarray, mask: np.ndarray) -> Iterator[np.ndarray]:
        bottom = np.broadcast_to([0.0, 0.0, 1.0], (len(mask), 1, 3))
        K = np.concatenate((affine, bottom), 1) @ self.cameras.K.numpy()
        R, t = self.cameras.R.numpy(), self.cameras.t.numpy()
        lens = self.cameras.dist
        dist = np.zeros((len(mask), 5)) if self.options.undistort or lens is None else lens.numpy()
        return (v * mask.reshape(-1, *(1,) * (v.ndim - 1)) for v in (K, R, t, dist))

    def _crops(self, frame: RecordedFrame) -> tuple[dict[str, Crop], dict[str, str]]:
        faults, result = dict(frame.faults), {}
        boxes: Mapping[str, Box | None] = {} if self.boxes is None else self.boxes(frame)
        for name, image in frame.images.items():
            box = boxes.get(name)
            if self.boxes is None:
                result[name] = self.options.whole(image.shape[1::-1])
            elif box is None:
                faults[name] = 'no box'
            else:
                result[name] = square_crop(self._undistorted(name, box), self.options.side)
        return result, faults

    def _undistorted(self, name: str, given: Sequence[float]) -> Box:
        """Return the box, in undistorted px, around a box of the recorded image; a third number alone is a side."""
        x, y, width, height = (float(v) for v in (given if len(given) == 4 else (*given, given[-1])))
        box = (x, y, width, height)
        camera = self._single[name]
        if camera.dist is None or not self.options.undistort or getattr(self.boxes, 'undistorted', False):
            return box
        points, valid = camera.undistort(torch.from_numpy(box_outline(box))[None])
        if not bool(valid.any()):
            return box
        inside = points[0][valid[0]].numpy()
        low, high = inside.min(0), inside.max(0)
        width, height = (float(v) for v in high - low + 1)
        return float(low[0]), float(low[1]), width, height

    def _cut(self, image: np.ndarray, name: str, crop: Crop) -> np.ndarray:
        camera = self._single[name]
        if camera.dist is None or camera.fold is None or not self.options.undistort:
            return cut(image, crop)
        key = (name, crop)
        if key not in self._maps:
            if len(self._maps) >= _MOST_MAPS:
                self._maps.clear()
            lens = (camera.K[0].numpy(), camera.dist[0].numpy(), float(camera.fold[0]))
            self._maps[key] = UndistortedCut.plan(crop, *lens)
        return self._maps[key](image)
