"""The numbers of a session's samples in a SMILify file: by camera, in the session's world, and their poses.

Its merger and its replicAnt preprocessor put every sample into the frame of the sample's lowest camera, rotated by
`diag(-1, -1, 1)`, and keep that camera's R, t: a point of the session is `R^T (diag(-1, -1, 1) x - t)`.

Poses are taken where the body, so posed, has its stored 3D keypoints. What the file's translations and scales mean
depends on who wrote it, so place, heading and size come from the 3D keypoints, in closed form; only the joints'
rotations and the shape are the file's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.body_models import SMIL, BodyModelData
from smilfit.datasets.store.known_params import KnownParams
from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.datasets.store.stored_values import check_finite
from smilfit.geometry.alignment import procrustes
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.smilify.schema import CAMERAS, KEYPOINTS, POSED, SmilifyFacts, whole_table
from smilfit.smilify.schema import PARAMETERS as STATED
from smilfit.structures import PARAMETERS

TURN = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class WorldMaps:
    """A rigid map a sample: a point of the sample is `turn y + shift`, y of the session's world."""

    rotation: Float[np.ndarray, 'n 3 3']
    shift: Float[np.ndarray, 'n 3']

    @classmethod
    def none(cls, count: int) -> 'WorldMaps':
        """Return the maps of samples that have the session's world."""
        return cls(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)))

    @classmethod
    def from_canonical(cls, R: Float[np.ndarray, 'n 3 3'], t: Float[np.ndarray, 'n 3']) -> 'WorldMaps':
        """Return the maps that `canonical_to_world_R`, `_t` state: x = diag(-1, -1, 1) (R y + t)."""
        return cls(TURN @ R, t @ TURN)

    def points(self, xyz: Float[np.ndarray, 'n P 3']) -> Float[np.ndarray, 'n P 3']:
        """Move points of the samples into the session's world."""
        return (xyz - self.shift[:, None]) @ self.rotation

    def cameras(
        self, R: Float[np.ndarray, 'n C 3 3'], t: Float[np.ndarray, 'n C 3']
    ) -> tuple[Float[np.ndarray, 'n C 3 3'], Float[np.ndarray, 'n C 3']]:
        """Move cameras, so that they see the moved points where they saw the others."""
        return R @ self.rotation[:, None], t + np.einsum('ncij,nj->nci', R, self.shift)


def spread_of_cameras(
    R: Float[np.ndarray, 'n C 3 3'], t: Float[np.ndarray, 'n C 3'], mask: Bool[np.ndarray, 'n C']
) -> tuple[float, float]:
    """Return how far cameras that should stand still move over a session: rad, and in shares of the rig's size."""
    rotations, shifts = [0.0], [0.0]
    centres = -np.einsum('ncji,ncj->nci', R, t)
    size = max(float(np.abs(t[mask]).max(initial=0.0)), 1e-12)
    for c in np.flatnonzero(mask.any(0)):
        visible = mask[:, c]
        rotations.append(float(np.abs(R[visible, c] - R[visible, c][0]).max()))
        shifts.append(
            float(np.linalg.norm(centres[visible, c] - centres[visible, c][0], axis=-1).max()) / size
        )
    return max(rotations), max(shifts)


def mean_camera(
    R: Float[np.ndarray, 'n 3 3'], t: Float[np.ndarray, 'n 3']
) -> tuple[Float[np.ndarray, '3 3'], Float[np.ndarray, '3']]:
    """Average a camera that stands still but for rounding."""
    u, _, v = np.linalg.svd(R.mean(0))
    return u @ v, t.mean(0)


@dataclass(frozen=True)
class SampleTables:
    """n samples of one session, C cameras of the file, J joints.

    `rows` are the samples' places in the file and `slots` (n, C) each camera's slot of images, -1 where it has none.
    Cameras are as the file has them (K of stored px as it counts them, or of whole images); R, t and points are in
    the session's world and the file's unit.
    """

    path: Path
    side: int
    crop_mode: str
    camera_names: tuple[str, ...]
    rows: Int[np.ndarray, ' n']
    frames: Int[np.ndarray, ' n']
    slots: Int[np.ndarray, 'n C']
    K: Float[np.ndarray, 'n C 3 3']
    R: Float[np.ndarray, 'n C 3 3']
    t: Float[np.ndarray, 'n C 3']
    sizes: Int[np.ndarray, 'n C 2'] | None
    keypoints: Float[np.ndarray, 'n C J 2']
    visibility: Float[np.ndarray, 'n C J']
    points: Float[np.ndarray, 'n J 3']
    has_point: Bool[np.ndarray, 'n J']
    # Rotations of all joints in their parents' frames and shapes, where `posed` says that they are known.
    poses: Float[np.ndarray, 'n J 3'] | None
    shapes: Float[np.ndarray, ' n S']
    posed: Bool[np.ndarray, ' n']

    def labels_px(self, cameras: np.ndarray) -> Float[np.ndarray, 'n c J 2']:
        """Return labels of some cameras in stored px as the file counts them, (x, y); 0 where not visible."""
        pixels = self.keypoints[:, cameras][..., ::-1] * self.side
        return np.where(self.visible(cameras)[..., None] > 0, pixels, 0.0)

    def visible(self, cameras: np.ndarray) -> Float[np.ndarray, 'n c J']:
        """Return how sure the file is of labels of some cameras, 0 to 1."""
        return np.clip(self.visibility[:, cameras], 0.0, 1.0)


