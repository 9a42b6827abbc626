"""Masks of all frames of a video from those of a few: carried along the flow, and judged by colour and change.

A small network says of each pixel whether it is the animal's: from the masks that arrive there along the flow, the
change against the median of the video, and the colour. It learns from the given masks alone, each of which is
described as if it were not known: by masks that come from neighbouring given ones, and by its own after a way there
and back.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import nn
from torch.nn import functional

from smilfit.evaluation.image_fit import mask_iou
from smilfit.networks.video.flow import FlowFields

_FEATURES = 11
# Pixels of a given mask, near it, and far from it that are learned from; how far near is, a share of the longer side.
_INSIDE, _NEAR, _FAR, _REACH = 1500, 2500, 500, 0.07
_STEPS, _BATCH, _LR = 500, 4096, 5e-3
# Frames of the way there and back.
_TRIP = 3
# Frames of which the median is taken.
_MEDIAN = 32
_NOWHERE = 10_000


@dataclass(frozen=True)
class PropagatedMasks:
    """Masks of the frames of one window.

    Args:
        masks: as they were given, or found; empty where nothing arrives.
        known: frames that have one: all but those that are cut off from every given mask.
        expected_iou: what masks that were left out were met with; NaN where there were too few.
        learned: whether the network was the better one, or the flow by itself.
    """

    masks: Bool[np.ndarray, 'T H W']
    known: Bool[np.ndarray, ' T']
    expected_iou: float
    learned: bool


def propagate_masks(
    images: Iterable[UInt8[np.ndarray, 'H W 3']],
    given: dict[int, Bool[np.ndarray, 'H W']],
    flow: FlowFields,
    seed: int = 0,
) -> PropagatedMasks:
    """Find the masks of all frames of a window.

    Args:
        images: RGB, of all frames; read once, and kept at the resolution of the flow.
        given: masks by frame; two at least.
        flow: of the frames.
        seed: of all chance.

    Raises:
        ValueError: fewer than two masks, or one of another size than the images.
    """
    if len(given) < 2:
        raise ValueError(
            f'masks: two masks at least must be given; got {len(given)}. Draw masks of a few frames, spread over the '
            'recording.'
        )
    window = _Window(images, given, flow, seed)
    height, width = window.full
    rows = sorted(given)
    halves = rows[::2], rows[1::2]
    scores: list[list[float]] = [[], []] if len(rows) >= 4 else []
    for learned_from, judged in (halves, halves[::-1]) if scores else ():
        network = window.learn(learned_from)
        carried = window.carry({t: window.given[t] for t in learned_from})
        for t in judged:
            share, flown = window.share(network, carried, t), window.mixed(carried, t)
            for kept, result in zip(scores, (share, flown)):
                kept.append(mask_iou(result > 0.5, window.given[t] > 0.5))
    learned = not scores or np.mean(scores[0]) >= np.mean(scores[1])
    expected = max(map(np.mean, scores)) if scores else float('nan')
    network, carried = window.learn(rows), window.carry(window.given)
    masks = np.zeros((window.n, height, width), np.bool_)
    known = np.zeros(window.n, np.bool_)
    for t in range(window.n):
        if t in given:
            masks[t], known[t] = given[t], True
        elif min(age[t] for _, age in carried) < _NOWHERE:
            small = window.share(network, carried, t) if learned else window.mixed(carried, t)
            masks[t] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
            known[t] = True
    return PropagatedMasks(masks, known, float(expected), bool(learned))


Carried = tuple[tuple[Float[np.ndarray, 'T h w'], list[int]], tuple[Float[np.ndarray, 'T h w'], list[int]]]


class _Window:
    """Frames of a window at the resolution of the flow."""

    def __init__(
        self,
        images: Iterable[np.ndarray],
        given: dict[int, np.ndarray],
        flow: FlowFields,
        seed: int,
    ) -> None:
        self.flow, self.shape, self.n = flow, flow.forward.shape[1:3], len(flow)
        size, self.full, self.colours = self.shape[::-1], (0, 0), []
        for image in images:
            self.full = image.shape[0], image.shape[1]
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            self.colours.append(cv2.cvtColor(small, cv2.COLOR_RGB2LAB))
        for t, mask in given.items():
            if mask.shape != self.full:
                raise ValueError(
                    f'masks: masks must have the size of the images, {self.full[::-1]} px; that of frame {t} has '
                    f'{mask.shape[::-1]}. Draw masks on the frames as they were recorded.'
                )
        self.given = {
            t: cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            for t, mask in given.items()
        }
        step = max(1, self.n // _MEDIAN)
        self.median = np.median(self.colours[::step], 0).astype(np.float32)
        self.rng, self.seed = np.random.default_rng(seed), seed

    def carry(self, given: dict[int, np.ndarray]) -> Carried:
        """Carry masks forwards and backwards over all frames, with the frames that each was carried."""
        return self._one_way(given, 1), self._one_way(given, -1)

    def _one_way(self, given: dict[int, np.ndarray], step: int) -> tuple[np.ndarray, list[int]]:
        masks, age = np.full((self.n, *self.shape), 0.5, np.float32), [_NOWHERE] * self.n
        for t in range(self.n) if step > 0 else range(self.n - 1, -1, -1):
            last = t - step
            if t in given:
                masks[t], age[t] = given[t], 0
            elif 0 <= last < self.n and age[last] < _NOWHERE and not self.flow.cut[min(t, last)]:
                masks[t], age[t] = self.flow.warped(masks[last], last, t), age[last] + 1
        return masks, age

    def mixed(self, carried: Carried, t: int) -> Float[np.ndarray, 'h w']:
        """Return the mean of what arrives from both sides, by how many frames each was carried."""
        weight = [1 / (age[t] + 0.5) if age[t] < _NOWHERE else 0.0 for _, age in carried]
        total = max(sum(weight), 1e-9)
        return sum(w * masks[t] for w, (masks, _) in zip(weight, carried)) / np.float32(total)

    def features(self, carried: Carried, t: int) -> Float[np.ndarray, 'h w F']:
        """Describe each pixel of a frame."""
        mixed = self.mixed(carried, t).astype(np.float32)
        (before, age), (after, other) = carried
        both = max(age[t], other[t]) < _NOWHERE
        colour = self.colours[t].astype(np.float32)
        change = np.abs(colour - self.median).sum(-1)
        move = self.flow.forward[min(t, len(self.flow.forward) - 1)].astype(np.float32)
        speed = np.linalg.norm(move - np.median(move.reshape(-1, 2), 0), axis=-1)
        parts = [
            *(mixed, *(cv2.GaussianBlur(mixed, (0, 0), s) for s in (4.0, 12.0))),
            np.abs(before[t] - after[t]) if both else np.zeros_like(mixed),
            *(change, *(cv2.GaussianBlur(change, (0, 0), s) for s in (1.5, 4.0))),
            *cv2.split(cv2.GaussianBlur(colour, (0, 0), 1.2)),
            speed,
        ]
        return np.stack(parts, -1).astype(np.float32)

    def learn(self, rows: Sequence[int]) -> nn.Module:
        """Learn from given masks, each as if it were not known."""
        described, truth = [], []
        for t in rows:
            others = self.carry({s: self.given[s] for s in rows if s != t})
            for carried in (others, *self._trips(t)):
                chosen = self._chosen(self.given[t] > 0.5)
                described.append(self.features(carried, t).reshape(-1, _FEATURES)[chosen])
                truth.append(self.given[t].reshape(-1)[chosen])
        x, y = (torch.from_numpy(np.concatenate(each)) for each in (described, truth))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return _trained(x, y)

    def _trips(self, t: int) -> Iterator[Carried]:
        """Carry a mask some frames away and back, both ways, where the recording goes so far."""
        ways = []
        for step in (1, -1):
            rows = [t + step * i for i in range(_TRIP + 1)]
            inside = 0 <= rows[-1] < self.n and not any(
                self.flow.cut[min(a, b)] for a, b in zip(rows, rows[1:])
            )
            if not inside:
                return
            mask = self.given[t]
            for at, to in [*zip(rows, rows[1:]), *zip(rows[::-1], rows[::-1][1:])]:
                mask = self.flow.warped(mask, at, to)
            masks = np.broadcast_to(mask, (self.n, *self.shape))
            ways.append((masks, [2 * _TRIP] * self.n))
        yield ways[1], ways[0]

    def _chosen(self, mask: np.ndarray) -> np.ndarray:
        """Choose pixels to learn from: of the mask, near it, and elsewhere."""
        reach = 2 * round(_REACH * max(self.shape)) + 1
        near = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach))).astype(bool)
        groups = ((mask, _INSIDE), (near & ~mask, _NEAR), (~near, _FAR))
        places = [(np.flatnonzero(group), count) for group, count in groups]
        return np.concatenate(
            [self.rng.choice(p, min(n, len(p)), replace=False) for p, n in places if len(p)]
        )

    @torch.no_grad()
    def share(self, network: nn.Module, carried: Carried, t: int) -> Float[np.ndarray, 'h w']:
        """Return how likely each pixel is the animal's."""
        logits = network(torch.from_numpy(self.features(carried, t).reshape(-1, _FEATURES)))
        share = logits.sigmoid().numpy().reshape(self.shape)
        return cv2.GaussianBlur(share, (0, 0), 0.8)


class _PixelNetwork(nn.Module):
    """Two hidden layers over standardised features."""

    def __init__(self, mean: torch.Tensor, sd: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer('mean', mean)
        self.register_buffer('sd', sd)
        self.net = nn.Sequential(
            *(nn.Linear(_FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        )

    def forward(self, x: Float[torch.Tensor, 'N F']) -> Float[torch.Tensor, ' N']:
        """Return logits."""
        return self.net((x - self.get_buffer('mean')) / self.get_buffer('sd')).squeeze(-1)


def _trained(x: Float[torch.Tensor, 'N F'], y: Float[torch.Tensor, ' N']) -> nn.Module:
    network = _PixelNetwork(x.mean(0), x.std(0) + 1e-3)
    optimizer = torch.optim.AdamW(network.parameters(), _LR, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        rows = torch.randint(len(x), (_BATCH,))
        loss = functional.binary_cross_entropy_with_logits(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()
