"""A fit in the formats of other programs: a class a format, registered under its word."""

from smilfit.exports.base import ExportOptions, FitExporter, exporter, formats
from smilfit.exports.exported_fit import ExportedFit
from smilfit.exports.joint_angles import JointAngles, bone_axes, joint_angles
from smilfit.exports.nwb import NwbExporter
from smilfit.exports.points import AniposeExporter, CalibrationExporter, Points3dExporter
from smilfit.exports.skeleton import PosedSkeleton, posed_skeleton
from smilfit.exports.skin import (
    BvhExporter,
    GltfExporter,
    MeshesExporter,
    skinned_mesh,
    write_animation,
    write_meshes,
)
from smilfit.exports.tables import AnglesExporter, BonesExporter, FramesExporter, write_angles
from smilfit.exports.views import DlcExporter, ReprojectionsExporter, SleapExporter

__all__ = [
    'AnglesExporter',
    'AniposeExporter',
    'BonesExporter',
    'BvhExporter',
    'CalibrationExporter',
    'DlcExporter',
    'ExportOptions',
    'ExportedFit',
    'FitExporter',
    'FramesExporter',
    'GltfExporter',
    'JointAngles',
    'MeshesExporter',
    'NwbExporter',
    'Points3dExporter',
    'PosedSkeleton',
    'ReprojectionsExporter',
    'SleapExporter',
    'bone_axes',
    'exporter',
    'formats',
    'joint_angles',
    'posed_skeleton',
    'skinned_mesh',
    'write_angles',
    'write_animation',
    'write_meshes',
]
