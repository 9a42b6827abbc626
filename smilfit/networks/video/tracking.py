"""Keypoints of one camera over a recording: what a network sees in boxes about the animal, and a path through it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from smilfit.geometry.heatmaps import WindowedMaps, cell_to_px
from smilfit.networks.keypoints.batch_crops import box_affine, cut, invert_affine, map_px
from smilfit.networks.regressors.keypoint_regressor import KeypointRegressor
from smilfit.networks.video.adaptation import FEWEST, FrameLabels, as_images
from smilfit.networks.video.flow import FlowEstimator, FlowFields, flow_fields
from smilfit.networks.video.keypoint_paths import (
    Candidates,
    CarriedLabels,
    carry_labels,
    find_path,
    smooth_path,
)

# Modes of a map that are looked at, and mass of a mode that says where the animal is.
_MODES, _BOX_MASS = 3, 0.15
# Side of a box over the extent of labels, and of what a first look gave.
_MARGIN, _OWN_MARGIN = 1.5, 1.25
# Boxes are averaged over so many frames.
_SMOOTH_BOXES = 5
_BLOCK = 16
# Frames whose flow is in memory at once, and those that neighbouring windows share.
WINDOW, OVERLAP = 256, 32

# Decodes frames of one camera, in order: numbers to RGB images.
Frames = Callable[[Sequence[int]], Iterator[UInt8[np.ndarray, 'H W 3']]]


def windows(n_frames: int, most: int = WINDOW, overlap: int = OVERLAP) -> list[tuple[slice, slice]]:
    """Divide a recording into windows: frames of each, and those that it is asked about, farthest from its ends."""
    if n_frames <= most:
        return [(slice(0, n_frames), slice(0, n_frames))]
    count = -(-(n_frames - overlap) // (most - overlap))
    first = np.linspace(0, n_frames - most, count).round().astype(int).tolist()
    ends = [(a + most + b) // 2 for a, b in zip(first, first[1:])]
    return [
        (slice(a, a + most), slice(begin, end)) for a, begin, end in zip(first, [0, *ends], [*ends, n_frames])
    ]


class FlowOfRecording:
    """The flow of one camera, a window at a time; that of a recording of one window is computed once.

    Args:
        frames: decodes them.
        n_frames: of the recording.
        estimator: of the flow.
    """

    def __init__(self, frames: Frames, n_frames: int, estimator: FlowEstimator) -> None:
        self.frames, self.estimator = frames, estimator
        self.windows = windows(n_frames)
        self._kept: FlowFields | None = None

    def __iter__(self) -> Iterator[tuple[slice, slice, FlowFields]]:
        """Return windows, what each is asked about, and its flow."""
        for rows, asked in self.windows:
            flow = self._kept or flow_fields(self.frames(range(rows.start, rows.stop)), self.estimator)
            if len(self.windows) == 1:
                self._kept = flow
            yield rows, asked, flow


def carried_over(labels: FrameLabels, flow: FlowOfRecording) -> CarriedLabels:
    """Carry labels over a recording."""
    xy, weight = labels.xy.copy(), np.zeros(labels.known.shape)
    size = labels.size_px
    for rows, asked, fields in flow:
        part = labels.at(rows)
        carried = carry_labels(part.xy, part.known, fields, size)
        own = slice(asked.start - rows.start, asked.stop - rows.start)
        xy[asked], weight[asked] = carried.xy[own], carried.weight[own]
    return CarriedLabels(xy, weight)


@dataclass(frozen=True)
class Sights:
    """What a network saw in each frame: modes of its maps, px of the recorded images, and the mass of each."""

    modes: Float[np.ndarray, 'T K M 2']
    mass: Float[np.ndarray, 'T K M']

    def with_further(self, xy: Float[np.ndarray, 'T K 2'], mass: Float[np.ndarray, 'T K']) -> 'Sights':
        """Offer one place more a keypoint, such as where other cameras see it; NaN for none."""
        some = np.isfinite(xy).all(-1)
        further = np.where(some[..., None], xy, self.modes[:, :, 0])
        return Sights(
            np.concatenate((self.modes, further[:, :, None]), 2),
            np.concatenate((self.mass, np.where(some, mass, 0.0)[..., None]), 2),
        )


def look_over(
    model: KeypointRegressor,
    frames: Frames,
    labels: FrameLabels,
    step: Callable[[], None] = lambda: None,
    smooth: bool = True,
) -> Sights:
    """Run a network on every frame: in boxes of the labels, then in boxes of what it saw there.

    Args:
        model: the network.
        frames: decodes them.
        labels: between them boxes are on a line.
        step: called twice a frame.
        smooth: average boxes over neighbouring frames.
    """
    boxes = boxes_over_time(labels.xy, labels.known, _MARGIN)
    sights = look(model, frames(range(len(boxes))), boxes, step)
    sure = sights.mass[:, :, 0] > _BOX_MASS
    if (sure.sum(1) >= FEWEST).any():
        boxes = boxes_over_time(sights.modes[:, :, 0], sure, _OWN_MARGIN, _SMOOTH_BOXES if smooth else 1)
    return look(model, frames(range(len(boxes))), boxes, step)


def boxes_over_time(
    px: Float[np.ndarray, 'T K 2'], sure: Bool[np.ndarray, 'T K'], margin: float, smooth: int = 1
) -> Float[np.ndarray, 'T 3']:
    """Box the animal in every frame (x0, y0, side): about the points that are sure, between such frames on a line.

    Args:
        px: points.
        sure: which count.
        margin: side of a box over the points' larger extent.
        smooth: frames that a box is averaged over, odd.
    """
    known = np.flatnonzero(sure.sum(1) >= FEWEST)
    low = np.stack([px[t][sure[t]].min(0) for t in known])
    high = np.stack([px[t][sure[t]].max(0) for t in known])
    rows = np.arange(len(px))
    side = margin * np.interp(rows, known, np.maximum((high - low).max(1), 8.0))
    centre = np.stack([np.interp(rows, known, (low + high)[:, i] / 2) for i in range(2)], -1)
    boxes = np.concatenate((centre - side[:, None] / 2 + 0.5, side[:, None]), -1)
    if smooth > 1:
        window = np.hanning(smooth + 2)[1:-1]
        padded = np.pad(boxes, ((smooth // 2, smooth // 2), (0, 0)), mode='edge')
        boxes = np.stack([np.convolve(column, window / window.sum(), 'valid') for column in padded.T], -1)
    return boxes


@torch.no_grad()
def look(
    model: KeypointRegressor,
    images: Iterator[UInt8[np.ndarray, 'H W 3']],
    boxes: Float[np.ndarray, 'T 3'],
    step: Callable[[], None] = lambda: None,
) -> Sights:
    """Run a network on a box of each frame."""
    vision, result, shares = model.vision, [], []
    like = next(model.parameters())
    affine = box_affine(torch.from_numpy(boxes).to(like), vision.side)
    for first in range(0, len(boxes), _BLOCK):
        own = affine[first : first + _BLOCK]
        crops = []
        for each in own:
            crops.append(cut(as_images(next(images)[None]).to(like), each[None], vision.side))
            step()
        maps = vision.head.split(vision.logits(torch.cat(crops)))[0]
        share = maps.flatten(-2).softmax(-1).unflatten(-1, maps.shape[-2:])
        modes, _ = WindowedMaps(share, vision.consensus.radius).modes(_MODES)
        px = cell_to_px(modes.mean, vision.head.stride)
        result.append(map_px(invert_affine(own), px.flatten(1, 2)).unflatten(1, px.shape[1:3]).cpu())
        shares.append(modes.mass.cpu())
    return Sights(torch.cat(result).double().numpy(), torch.cat(shares).double().numpy())


@dataclass(frozen=True)
class TrackedKeypoints:
    """Smooth places (NaN for keypoints that have none in a whole window), their standard deviations, px an axis,
    how sure the path is, and where it goes behind something.
    """

    xy: Float[np.ndarray, 'T K 2']
    sd: Float[np.ndarray, 'T K']
    confidence: Float[np.ndarray, 'T K']
    hidden: Bool[np.ndarray, 'T K']


def tracked(sights: Sights, labels: FrameLabels, flow: FlowOfRecording) -> TrackedKeypoints:
    """Find the paths through what a network saw and carried labels, and smooth them, window by window."""
    shape, size = labels.known.shape, labels.size_px
    xy, sd, confidence = np.full((*shape, 2), np.nan), np.full(shape, np.nan), np.zeros(shape)
    hidden = np.ones(shape, np.bool_)
    for rows, asked, fields in flow:
        part = labels.at(rows)
        carried = carry_labels(part.xy, part.known, fields, size)
        offered = Candidates.of(sights.modes[rows], sights.mass[rows], carried, part.known)
        path = find_path(offered, fields, size)
        smooth, deviation = smooth_path(path, part.known, part.times, size, fields)
        own = slice(asked.start - rows.start, asked.stop - rows.start)
        xy[asked], sd[asked] = smooth[own], deviation[own]
        confidence[asked], hidden[asked] = path.confidence[own], path.hidden[own]
    return TrackedKeypoints(xy, sd, confidence, hidden)
