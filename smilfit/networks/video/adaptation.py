"""A keypoint network goes on learning from labelled frames of one recording, and labels carried along its flow."""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from smilfit.datasets.crops import apply_affine
from smilfit.networks.keypoints.batch_crops import box_affine, cut
from smilfit.networks.regressors.keypoint_regressor import KeypointRegressor
from smilfit.networks.regressors.parameter_losses import weighted_means

# A frame needs so many keypoints to say where the animal is.
FEWEST = 4
# Carried labels count half of given ones, from this weight on.
_CARRIED_SHARE, _LEAST_CARRIED = 0.5, 0.3
# A cut shows so many times the extent of its points, in so many sides of the network's crops.
_CUT_MARGIN, _CUT_SIDES = 2.2, 2.0


@dataclass(frozen=True)
class FrameLabels:
    """Labels of some frames of one camera.

    Args:
        xy: px of the recorded images, K keypoints in the network's order; anything where not known.
        known: which are labelled.
        times: of the frames, s.
    """

    xy: Float[np.ndarray, 'T K 2']
    known: Bool[np.ndarray, 'T K']
    times: Float[np.ndarray, ' T']

    @property
    def frames(self) -> Int[np.ndarray, ' n']:
        """Return the labelled frames: those with enough keypoints to say where the animal is."""
        return np.flatnonzero(self.known.sum(1) >= FEWEST)

    @property
    def size_px(self) -> float:
        """Estimate the root of the animal's area, px: a third of the box of its labels, median over frames."""
        boxes = [np.ptp(self.xy[t][self.known[t]], axis=0) for t in self.frames]
        # Seen from the front or lying in one line, an animal is no thinner than a quarter of its length.
        areas = [max(w, h) * max(min(w, h), max(w, h) / 4) for w, h in boxes]
        return float(np.sqrt(np.median(areas) / 3))

    def without(self, frames: Int[np.ndarray, ' n']) -> 'FrameLabels':
        """Leave the labels of some frames out."""
        known = self.known.copy()
        known[frames] = False
        return replace(self, known=known)

    def at(self, rows: slice | Int[np.ndarray, ' n']) -> 'FrameLabels':
        """Take a part of the recording."""
        return FrameLabels(self.xy[rows], self.known[rows], self.times[rows])


@dataclass(frozen=True)
class AdaptationOptions:
    """How a network goes on learning from a recording.

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
class TrainingCuts:
    """Parts of frames around the animal, of all cameras, with what is known of their keypoints.

    Args:
        images: RGB.
        px: places in the cuts.
        weight: of each place; 1 for a given label.
    """

    images: UInt8[np.ndarray, 'N S S 3']
    px: Float[np.ndarray, 'N K 2']
    weight: Float[np.ndarray, 'N K']

    @classmethod
    def cat(cls, parts: Sequence['TrainingCuts']) -> 'TrainingCuts':
        """Join those of several cameras."""
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ('images', 'px', 'weight')))


def weights_of(known: Bool[np.ndarray, 'T K'], carried: Float[np.ndarray, 'T K']) -> Float[np.ndarray, 'T K']:
    """Return how much labels count in training: given ones 1, carried ones at most half, weak ones nothing."""
    return np.where(known, 1.0, np.where(carried > _LEAST_CARRIED, _CARRIED_SHARE * carried, 0.0))


def cut_frames(
    frames: Iterable[tuple[int, UInt8[np.ndarray, 'H W 3']]],
    xy: Float[np.ndarray, 'T K 2'],
    weight: Float[np.ndarray, 'T K'],
    side: int,
) -> tuple[list[int], TrainingCuts, Float[np.ndarray, 'N 2 3']]:
    """Cut the animal out of frames.

    Args:
        frames: numbers and images.
        xy: places, px of the images.
        weight: of each place; a frame of which fewer than four count is left out.
        side: of the network's crops, px.

    Returns:
        The frames that were cut, the cuts, and the maps from px of the images to px of the cuts.
    """
    used, images, maps = [], [], []
    size = round(_CUT_SIDES * side)
    for t, image in frames:
        valid = weight[t] > 0
        if valid.sum() < FEWEST:
            continue
        low, high = xy[t][valid].min(0), xy[t][valid].max(0)
        extent = max(_CUT_MARGIN * float((high - low).max()), 16.0)
        box = torch.tensor([[*((low + high - extent) / 2 + 0.5), extent]])
        affine = box_affine(box, size)
        part = cut(as_images(image[None]), affine.float(), size)[0]
        images.append((255 * part).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
        maps.append(affine[0].numpy())
        used.append(t)
    if not used:
        empty = np.zeros((0, size, size, 3), np.uint8)
        return [], TrainingCuts(empty, xy[:0], weight[:0]), np.zeros((0, 2, 3))
    taken = np.stack(maps)
    px = apply_affine(taken, np.nan_to_num(xy[used]))
    return used, TrainingCuts(np.stack(images), px, weight[used]), taken


def adapted(
    model: KeypointRegressor,
    cuts: TrainingCuts,
    options: AdaptationOptions,
    progress: Callable[[], None] = lambda: None,
) -> KeypointRegressor:
    """Return a copy of a network that went on learning from a recording's labels, given and carried.

    Normalisations stay as they are: crops of one recording would teach them its light alone.

    Args:
        model: the network; stays as it is.
        cuts: of frames; a batch is half of such as have a given label.
        options: how.
        progress: called after each step.

    Raises:
        ValueError: no frame with a given label.
    """
    given = np.flatnonzero((cuts.weight == 1).sum(1) >= FEWEST)
    if not len(given):
        raise ValueError(
            f'adapt: at least one frame must have {FEWEST} labelled keypoints; none has. Label a few frames, spread '
            'over the recording.'
        )
    usable = np.flatnonzero((cuts.weight > 0).sum(1) >= FEWEST)
    result = copy.deepcopy(model).train()
    for part in result.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    trained = [p for part in (result.vision.backbone, result.vision.head) for p in part.parameters()]
    optimizer = torch.optim.AdamW(trained, options.lr, weight_decay=0.02)
    rng, half = np.random.default_rng(options.seed), options.batch_size // 2
    like = trained[0]
    px, weight = (torch.from_numpy(x).to(like) for x in (cuts.px, cuts.weight))
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        for step in range(options.steps):
            for group in optimizer.param_groups:
                group['lr'] = options.lr * (1 + math.cos(math.pi * step / options.steps)) / 2 + 1e-6
            rows = np.concatenate((rng.choice(given, half), rng.choice(usable, options.batch_size - half)))
            loss = _loss(result, as_images(cuts.images[rows]).to(like), px[rows], weight[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress()
    return result.eval()


def as_images(images: UInt8[np.ndarray, 'n H W 3']) -> Float[Tensor, 'n 3 H W']:
    """Return images as a network takes them."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _loss(model: KeypointRegressor, images: Tensor, px: Tensor, weight: Tensor) -> Tensor:
    crops = model.augment(images, px, weight, model.swap)
    logits, _ = model.vision.network(crops.images)
    maps, _ = model.vision.head.split(logits)
    energy = model.heatmap_loss.energy(maps, crops.px, crops.weight, model.vision.head.stride)
    return weighted_means({'heatmap': energy}, {'heatmap': 1.0})['heatmap']
