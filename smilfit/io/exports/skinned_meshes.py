"""The body of a fit as a mesh: an animated skin, a skeleton's motion, a file a frame."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models import SMIL
from smilfit.geometry.posing import chain_products
from smilfit.geometry.rotation import rotmat_to_quat_wxyz
from smilfit.io import write_mesh
from smilfit.io.exports.base import ExportedFit, ExportOptions, FitExporter
from smilfit.io.meshes.bvh import write_bvh
from smilfit.io.meshes.gltf_animation import (
    Motion,
    SkinnedMesh,
    Viewpoint,
    posed_skin,
    world_matrix,
    write_gltf_animation,
)
from smilfit.registry import EXPORTERS
from smilfit.structures import BodyParams, Cameras
from smilfit.structures.body import MILLIMETRES


@dataclass(frozen=True)
class PosedSkeleton:
    """Joints of T frames, world unit: rotations and offsets in the parent's frame, the root's in the world's.

    Whatever moved a joint (shape, sizes of parts, scales, offsets) is in its offset, so that rotations and offsets
    alone give the positions.
    """

    rotations: Float[np.ndarray, 'T J 3 3']
    offsets: Float[np.ndarray, 'T J 3']
    positions: Float[np.ndarray, 'T J 3']


def posed_skeleton(body: SMIL, params: BodyParams) -> PosedSkeleton:
    """Pose the skeleton of a body."""
    with torch.no_grad():
        positions = body(params, ('joints',)).joints.double()
    turns = params.rotations().double()
    parents = torch.as_tensor(np.asarray(body.data.parents)).clamp_min(0)
    above = chain_products(turns, body.tree.to('cpu', torch.float64)).index_select(1, parents)
    steps = positions - positions.index_select(1, parents)
    offsets = (above.mT @ steps.unsqueeze(-1)).squeeze(-1)
    offsets[:, 0] = positions[:, 0]
    return PosedSkeleton(turns.numpy(), offsets.numpy(), positions.numpy())


logger = logging.getLogger('smilfit')

ANIMATION, SKELETON, MESHES = 'animation.glb', 'skeleton.bvh', 'meshes'
# A glTF skin that is further from the body than this share of its size is reported.
_LARGEST_CHANGE = 1e-3
# Mean cosine from which on an animal's back points along an axis of the world.
_UPRIGHT = 0.7
# Frames in which that is looked at, and frames posed at once.
_LOOKED_AT, _BLOCK = 5, 32


@EXPORTERS.register_module(name='glb')
class GltfExporter(FitExporter):
    """`animation.glb`: the skinned mesh with the fit as its clip, and the cameras as nodes."""

    needs = ('body', 'faces', 'time', 'fps')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write a key a frame that has a body."""
        write_animation(folder / ANIMATION, fit, options.up)


def write_animation(path: Path, fit: ExportedFit, up: str | None = None) -> None:
    """Write an animated skin, one key a frame that has a body; key times are seconds since the first.

    What is one for all frames (shape, sizes of parts, scales and offsets of joints) is in the mesh and the skeleton,
    as its mean where it is not one. A node `world` scales to metres where the unit is known.
    """
    assert fit.fps
    body, params = fit.body, fit.params
    rows = np.flatnonzero(fit.valid)
    mesh = replace(skinned_mesh(body, params), image=fit.skin)
    with torch.no_grad():
        turns = rotmat_to_quat_wxyz(params.rotations()).double().numpy()
    times = (fit.frames[rows] - fit.frames[rows[0]]) / fit.fps
    motion = Motion(times, turns, params.transl.double().numpy(), params.scale.double().numpy())
    metres = MILLIMETRES[fit.unit] / 1000 if fit.unit in MILLIMETRES else None
    extras = {
        'unit': fit.unit,
        'metres_per_unit': metres,
        'axes': "the calibration's, below the node world",
        'up': up,
        'first_frame': int(fit.frames[rows[0]]),
        'fps': fit.fps,
        'recording': fit.name,
    }
    cameras = fit.cameras
    views = [] if cameras is None or cameras.K.ndim != 3 else viewpoints(cameras)
    write_gltf_animation(path, mesh, motion, extras, views, world_matrix(metres, up))
    _warn_of_change(path.name, body, params, mesh, motion)
    if up is None and (axis := probable_up(body, params)):
        logger.info(
            '%s: is in the axes of the calibration, in which the back of the animal points along %s: --up=%s '
            'makes it stand in other programs.',
            path.name,
            axis,
            axis,
        )


def probable_up(body: SMIL, params: BodyParams) -> str | None:
    """Return the world's axis along which the animal's back points over all frames, such as 'z' or '-y'.

    None where the model does not say which way is up, or the back points along no axis: what would make the animal
    stand is then not known.
    """
    if body.data.up_axis is None or body.data.up_axis.lstrip('+-') not in 'xyz':
        return None
    up = params.rotations()[:, 0, :, 'xyz'.index(body.data.up_axis[-1])].double().mean(0).numpy()
    up = -up if body.data.up_axis.startswith('-') else up
    axis = int(np.abs(up).argmax())
    if not abs(up[axis]) > _UPRIGHT:
        return None
    return f'{"-" if up[axis] < 0 else ""}{"xyz"[axis]}'


