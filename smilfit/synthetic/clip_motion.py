"""Motion of a rig's own clips: one clip after another, drawn at random, with smooth ways between them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle

# From one clip to the next, s.
FADE_S = 0.25


class ClipMotion:
    """Draws motion from clips.

    Args:
        clips: of each the times (T,), s, and the turns (T, J, 3) of all joints, the root first, axis-angle, rad.
        fps: frames a second of what is drawn.
    """

    def __init__(
        self,
        clips: Sequence[tuple[Float[np.ndarray, ' _'], Float[np.ndarray, '_ J 3']]],
        fps: float,
    ) -> None:
        if not clips:
            raise ValueError('ClipMotion: must have a clip; got none. Take poses from joint limits instead.')
        self.clips = [resampled(times, turns, fps) for times, turns in clips]
        self.fade = max(1, round(FADE_S * fps))

    def __call__(self, n: int, generator: Generator) -> Float[Tensor, 'n j 3']:
        """Draw n poses by themselves, of all frames alike."""
        every = torch.cat(self.clips)[:, 1:]
        return every[torch.randint(len(every), (n,), generator=generator)]

    def motion(self, n_frames: int, generator: Generator) -> Float[Tensor, 'T J 3']:
        """Draw a motion: turns of all joints, the root first."""
        drawn = self._one(generator)
        while len(drawn) < n_frames:
            after = self._one(generator)
            fade = min(self.fade, len(drawn), len(after))
            share = (torch.arange(fade, dtype=torch.float64) + 1) / (fade + 1)
            between = _turned(drawn[-fade:], after[:fade], share[:, None, None])
            drawn = torch.cat((drawn[:-fade], between, after[fade:]))
            # Clips of a frame or two are held, not flickered through.
            if len(after) <= fade:
                drawn = torch.cat((drawn, after[-1:].expand(self.fade, -1, -1)))
        return drawn[:n_frames]

    def _one(self, generator: Generator) -> Tensor:
        return self.clips[int(torch.randint(len(self.clips), (1,), generator=generator))]


def resampled(
    times_s: Float[np.ndarray, ' T'], turns: Float[np.ndarray, 'T J 3'], fps: float
) -> Float[Tensor, 'N J 3']:
    """Give a clip at even frames; between two keys joints turn at even speed on the shorter way."""
    keys = torch.as_tensor(turns, dtype=torch.float64)
    count = int((times_s[-1] - times_s[0]) * fps) + 1
    when = times_s[0] + np.arange(count) / fps
    before = np.clip(np.searchsorted(times_s, when, 'right') - 1, 0, len(times_s) - 1)
    after = np.minimum(before + 1, len(times_s) - 1)
    span = times_s[after] - times_s[before]
    share = np.where(span > 0, (when - times_s[before]) / np.where(span > 0, span, 1), 0).clip(0, 1)
    return _turned(keys[before], keys[after], torch.as_tensor(share)[:, None, None])


def _turned(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    first, last = axis_angle_to_rotmat(a), axis_angle_to_rotmat(b)
    step = rotmat_to_axis_angle(first.transpose(-1, -2) @ last)
    return rotmat_to_axis_angle(first @ axis_angle_to_rotmat(share * step))
