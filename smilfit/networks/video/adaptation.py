"""A keypoint network adapted to one camera of one recording, of which some frames are labelled."""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from smilfit.geometry.heatmaps import WindowedMaps, cell_to_px
from smilfit.networks.keypoints.batch_crops import box_affine, cut, invert_affine, map_px
from smilfit.networks.regressors.keypoint_regressor import KeypointRegressor
from smilfit.networks.regressors.parameter_losses import weighted_means
from smilfit.networks.video.flow import FlowFields
from smilfit.networks.video.keypoint_paths import (
    Candidates,
    CarriedLabels,
    KeypointPath,
    carry_labels,
    find_path,
    smooth_path,
)

logger = logging.getLogger('smilfit')

# A frame needs so many keypoints to say where the animal is.
_FEWEST = 4
# Modes of a map that are looked at, and mass of a mode that says where the animal is.
_MODES, _BOX_MASS = 3, 0.15
# Side of a box over the extent of labels, and of what a first look gave.
_MARGIN, _OWN_MARGIN = 1.5, 1.25
# Carried labels count half of given ones, from this weight on.
_CARRIED_SHARE, _LEAST_CARRIED = 0.5, 0.3
# Boxes are averaged over so many frames.
_SMOOTH_BOXES = 5
_BLOCK = 16


@dataclass(frozen=True)
class LabelledVideo:
    """Frames of one camera, and labels of some of them.

    Args:
        images: RGB, all of one size.
        labels: px, K keypoints in the network's order; anything where not known.
        known: which are labelled.
        times: of the frames, s.
    """

    images: UInt8[np.ndarray, 'T H W 3']
    labels: Float[np.ndarray, 'T K 2']
    known: Bool[np.ndarray, 'T K']
    times: Float[np.ndarray, ' T']

    def __post_init__(self) -> None:
        if (self.known.sum(1) >= _FEWEST).sum() < 1:
            raise ValueError(
                f'adapt: at least one frame must have {_FEWEST} labelled keypoints; got at most '
                f'{int(self.known.sum(1).max(initial=0))}. Label a few frames, spread over the recording.'
            )

    @property
    def labelled(self) -> Int[np.ndarray, ' n']:
        """Number the labelled frames."""
        return np.flatnonzero(self.known.sum(1) >= _FEWEST)

    @property
    def size_px(self) -> float:
        """Estimate the root of the animal's area, px: a third of the box of its labels, median over frames."""
        boxes = [np.ptp(self.labels[t][self.known[t]], axis=0) for t in self.labelled]
        # Seen from the front or lying in one line, an animal is no thinner than a quarter of its length.
        areas = [max(w, h) * max(min(w, h), max(w, h) / 4) for w, h in boxes]
        return float(np.sqrt(np.median(areas) / 3))


@dataclass(frozen=True)
class AdaptationOptions:
    """How a network goes on learning from one video.

    Args:
        steps: of training, each on `batch_size` crops, half of them of labelled frames.
        batch_size: crops a step.
        lr: largest learning rate; it falls as a cosine.
        seed: of all chance.
    """

    steps: int = 300
    batch_size: int = 8
    lr: float = 5e-4
    seed: int = 0


@dataclass(frozen=True)
class TrackedKeypoints:
    """What became of a video: smooth places with their standard deviations, and the path that they come from.

    `modes` and `mass` are what the network saw; `xy` is NaN for keypoints that were never seen.
    """

    xy: Float[np.ndarray, 'T K 2']
    sd: Float[np.ndarray, 'T K']
    path: KeypointPath
    modes: Float[np.ndarray, 'T K M 2']
    mass: Float[np.ndarray, 'T K M']