def skinned_mesh(body: SMIL, params: BodyParams) -> SkinnedMesh:
    """Return the body at rest with what its frames share: the mean of their shapes, and of their joints' sizes."""
    still = params.map(lambda x: x.mean(0, keepdim=True)).as_axis_angle()
    still = still.replace(
        global_orient=torch.zeros_like(still.global_orient),
        body_pose=torch.zeros_like(still.body_pose),
        transl=torch.zeros_like(still.transl),
        scale=torch.ones_like(still.scale),
    )
    with torch.no_grad():
        rest = body.rest_shape(still.betas)
        joints = body.rest_joints_of(still, rest)[0].double().numpy()
        vertices = (rest.vertices + body.frame_offsets(still, None))[0].double().numpy()
        scales, moved = body.joint_scales_and_offsets(still)
    parents = np.asarray(body.data.parents)
    offsets = joints - np.where((parents < 0)[:, None], 0.0, joints[np.maximum(parents, 0)])
    return SkinnedMesh(
        vertices=vertices,
        faces=body.faces.cpu().numpy(),
        joints=joints,
        parents=parents,
        names=tuple(body.joint_names),
        weights=body.weights.double().cpu().numpy(),
        offsets=offsets if moved is None else offsets + moved[0].double().numpy(),
        scales=None if scales is None else scales[0].double().numpy(),
        inherited=body.joint_scale_mode == 'inherited',
    )


def viewpoints(cameras: Cameras) -> list[Viewpoint]:
    """Return cameras as glTF has them; its extras hold the matrix and lens, of which glTF knows the angle alone."""
    result = []
    cameras = cameras.to('cpu', torch.float64)
    for c, name in enumerate(cameras.names):
        K, (width, height) = cameras.K[c].numpy(), cameras.size[c].tolist()
        matrix = np.eye(4)
        # glTF's camera looks along -z with y up, OpenCV's along z with y down.
        matrix[:3, :3] = cameras.R[c].numpy().T @ np.diag([1.0, -1.0, -1.0])
        matrix[:3, 3] = cameras.centres()[c].numpy()
        yfov = 2 * float(np.arctan(height / (2 * K[1, 1])))
        aspect = (width / K[0, 0]) / (height / K[1, 1])
        lens = None if cameras.dist is None else cameras.dist[c].tolist()
        extras = {'K': K.tolist(), 'distortion': lens, 'size_px': [width, height]}
        result.append(Viewpoint(name, matrix, yfov, aspect, extras))
    return result


def _warn_of_change(name: str, body: SMIL, params: BodyParams, mesh: SkinnedMesh, motion: Motion) -> None:
    """Warn where a glTF skin cannot say what the body does: shapes that change with the pose or over time."""
    rows = np.unique(np.linspace(0, params.batch_size - 1, _LOOKED_AT).round().astype(int))
    with torch.no_grad():
        wanted = body(params[torch.from_numpy(rows)], ('vertices',)).vertices.cpu().numpy()
    size = float(np.linalg.norm(np.ptp(wanted, 1), axis=-1).mean())
    shown = np.stack([posed_skin(mesh, motion, row) for row in rows.tolist()])
    change = float(np.linalg.norm(wanted - shown, axis=-1).max()) / size
    if change > _LARGEST_CHANGE:
        logger.warning(
            "%s: is up to %.2g of the body's size from the fitted meshes: glTF has one shape for all frames, and "
            'none that depends on the pose.',
            name,
            change,
        )


@EXPORTERS.register_module(name='bvh')
class BvhExporter(FitExporter):
    """`skeleton.bvh`: the skeleton's motion, in the unit and axes of the calibration."""

    needs = ('body', 'time', 'fps')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it. Frames of the format follow each other evenly: one that was not fitted shows the nearest one."""
        assert fit.fps
        rows = np.flatnonzero(fit.valid)
        numbers = fit.frames[rows]
        step = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
        every = np.arange(numbers[0], numbers[-1] + 1, step)
        after = np.searchsorted(numbers, every)
        before = (after - 1).clip(0)
        nearest = np.where(every - numbers[before] < numbers[after] - every, before, after)
        held = len(every) - len(numbers)
        if held:
            logger.warning(
                '%s: %d of %d frames were not fitted and show the nearest one.', SKELETON, held, len(every)
            )
        posed = posed_skeleton(fit.body, fit.params)
        names, parents = fit.body.data.joint_names, np.asarray(fit.body.data.parents)
        turns, offsets = posed.rotations[nearest], posed.offsets[nearest]
        write_bvh(folder / SKELETON, names, parents, turns, offsets, step / fit.fps)


@EXPORTERS.register_module(name='meshes')
class MeshesExporter(FitExporter):
    """`meshes/FRAME.obj` (or ply, glb): every n-th frame's mesh, in the unit and axes of the calibration."""

    needs = ('body', 'faces')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write them."""
        write_meshes(folder / MESHES, fit, options.mesh_format, options.every)


def write_meshes(folder: Path, fit: ExportedFit, kind: str, every: int) -> None:
    """Write the mesh of every n-th frame that has a body, world unit; files have the frame's number."""
    body, params = fit.body, fit.params
    faces, numbers = body.faces.cpu().numpy(), fit.frames[np.flatnonzero(fit.valid)]
    rows = torch.arange(0, params.batch_size, every)
    folder.mkdir(parents=True, exist_ok=True)
    for block in rows.split(_BLOCK):
        with torch.no_grad():
            vertices = body(params[block], ('vertices',)).vertices.double().numpy()
        for row, one in zip(block.tolist(), vertices):
            write_mesh(folder / f'{numbers[row]:06d}.{kind}', one, faces)
