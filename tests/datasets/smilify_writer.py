"""Write small files as SMILify's preprocessors do: cut, `cv2.resize`, labels and K by (x - x0) s."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch

from smilfit.structures import Cameras
from tests.datasets.blob_session import NAMES, BlobSession, make_cameras

RESOLUTION = 96
JOINTS = NAMES[:4]
TURN = np.diag([-1.0, -1.0, 1.0])


def centred_cameras(names: Sequence[str] = ('a', 'b', 'c')) -> Cameras:
    """Cameras without a lens whose principal points are the centres of their images, of equal focal lengths."""
    cameras = make_cameras(names, lens=False)
    K = cameras.K.clone()
    K[:, :2, 2], K[:, 1, 1] = (cameras.size - 1) / 2, K[:, 0, 0]
    return replace(cameras, K=K)


def write_smilify(
    path: Path,
    session: BlobSession,
    slots: np.ndarray,
    crop_mode: str = 'default',
    whole_cameras: bool = False,
    canonical: bool = False,
    **meta: object,
) -> Path:
    """Write a multi-view file; `slots` (N, V) are camera numbers, -1 where there is no view.

    `whole_cameras` keeps K and size of whole images, as before March 2026; `canonical` gives each sample the world of
    its lowest camera, as the merger does.
    """
    n, V = slots.shape
    cameras = session.cameras
    tables = {
        'keypoints_2d': np.zeros((n, V, 4, 2)),
        'keypoint_visibility': np.zeros((n, V, 4)),
        'camera_intrinsics': np.tile(np.eye(3), (n, V, 1, 1)),
        'camera_extrinsics_R': np.tile(np.eye(3), (n, V, 1, 1)),
        'camera_extrinsics_t': np.zeros((n, V, 3)),
        'image_sizes': np.zeros((n, V, 2)),
        'keypoints_3d': session.points[:n, :4].numpy().copy(),
    }
    jpeg = [[np.zeros(0, np.uint8)] * n for _ in range(V)]
    for i, v in np.argwhere(slots >= 0).tolist():
        row, jpeg[v][i] = _view(session, i, slots[i, v], crop_mode, whole_cameras)
        for name, value in row.items():
            tables[name][i, v] = value
    first = [int(row[row >= 0][0]) for row in slots]
    world_R, world_t = cameras.R[first].numpy(), cameras.t[first].numpy()
    if canonical:
        _move_worlds(tables, world_R, world_t)
    with h5py.File(path, 'w') as file:
        _write_tables(file, tables, slots, jpeg)
        named = [','.join(cameras.names[c] for c in row if c >= 0).encode() for row in slots]
        file['auxiliary/camera_names'] = named
        file['auxiliary/has_3d_data'] = np.ones(n, bool)
        file['auxiliary/session_name'] = np.array([b'one'] * n)
        file['auxiliary/frame_idx'] = np.arange(n, dtype=np.int32) * 5
        file['auxiliary/has_ground_truth_betas'] = np.arange(n) % 2 == 0
        order = list(cameras.names)
        if canonical:
            file['auxiliary/canonical_to_world_R'] = world_R.astype(np.float32)
            file['auxiliary/canonical_to_world_t'] = world_t.astype(np.float32)
            order = [f'slot_{v}' for v in range(V)]
        stated = {
            'is_multiview': True, 'target_resolution': RESOLUTION, 'n_betas': 2, 'crop_mode': crop_mode,
            'canonical_camera_order': json.dumps(order),
        }  # fmt: skip
        file.create_group('metadata').attrs.update(stated | meta)
    return path


def _view(
    session: BlobSession, i: int, c: int, crop_mode: str, whole_cameras: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Cut one image: what the tables have of it, and its bytes."""
    cameras, side = session.cameras, RESOLUTION
    xy = session.xy[i, c, :4].numpy()
    width, height = (int(x) for x in cameras.size[c])
    x0, y0, box = _box(crop_mode, width, height, xy)
    scale = np.array([side / box[0], side / box[1]])
    K = cameras.K[c].numpy().copy()
    if not whole_cameras:
        K[:2, 2] -= (x0, y0)
        K[:2] *= scale[:, None]
    small = cv2.resize(session.image(i, c)[y0 : y0 + box[1], x0 : x0 + box[0]], (side, side))[..., ::-1]
    row = {
        'keypoints_2d': ((xy - (x0, y0)) * scale)[:, ::-1] / side,
        'keypoint_visibility': session.confidence[i, c, :4].numpy(),
        'camera_intrinsics': K,
        'camera_extrinsics_R': cameras.R[c].numpy(),
        'camera_extrinsics_t': cameras.t[c].numpy(),
        'image_sizes': np.array((width, height) if whole_cameras else (side, side)),
    }
    return row, cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()


