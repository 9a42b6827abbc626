"""Motion of a rig's own clips: one clip after another, drawn at random, with smooth ways between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle

# From one clip to the next, s.
FADE_S = 0.25


@dataclass(frozen=True)
class ClipFrames:
    """What clips say of T frames: `turns` (T, J, 3) of all joints, the root first, axis-angle, rad.

    `places` (T, 3) are the root's, model unit and axes; `scale` (T,) is of the whole body; `betas` (T, S) are weights
    of morph targets.
    """

    turns: Float[Tensor, 'T J 3']
    places: Float[Tensor, 'T 3']
    scale: Float[Tensor, ' T']
    betas: Float[Tensor, 'T S']

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, frames: Tensor | slice) -> 'ClipFrames':
        return ClipFrames(self.turns[frames], self.places[frames], self.scale[frames], self.betas[frames])

    @staticmethod
    def joined(parts: Sequence['ClipFrames']) -> 'ClipFrames':
        """Give frames one after another."""
        names = ('turns', 'places', 'scale', 'betas')
        return ClipFrames(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def mixed(self, other: 'ClipFrames', share: Float[Tensor, ' T']) -> 'ClipFrames':
        """Go from each of these frames to another's by a share; joints turn on the shorter way."""
        row = share[:, None]
        return ClipFrames(
            _turned(self.turns, other.turns, row[..., None]),
            torch.lerp(self.places, other.places, row),
            torch.lerp(self.scale, other.scale, share),
            torch.lerp(self.betas, other.betas, row),
        )


class ClipMotion:
    """Draws motion from clips.

    Args:
        clips: of each the times (T,), s, and its frames.
        fps: frames a second of what is drawn.
        up: the model's; height is the clips' own, and only what they go along the ground goes on from clip to clip.
    """

    def __init__(
        self,
        clips: Sequence[tuple[Float[np.ndarray, ' _'], ClipFrames]],
        fps: float,
        up: Float[np.ndarray, '3'] | None = None,
    ) -> None:
        if not clips:
            raise ValueError('ClipMotion: must have a clip; got none. Take poses from joint limits instead.')
        self.clips = [resampled(times, frames, fps) for times, frames in clips]
        self.fade = max(1, round(FADE_S * fps))
        self.up = torch.zeros(3, dtype=torch.float64) if up is None else torch.as_tensor(up).double()

    def __call__(self, n: int, generator: Generator) -> Float[Tensor, 'n j 3']:
        """Draw n poses by themselves, of all frames alike."""
        return self.alone(n, generator).turns[:, 1:]

    def alone(self, n: int, generator: Generator) -> ClipFrames:
        """Draw n frames by themselves."""
        every = ClipFrames.joined(self.clips)
        return every[torch.randint(len(every), (n,), generator=generator)]

    def with_morphs(self, betas: Float[Tensor, 'T S'], frames: ClipFrames) -> Float[Tensor, 'T S']:
        """Give betas in which those that any clip moves are the clips', and the others stay."""
        moves = torch.stack([(clip.betas != 0).any(0) for clip in self.clips]).any(0)
        return torch.where(moves, frames.betas.to(betas), betas)

    def motion(self, n_frames: int, generator: Generator) -> ClipFrames:
        """Draw a motion; each clip goes on from where the one before has come to along the ground."""
        drawn = self._one(generator)
        while len(drawn) < n_frames:
            after = self._one(generator)
            fade = min(self.fade, len(drawn), len(after))
            after = self._moved(after, drawn.places[-fade] - after.places[0])
            share = (torch.arange(fade, dtype=torch.float64) + 1) / (fade + 1)
            between = drawn[slice(-fade, None)].mixed(after[slice(fade)], share)
            parts = [drawn[slice(-fade)], between, after[slice(fade, None)]]
            # Clips of a frame or two are held, not flickered through.
            if len(after) <= fade:
                parts.append(after[torch.full((self.fade,), -1)])
            drawn = ClipFrames.joined(parts)
        return drawn[slice(n_frames)]

    def _moved(self, frames: ClipFrames, by: Float[Tensor, '3']) -> ClipFrames:
        along = by - (by @ self.up) * self.up
        return ClipFrames(frames.turns, frames.places + along, frames.scale, frames.betas)

    def _one(self, generator: Generator) -> ClipFrames:
        return self.clips[int(torch.randint(len(self.clips), (1,), generator=generator))]


def resampled(times_s: Float[np.ndarray, ' T'], frames: ClipFrames, fps: float) -> ClipFrames:
    """Give a clip at even frames; between two keys all goes at even speed, joints on the shorter way."""
    count = int((times_s[-1] - times_s[0]) * fps) + 1
    when = times_s[0] + np.arange(count) / fps
    before = np.clip(np.searchsorted(times_s, when, 'right') - 1, 0, len(times_s) - 1)
    after = np.minimum(before + 1, len(times_s) - 1)
    span = times_s[after] - times_s[before]
    share = np.where(span > 0, (when - times_s[before]) / np.where(span > 0, span, 1), 0).clip(0, 1)
    keys = (frames[torch.as_tensor(index)] for index in (before, after))
    return next(keys).mixed(next(keys), torch.as_tensor(share))


def _turned(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    first, last = axis_angle_to_rotmat(a), axis_angle_to_rotmat(b)
    step = rotmat_to_axis_angle(first.transpose(-1, -2) @ last)
    return rotmat_to_axis_angle(first @ axis_angle_to_rotmat(share * step))
