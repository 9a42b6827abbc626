"""Where clips take an animal: their own steps along the ground and heights, in the part of the world that is seen."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.synthetic.clip_motion import ClipFrames
from smilfit.synthetic.placement import SharedVolume

# Clips that go less far along the ground, in lengths of the body, step on the spot.
ON_THE_SPOT = 0.25
# What is slower than so many memories of the motion is left to the way, where the whole does not fit the volume.
_SLOW = 3.0


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
    middles: Float[np.ndarray, 'T 3'],
    way: Float[np.ndarray, 'T 3'],
    volume: SharedVolume,
    memory: float,
    extent: float,
    alone: bool,
) -> Float[np.ndarray, 'T 3']:
    """Give where an animal's middle goes: as its clips have it, where cameras can follow.

    A motion that travels and fits into the volume that all cameras see stays whole, about the volume's middle. One
    that does not fit, or whose animal has others to keep clear of, keeps what is fast (strides, jumps) about a drawn
    way; clips that step on the spot are carried along the way, with their heights and swings.

    Args:
        middles: as the clips have them, wherever they begin, world unit.
        way: drawn.
        volume: that all cameras see.
        memory: of the motion, frames.
        extent: of the animal, world unit.
        alone: whether no other animal is there.
    """
    from scipy.ndimage import gaussian_filter1d

    own = middles - middles.mean(0)
    across = own - (own @ volume.up)[:, None] * volume.up
    if 2 * np.linalg.norm(across, axis=1).max() <= ON_THE_SPOT * extent:
        return way + own
    if alone and np.linalg.norm(own, axis=1).max() <= volume.radius:
        return volume.centre + own
    return way + own - gaussian_filter1d(own, _SLOW * memory, axis=0, mode='nearest')