def _write_tables(
    file: h5py.File, tables: dict[str, np.ndarray], slots: np.ndarray, jpeg: list[list[np.ndarray]]
) -> None:
    for v, images in enumerate(jpeg):
        kind, name = h5py.vlen_dtype(np.uint8), f'multiview_images/image_jpeg_view_{v}'
        data = file.create_dataset(name, (len(slots),), kind, compression='gzip')
        for i, image in enumerate(images):
            data[i] = image
    file['multiview_images/view_mask'] = slots >= 0
    file['multiview_keypoints/camera_indices'] = slots.astype(np.int32)
    for name, value in tables.items():
        kind = np.int32 if name == 'image_sizes' else np.float32
        file[f'multiview_keypoints/{name}'] = value.astype(kind)
    file['parameters/betas'] = np.tile(np.float32([0.5, -1]), (len(slots), 1))


def write_single_views(path: Path, session: BlobSession) -> Path:
    """Write the first camera's images as a file of single images, cut to nowhere known."""
    n, side = session.n_frames, RESOLUTION
    with h5py.File(path, 'w') as file:
        data = file.create_dataset('images/image_jpeg', (n,), h5py.vlen_dtype(np.uint8))
        width, height = (int(x) for x in session.cameras.size[0])
        for i in range(n):
            small = cv2.resize(session.image(i, 0), (side, side))[..., ::-1]
            data[i] = cv2.imencode('.jpg', small)[1].ravel()
        xy = session.xy[:, 0, :4].numpy() / (width, height)
        file['keypoints/keypoints_2d'] = xy[..., ::-1].astype(np.float32)
        file['keypoints/keypoint_visibility'] = np.ones((n, 4), np.float32)
        file['auxiliary/session_name'] = np.array([b'one'] * n)
        file['auxiliary/camera_name'] = np.array([b'left'] * n)
        file['auxiliary/frame_idx'] = np.arange(n)[::-1]
        file.create_group('metadata').attrs.update({'target_resolution': side, 'crop_mode': 'bbox_crop'})
    return path


def _box(mode: str, width: int, height: int, xy: np.ndarray) -> tuple[int, int, tuple[int, int]]:
    if mode == 'default':
        return 0, 0, (width, height)
    if mode == 'centred':
        least = min(width, height)
        return (width - least) // 2, (height - least) // 2, (least, least)
    low, high = xy.min(0), xy.max(0)
    half = (high - low).max() * 1.2 / 2
    x0, y0 = (int(v) for v in ((low + high) / 2 - half).clip(0))
    return x0, y0, (int(2 * half), int(2 * half))


def _move_worlds(tables: dict[str, np.ndarray], R: np.ndarray, t: np.ndarray) -> None:
    """Put every sample into the frame of its lowest camera, turned."""
    points = np.einsum('nij,nkj->nki', R, tables['keypoints_3d']) + t[:, None]
    tables['keypoints_3d'] = points @ TURN
    rotation = np.einsum('ij,njk->nik', TURN, R)
    old_R, old_t = tables['camera_extrinsics_R'], tables['camera_extrinsics_t']
    tables['camera_extrinsics_R'] = np.einsum('nvij,nkj->nvik', old_R, rotation)
    shift = np.einsum('nvij,nj->nvi', tables['camera_extrinsics_R'], t @ TURN)
    tables['camera_extrinsics_t'] = old_t - shift


def as_tensor(values: np.ndarray) -> torch.Tensor:
    """Return float64 numbers as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(values))
