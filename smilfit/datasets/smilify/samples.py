"""The numbers of a session's samples in a SMILify file, by camera and in the session's world."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.datasets.smilify.schema import (
    CAMERAS,
    KEYPOINTS,
    PARAMETERS,
    POSED,
    SmilifyFacts,
    whole_table,
)
from smilfit.datasets.smilify.world import WorldMaps, spread_of_cameras
from smilfit.datasets.stored_values import check_finite


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
        """Give labels of some cameras in stored px as the file counts them, (x, y); 0 where not visible."""
        pixels = self.keypoints[:, cameras][..., ::-1] * self.side
        return np.where(self.visible(cameras)[..., None] > 0, pixels, 0.0)

    def visible(self, cameras: np.ndarray) -> Float[np.ndarray, 'n c J']:
        """Give how sure the file is of labels of some cameras, 0 to 1."""
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
    found = {}
    for name in dict.fromkeys(facts.sessions):
        rows = np.flatnonzero(sessions == name)
        rows = rows[np.argsort(facts.frames[rows], kind='stable')]
        found[name] = _session_tables(path, facts, arrays, rows, maps)
    return found


def _read_arrays(file: h5py.File, path: Path, facts: SmilifyFacts) -> dict[str, np.ndarray]:
    keypoints = file[KEYPOINTS]
    tables = ['keypoints_2d', 'keypoint_visibility', 'keypoints_3d', *CAMERAS.values()]
    arrays = {name: whole_table(keypoints, name, path).astype(np.float64) for name in tables}
    check_finite(arrays['keypoint_visibility'], f'{KEYPOINTS}/keypoint_visibility', path)
    check_finite(arrays['keypoints_3d'], f'{KEYPOINTS}/keypoints_3d', path)
    # What is not visible may hold anything.
    seen = (arrays['keypoint_visibility'] > 0) & (facts.slots >= 0)[..., None]
    check_finite(arrays['keypoints_2d'][seen], f'{KEYPOINTS}/keypoints_2d', path)
    if 'image_sizes' in keypoints:
        arrays['image_sizes'] = whole_table(keypoints, 'image_sizes', path)
    if 'auxiliary/has_3d_data' in file:
        arrays['has_3d_data'] = whole_table(file['auxiliary'], 'has_3d_data', path)
    arrays['posed'] = np.zeros(len(facts.frames), np.bool_)
    arrays['shapes'] = np.zeros((len(facts.frames), facts.n_betas))
    if f'auxiliary/{POSED}' in file and f'{PARAMETERS}/joint_rot' in file:
        arrays['posed'] = whole_table(file['auxiliary'], POSED, path)
        arrays['poses'] = whole_table(file[PARAMETERS], 'joint_rot', path).astype(np.float64)
        check_finite(arrays['poses'][arrays['posed']], f'{PARAMETERS}/joint_rot', path)
        if f'{PARAMETERS}/betas' in file:
            arrays['shapes'] = whole_table(file[PARAMETERS], 'betas', path).astype(np.float64)
            check_finite(arrays['shapes'][arrays['posed']], f'{PARAMETERS}/betas', path)
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
    own = WorldMaps(maps.turn[rows], maps.shift[rows])
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