def read_samples(file: h5py.File, path: Path, facts: SmilifyFacts) -> dict[str, SampleTables]:
    """Read the numbers of all samples, session by session, in the order of frames.

    Raises:
        BadFileError: numbers that are not finite.
    """
    arrays = _read_arrays(file, path, facts)
    maps = WorldMaps.none(len(facts.frames))
    if 'auxiliary/canonical_to_world_R' in file and 'auxiliary/canonical_to_world_t' in file:
        R, t = (
            whole_table(file['auxiliary'], f'canonical_to_world_{n}', path).astype(np.float64) for n in 'Rt'
        )
        check_finite(R, 'auxiliary/canonical_to_world_R', path)
        check_finite(t, 'auxiliary/canonical_to_world_t', path)
        maps = WorldMaps.from_canonical(R, t)
    sessions = np.array(facts.sessions, dtype=object)
    result = {}
    for name in dict.fromkeys(facts.sessions):
        rows = np.flatnonzero(sessions == name)
        rows = rows[np.argsort(facts.frames[rows], kind='stable')]
        result[name] = _session_tables(path, facts, arrays, rows, maps)
    return result


def _read_arrays(file: h5py.File, path: Path, facts: SmilifyFacts) -> dict[str, np.ndarray]:
    keypoints = file[KEYPOINTS]
    tables = ['keypoints_2d', 'keypoint_visibility', 'keypoints_3d', *CAMERAS.values()]
    arrays = {name: whole_table(keypoints, name, path).astype(np.float64) for name in tables}
    check_finite(arrays['keypoint_visibility'], f'{KEYPOINTS}/keypoint_visibility', path)
    check_finite(arrays['keypoints_3d'], f'{KEYPOINTS}/keypoints_3d', path)
    # What is not visible may hold anything.
    visible = (arrays['keypoint_visibility'] > 0) & (facts.slots >= 0)[..., None]
    check_finite(arrays['keypoints_2d'][visible], f'{KEYPOINTS}/keypoints_2d', path)
    if 'image_sizes' in keypoints:
        arrays['image_sizes'] = whole_table(keypoints, 'image_sizes', path)
    if 'auxiliary/has_3d_data' in file:
        arrays['has_3d_data'] = whole_table(file['auxiliary'], 'has_3d_data', path)
    arrays['posed'] = np.zeros(len(facts.frames), np.bool_)
    arrays['shapes'] = np.zeros((len(facts.frames), facts.n_betas))
    if f'auxiliary/{POSED}' in file and f'{STATED}/joint_rot' in file:
        arrays['posed'] = whole_table(file['auxiliary'], POSED, path)
        arrays['poses'] = whole_table(file[STATED], 'joint_rot', path).astype(np.float64)
        check_finite(arrays['poses'][arrays['posed']], f'{STATED}/joint_rot', path)
        if f'{STATED}/betas' in file:
            arrays['shapes'] = whole_table(file[STATED], 'betas', path).astype(np.float64)
            check_finite(arrays['shapes'][arrays['posed']], f'{STATED}/betas', path)
    return arrays


