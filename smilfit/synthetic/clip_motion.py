"""Motion of a rig's own clips: one clip after another, drawn at random, with smooth ways between them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import Generator, Tensor

from smilfit.body_models import BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.rigs.clip_poses import ClipPoses
from smilfit.synthetic.camera_rigs import SharedVolume

# From one clip to the next, s.
FADE_S = 0.25
# Of the body's size: bones that move by less are noise of the file. Of their length: likewise.
_MOVED, _STRETCHED = 1e-3, 1e-2
# Clips that go less far along the ground, in lengths of the body, step on the spot.
ON_THE_SPOT = 0.25
# What is slower than so many memories of the motion is left to the way, where the whole does not fit the volume.
_SLOW = 3.0


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
        """Return frames one after another."""
        names = ('turns', 'places', 'scale', 'betas')
        return ClipFrames(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def mixed(self, other: 'ClipFrames', share: Float[Tensor, ' T']) -> 'ClipFrames':
        """Go from each of these frames to another's by a share; joints turn on the shorter way."""
        row = share[:, None]
        return ClipFrames(
            _rotated(self.turns, other.turns, row[..., None]),
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
        """Return betas in which those that any clip moves are the clips', and the others stay."""
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
    """Return a clip at even frames; between two keys all goes at even speed, joints on the shorter way."""
    count = int((times_s[-1] - times_s[0]) * fps) + 1
    when = times_s[0] + np.arange(count) / fps
    before = np.clip(np.searchsorted(times_s, when, 'right') - 1, 0, len(times_s) - 1)
    after = np.minimum(before + 1, len(times_s) - 1)
    span = times_s[after] - times_s[before]
    share = np.where(span > 0, (when - times_s[before]) / np.where(span > 0, span, 1), 0).clip(0, 1)
    keys = (frames[torch.as_tensor(index)] for index in (before, after))
    return next(keys).mixed(next(keys), torch.as_tensor(share))


def _rotated(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    first, last = axis_angle_to_rotmat(a), axis_angle_to_rotmat(b)
    step = rotmat_to_axis_angle(first.transpose(-1, -2) @ last)
    return rotmat_to_axis_angle(first @ axis_angle_to_rotmat(share * step))


def clip_frames(clip: ClipPoses, data: BodyModelData) -> ClipFrames:
    """Return what sessions take of a clip: turns, the root's way, the size of the whole, morph targets."""
    arrays = {name: torch.as_tensor(np.asarray(value, float)) for name, value in clip.arrays.items()}
    turns = torch.cat((arrays['global_orient'][:, None], arrays['body_pose']), 1)
    root = torch.as_tensor(data.joints[0]).double()
    places = arrays['transl'] + arrays['scale'][:, None] * root
    betas = arrays.get('betas', torch.zeros(len(clip), data.n_betas, dtype=torch.float64))
    return ClipFrames(turns, places, arrays['scale'], betas)


def clips_without_place(clips: Collection[ClipPoses], data: BodyModelData) -> tuple[str, ...]:
    """Describe in words what clips do to bones beside turning them: parameters of datasets have no place for it.

    Joints that carry no skin, nor any below, are not looked at.
    """
    carries = np.bincount(data.weights.cols, data.weights.values, data.n_joints)
    for joint in range(data.n_joints - 1, 0, -1):
        carries[data.parents[joint]] += carries[joint]
    kept = carries > 0
    size = float(np.ptp(data.v_template, axis=0).max())
    shifts, stretches = {}, {}
    for clip in clips:
        shifts[clip.name] = np.linalg.norm(clip.arrays['joint_offsets'][:, kept], axis=-1).max() / size
        logs = clip.arrays.get('log_joint_scales')
        stretches[clip.name] = 0.0 if logs is None else np.abs(np.expm1(logs[:, kept])).max()
    notes = []
    for what, result, least in (
        ('shift bones by up to {:.1%} of the size', shifts, _MOVED),
        ('scale bones by up to {:.0%}', stretches, _STRETCHED),
    ):
        over = {name: value for name, value in result.items() if value > least}
        if over:
            worst = max(over, key=lambda name: over[name])
            notes.append(
                f'{len(over)} of {len(clips)} {what.format(over[worst])} ({worst}): left out, here bones only turn'
            )
    return tuple(notes)


def travelled(
    frames: ClipFrames,
    heading: Float[Tensor, 'T 3 3'],
    model_up: Float[np.ndarray, '3'],
    up: Float[np.ndarray, '3'],
    scale: float,
) -> Float[Tensor, 'T 3']:
    """Add up the steps of clips from their first frame on: the root's places, world unit.

    Args:
        frames: of the clips, model unit and axes.
        heading: from the model's axes to the world's, of each frame; a step goes the way the animal heads.
        model_up: up in the model's axes.
        up: up in the world.
        scale: model unit to world unit.
    """
    model, world = torch.as_tensor(model_up).double(), torch.as_tensor(up).double()
    height = frames.places @ model
    steps = torch.diff(frames.places - height[:, None] * model, dim=0, prepend=frames.places[:1] * 0)
    steps[:1] = 0
    steps = (heading @ steps[..., None])[..., 0]
    # An animal that leans does not walk into the ground.
    steps = steps - (steps @ world)[:, None] * world
    return scale * (steps.cumsum(0) + (height - height[0])[:, None] * world)


def clip_way(
    centres: Float[np.ndarray, 'T 3'],
    way: Float[np.ndarray, 'T 3'],
    volume: SharedVolume,
    memory: float,
    extent: float,
    alone: bool,
) -> Float[np.ndarray, 'T 3']:
    """Return where an animal's middle goes: as its clips have it, where cameras can follow.

    A motion that travels and fits into the volume that all cameras see stays whole, about the volume's middle. One
    that does not fit, or whose animal has others to keep clear of, keeps what is fast (strides, jumps) about a drawn
    way; clips that step on the spot are carried along the way, with their heights and swings.

    Args:
        centres: as the clips have them, wherever they begin, world unit.
        extent: of the animal, world unit.
        alone: whether no other animal is there.
    """
    own = centres - centres.mean(0)
    across = own - (own @ volume.up)[:, None] * volume.up
    if 2 * np.linalg.norm(across, axis=1).max() <= ON_THE_SPOT * extent:
        return way + own
    if alone and np.linalg.norm(own, axis=1).max() <= volume.radius:
        return volume.centre + own
    return way + own - gaussian_filter1d(own, _SLOW * memory, axis=0, mode='nearest')
