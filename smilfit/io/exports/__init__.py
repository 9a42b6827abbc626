"""A fit in the formats of other programs: a class a format, registered under its word."""

from smilfit.io.exports.anipose_points import (
    AniposeExporter,
    CalibrationExporter,
    DlcExporter,
    NwbExporter,
    Points3dExporter,
    ReprojectionsExporter,
    SleapExporter,
)
from smilfit.io.exports.base import ExportedFit, ExportOptions, FitExporter, exporter, formats
from smilfit.io.exports.joint_angles import JointAngles, bone_axes, joint_angles
from smilfit.io.exports.skinned_meshes import (
    BvhExporter,
    GltfExporter,
    MeshesExporter,
    PosedSkeleton,
    posed_skeleton,
    skinned_mesh,
    write_animation,
    write_meshes,
)
from smilfit.io.exports.tables import AnglesExporter, BonesExporter, FramesExporter, write_angles

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
