"""Rigs of other programs, and how they become body models: readers, cleaning, limits, clips."""

from smilfit.rigs.building import ImportReport, build_model
from smilfit.rigs.clip_poses import ClipPoses, read_clips, write_clips
from smilfit.rigs.read_rig import Clip, Rig, Site, read_rig

__all__ = [
    'Clip',
    'ClipPoses',
    'ImportReport',
    'Rig',
    'Site',
    'build_model',
    'read_clips',
    'read_rig',
    'write_clips',
]