def _session_tables(
    path: Path,
    facts: SmilifyFacts,
    arrays: Mapping[str, np.ndarray],
    rows: np.ndarray,
    maps: WorldMaps,
) -> SampleTables:
    slots = np.full((len(rows), len(facts.camera_names)), -1, np.int64)
    for i, row in enumerate(rows):
        for slot in np.flatnonzero(facts.slots[row] >= 0):
            slots[i, facts.slots[row, slot]] = slot

    def spread(name: str) -> np.ndarray:
        values = arrays[name][rows[:, None], np.maximum(slots, 0)]
        has = (slots >= 0).reshape(*slots.shape, *(1,) * (values.ndim - 2))
        return np.where(has, values, 0).astype(values.dtype)

    R, t = spread(CAMERAS['R']), spread(CAMERAS['t'])
    xyz = arrays['keypoints_3d'][rows]
    has_point = (xyz != 0).any(-1)
    if 'has_3d_data' in arrays:
        has_point &= arrays['has_3d_data'][rows, None]
    own = WorldMaps(maps.rotation[rows], maps.shift[rows])
    moved = own.cameras(R, t)
    # A merger may state maps of samples that were never moved: what lets the cameras stand still is right.
    if _still(*moved, slots) <= _still(R, t, slots):
        (R, t), xyz = moved, own.points(xyz)
    return SampleTables(
        path=path,
        side=facts.target_resolution,
        crop_mode=facts.crop_mode,
        camera_names=facts.camera_names,
        rows=rows,
        frames=facts.frames[rows],
        slots=slots,
        K=spread(CAMERAS['K']),
        R=R,
        t=t,
        sizes=spread('image_sizes') if 'image_sizes' in arrays else None,
        keypoints=np.nan_to_num(spread('keypoints_2d'), nan=0.0, posinf=0.0, neginf=0.0),
        visibility=spread('keypoint_visibility'),
        points=np.where(has_point[..., None], xyz, 0.0),
        has_point=has_point,
        poses=arrays['poses'][rows] if 'poses' in arrays else None,
        shapes=arrays['shapes'][rows],
        posed=arrays['posed'][rows],
    )


def _still(R: np.ndarray, t: np.ndarray, slots: np.ndarray) -> float:
    return sum(spread_of_cameras(R, t, slots >= 0))


# RMS distance from the 3D keypoints over their RMS distance from their centre, up to which a pose is believed; joints
# dealt out wrongly reach 0.3 and more.
MOST_MISS = 0.05
LEAST_POINTS = 4


def known_poses(tables: SampleTables, body: BodyModelData | None, length_factor: float) -> KnownParams | None:
    """Return the parameters of a session's samples; None where the file states none.

    Args:
        tables: the samples.
        body: the model that the file was made with; None where it is not the one of the dataset file to be, to which
            the poses do not belong.
        length_factor: from the file's lengths to the session's unit.
    """
    if tables.poses is None or not tables.posed.any():
        return None
    posed = np.flatnonzero(tables.posed)
    if body is None or tables.shapes.shape[1] != body.n_betas:
        return KnownParams({}, np.zeros(len(tables.rows), np.bool_), len(posed))
    sizes = {'J': body.n_joints, 'S': body.n_betas}
    values = {name: np.zeros((len(tables.rows), *PARAMETERS[name].row(sizes))) for name in PARAM_NAMES}
    result, miss = _placed(tables, tables.poses[posed], SMIL(body).double(), posed, length_factor)
    known, good = np.zeros(len(tables.rows), np.bool_), miss <= MOST_MISS
    known[posed] = good
    for name, value in result.items():
        values[name][posed[good]] = value[good]
    return KnownParams(values, known, int((~good).sum()))


@torch.no_grad()
def _placed(
    tables: SampleTables,
    poses: Float[np.ndarray, 'p J 3'],
    body: SMIL,
    rows: Int[np.ndarray, ' p'],
    length_factor: float,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pose the body, lay it on the 3D keypoints, and say how far it misses them, in shares of their extent."""
    pose = torch.from_numpy(poses[:, 1:])
    shape = torch.from_numpy(tables.shapes[rows])
    params = body.zero_params(len(pose)).replace(body_pose=pose, betas=shape)
    joints = body(params, need=('joints',)).joints
    points = torch.from_numpy(tables.points[rows]) * length_factor
    weight = torch.from_numpy(tables.has_point[rows]).double()
    laid = procrustes(joints, points, weight)
    rotated = torch.einsum('nij,nkj->nki', laid.rotation, joints)
    left = laid.scale[:, None, None] * rotated + laid.translation[:, None] - points
    centre = (weight.unsqueeze(-1) * points).sum(1, keepdim=True) / weight.sum(1)[:, None, None].clamp_min(1)
    away, extent = ((weight * x.square().sum(-1)).sum(1) for x in (left, points - centre))
    miss = (away / extent.clamp_min(1e-300)).sqrt()
    usable = laid.determined & (weight.sum(1) >= LEAST_POINTS)
    # The root turns about its own joint.
    root = joints[:, 0]
    about_root = root - torch.einsum('nij,nj->ni', laid.rotation, root)
    result = {
        'global_orient': rotmat_to_axis_angle(laid.rotation),
        'body_pose': pose,
        'betas': shape,
        'transl': laid.translation - laid.scale[:, None] * about_root,
        'scale': laid.scale,
    }
    return {n: v.numpy() for n, v in result.items()}, torch.where(usable, miss, torch.inf).numpy()
