"""Clips of an imported rig as motion of made sessions, and what of them such sessions have no place for."""

from collections.abc import Collection

import numpy as np
import torch

from smilfit.body_models import BodyModelData
from smilfit.rigs.clip_poses import ClipPoses
from smilfit.synthetic.clip_motion import ClipFrames

# Of the body's size: bones that move by less are noise of the file. Of their length: likewise.
_MOVED, _STRETCHED = 1e-3, 1e-2


def clip_frames(clip: ClipPoses, data: BodyModelData) -> ClipFrames:
    """Give what sessions take of a clip: turns, the root's way, the size of the whole, morph targets."""
    arrays = {name: torch.as_tensor(np.asarray(value, float)) for name, value in clip.arrays.items()}
    turns = torch.cat((arrays['global_orient'][:, None], arrays['body_pose']), 1)
    root = torch.as_tensor(data.joints[0]).double()
    places = arrays['transl'] + arrays['scale'][:, None] * root
    betas = arrays.get('betas', torch.zeros(len(clip), data.n_betas, dtype=torch.float64))
    return ClipFrames(turns, places, arrays['scale'], betas)


def clips_without_place(clips: Collection[ClipPoses], data: BodyModelData) -> tuple[str, ...]:
    """Say in words what clips do to bones beside turning them: parameters of datasets have no place for it.

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
    told = []
    for what, found, least in (
        ('shift bones by up to {:.1%} of the size', shifts, _MOVED),
        ('scale bones by up to {:.0%}', stretches, _STRETCHED),
    ):
        over = {name: value for name, value in found.items() if value > least}
        if over:
            worst = max(over, key=lambda name: over[name])
            told.append(
                f'{len(over)} of {len(clips)} {what.format(over[worst])} ({worst}): left out, here bones only turn'
            )
    return tuple(told)