def adapted(
    model: KeypointRegressor,
    video: LabelledVideo,
    flow: FlowFields | None,
    options: AdaptationOptions,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> KeypointRegressor:
    """Return a copy of a network that went on learning from a video's labels, and those carried along the flow.

    Normalisations stay as they are: crops of one video would teach them its light alone.

    Args:
        model: the network; stays as it is.
        video: its labelled frames.
        flow: None learns from the given labels alone.
        options: how.
        progress: called with steps done and their total.
    """
    xy, weight = video.labels, video.known.astype(np.float64)
    if flow is not None:
        carried = carry_labels(video.labels, video.known, flow, video.size_px)
        some = np.where(carried.weight > _LEAST_CARRIED, _CARRIED_SHARE * carried.weight, 0.0)
        xy, weight = carried.xy, np.where(video.known, 1.0, some)
    usable = np.flatnonzero((weight > 0).sum(1) >= _FEWEST)
    result = copy.deepcopy(model).train()
    for part in result.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    trained = [p for part in (result.vision.backbone, result.vision.head) for p in part.parameters()]
    optimizer = torch.optim.AdamW(trained, options.lr, weight_decay=0.02)
    rng = np.random.default_rng(options.seed)
    px, weights = torch.from_numpy(np.nan_to_num(xy)).float(), torch.from_numpy(weight).float()
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        for step in range(options.steps):
            for group in optimizer.param_groups:
                group['lr'] = options.lr * (1 + math.cos(math.pi * step / options.steps)) / 2 + 1e-6
            half = options.batch_size // 2
            rows = np.concatenate(
                (rng.choice(video.labelled, half), rng.choice(usable, options.batch_size - half))
            )
            loss = _loss(result, _tensor(video.images[rows]), px[rows], weights[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress(step + 1, options.steps)
    return result.eval()


def _tensor(images: UInt8[np.ndarray, 'n H W 3']) -> Float[Tensor, 'n 3 H W']:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _loss(model: KeypointRegressor, images: Tensor, px: Tensor, weight: Tensor) -> Tensor:
    crops = model.augment(images, px, weight, model.swap)
    logits, _ = model.vision.network(crops.images)
    maps, _ = model.vision.head.split(logits)
    energy = model.heatmap_loss.energy(maps, crops.px, crops.weight, model.vision.head.stride)
    return weighted_means({'heatmap': energy}, {'heatmap': 1.0})['heatmap']


def track(model: KeypointRegressor, video: LabelledVideo, flow: FlowFields) -> TrackedKeypoints:
    """Follow the keypoints of a video: the network's modes in boxes about the animal, a path through them, smooth.

    Boxes are those of the labels, between them along a line; a second look is at boxes of the first one's modes.
    """
    boxes = boxes_over_time(video.labels, video.known, _MARGIN)
    modes, mass = look(model, video.images, boxes)
    sure = mass[:, :, 0] > _BOX_MASS
    if (sure.sum(1) >= _FEWEST).any():
        boxes = boxes_over_time(modes[:, :, 0], sure, _OWN_MARGIN, _SMOOTH_BOXES)
        modes, mass = look(model, video.images, boxes)
    carried = carry_labels(video.labels, video.known, flow, video.size_px)
    return tracked(video, modes, mass, carried, flow)


def tracked(
    video: LabelledVideo,
    modes: Float[np.ndarray, 'T K M 2'],
    mass: Float[np.ndarray, 'T K M'],
    carried: CarriedLabels | None,
    flow: FlowFields,
) -> TrackedKeypoints:
    """Find the path through what a network saw, and smooth it."""
    path = find_path(Candidates.of(modes, mass, carried, video.known), flow, video.size_px)
    xy, sd = smooth_path(path, video.known, video.times, video.size_px, flow)
    return TrackedKeypoints(xy, sd, path, modes, mass)


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
    known = np.flatnonzero(sure.sum(1) >= _FEWEST)
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
    model: KeypointRegressor, images: UInt8[np.ndarray, 'T H W 3'], boxes: Float[np.ndarray, 'T 3']
) -> tuple[Float[np.ndarray, 'T K M 2'], Float[np.ndarray, 'T K M']]:
    """Run the network on boxes of frames: its maps' modes, px of the images, and the mass of each."""
    vision, result, shares = model.vision, [], []
    affine = box_affine(torch.from_numpy(boxes).float(), vision.side)
    for first in range(0, len(images), _BLOCK):
        rows = slice(first, first + _BLOCK)
        logits = vision.logits(cut(_tensor(images[rows]), affine[rows], vision.side))
        maps = vision.head.split(logits)[0]
        share = maps.flatten(-2).softmax(-1).unflatten(-1, maps.shape[-2:])
        modes, _ = WindowedMaps(share, vision.consensus.radius).modes(_MODES)
        px = cell_to_px(modes.mean, vision.head.stride)
        back = map_px(invert_affine(affine[rows]), px.flatten(1, 2)).unflatten(1, px.shape[1:3])
        result.append(back)
        shares.append(modes.mass)
    return torch.cat(result).double().numpy(), torch.cat(shares).double().numpy()
