"""Optical flow of one camera: how pixels move from frame to frame, and back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from smilfit.registry import MODELS

# Grey images whose small copies differ by more than this share of white, on average, show another scene.
_CUT = 0.25
_CUT_SIDE = 32
# OpenCV's flow needs images of so many px.
_LEAST_SIDE = 16


@dataclass(frozen=True)
class FlowFields:
    """How pixels move over T frames, at the resolution that flow was computed at.

    `forward[t]` leads from frame t to t + 1, `backward[t]` from t + 1 to t, px of the recorded images. Where `cut[t]`
    is True there is no flow between the two frames: the scene changed.

    Args:
        scale: cells of a field a px of the recorded image.
    """

    forward: Float[np.ndarray, 't h w 2']
    backward: Float[np.ndarray, 't h w 2']
    cut: Bool[np.ndarray, ' t']
    scale: float

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.cut) + 1

    def moved(
        self, points: Float[np.ndarray, '*n 2'], frame: int, step: int = 1
    ) -> Float[np.ndarray, '*n 2']:
        """Move points of a frame to the next one (`step` 1) or the one before (-1); NaN over a cut.

        Args:
            points: px of the recorded image; those outside move as the nearest edge does.
            frame: where they are.
            step: 1 or -1.
        """
        pair = frame if step > 0 else frame - 1
        if self.cut[pair] or not points.size:
            return np.full(points.shape, np.nan)
        field = (self.forward if step > 0 else self.backward)[pair]
        # Pixel centres are at integers, in images and fields.
        cells = (points.reshape(-1, 1, 2) + 0.5) * self.scale - 0.5
        return points + _read(field.astype(np.float32), cells).reshape(points.shape)

    def warped(self, image: Float[np.ndarray, 'h w'], frame: int, to: int) -> Float[np.ndarray, 'h w']:
        """Show an image of a frame, at the resolution of the fields, as it is in the next frame or the one before.

        Args:
            image: such as a mask.
            frame: where it is.
            to: the frame after or before.
        """
        field = self.backward[frame] if to > frame else self.forward[to]
        places = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape[::-1])), -1)
        return _read(image, places + field.astype(np.float64) * self.scale)


def _read(
    image: Float[np.ndarray, 'h w *c'], places: Float[np.ndarray, 'n m 2']
) -> Float[np.ndarray, 'n m *c']:
    """Read an image between its pixels; outside it is as at its edge."""
    x, y = (np.ascontiguousarray(places[..., i], np.float32) for i in range(2))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@runtime_checkable
class FlowEstimator(Protocol):
    """What estimates flow; a tracker of one's own is registered in MODELS and gives this."""

    def __call__(
        self, before: UInt8[np.ndarray, 'h w'], after: UInt8[np.ndarray, 'h w']
    ) -> Float[np.ndarray, 'h w 2']:
        """Return how each pixel of the first grey image moves to the second, px."""
        ...


@MODELS.register_module()
class DISFlow:
    """Dense inverse search as OpenCV has it (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search").

    Args:
        preset: `ultrafast`, `fast` or `medium`.
    """

    _PRESETS = {
        'ultrafast': cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
        'fast': cv2.DISOPTICAL_FLOW_PRESET_FAST,
        'medium': cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    }

    def __init__(self, preset: str = 'medium') -> None:
        if preset not in self._PRESETS:
            raise ValueError(f'DISFlow: preset must be one of {", ".join(self._PRESETS)}; got {preset!r}.')
        self._flow = cv2.DISOpticalFlow.create(self._PRESETS[preset])

    def __call__(
        self, before: UInt8[np.ndarray, 'h w'], after: UInt8[np.ndarray, 'h w']
    ) -> Float[np.ndarray, 'h w 2']:
        """Return how each pixel of the first grey image moves to the second, px."""
        return self._flow.calc(before, after, np.zeros((*before.shape, 2), np.float32))


def flow_fields(
    images: Iterable[UInt8[np.ndarray, 'H W 3']], estimator: FlowEstimator, longest_side: int = 384
) -> FlowFields:
    """Estimate the flow between neighbouring frames, both ways.

    Fields are kept as 16 bit numbers at a resolution of `longest_side` px at most: a window of 256 frames takes less
    than 250 MB. They are read between cells, so that small moves are not lost.

    Raises:
        ValueError: no image, images of different sizes, or smaller than flow can be computed of.
    """
    forward: list[np.ndarray] = []
    backward: list[np.ndarray] = []
    cuts, scale = [], 1.0
    for (before, s), (after, _) in _pairs(images, longest_side):
        scale = s
        cut = _changed(before, after)
        cuts.append(cut)
        for fields, pair in ((forward, (before, after)), (backward, (after, before))):
            field = np.zeros((*before.shape, 2), np.float32) if cut else estimator(*pair) / s
            fields.append(field.astype(np.float16))
    if not cuts:
        raise ValueError('flow: there must be two frames at least. Take a longer recording.')
    return FlowFields(np.stack(forward), np.stack(backward), np.array(cuts), scale)


def _pairs(
    images: Iterable[np.ndarray], longest_side: int
) -> Iterator[Sequence[tuple[UInt8[np.ndarray, 'h w'], float]]]:
    shape: tuple[int, ...] | None = None

    def small() -> Iterator[tuple[np.ndarray, float]]:
        nonlocal shape
        for image in images:
            if shape is not None and image.shape != shape:
                raise ValueError(
                    f'flow: images must be of one size; got {shape[:2]} and {image.shape[:2]} px.'
                )
            shape = image.shape
            scale = min(1.0, longest_side / max(shape[:2]))
            if min(shape[:2]) * scale < _LEAST_SIDE:
                raise ValueError(f'flow: images must have {_LEAST_SIDE} px at least; got {shape[:2]}.')
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            size = (round(shape[1] * scale), round(shape[0] * scale))
            yield (grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)), scale

    return pairwise(small())


def _changed(before: np.ndarray, after: np.ndarray) -> bool:
    tiny = [
        cv2.resize(image, (_CUT_SIDE, _CUT_SIDE), interpolation=cv2.INTER_AREA) for image in (before, after)
    ]
    return bool(np.abs(tiny[0].astype(float) - tiny[1]).mean() > 255 * _CUT)
