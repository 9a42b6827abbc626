"""Small valid files for hostile ones to be made of: a dataset, a SMILify dataset, images that claim too much."""

import json
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import torch

from smilfit.datasets import EncodedSample, SessionHeader, StoreHeader, StoreWriter
from smilfit.datasets.crops import encode_jpeg, encode_png
from smilfit.structures import Cameras

KEYPOINTS = ('root', 'head', 'paw', 'tail', 'tip')
JOINTS = KEYPOINTS[:4]
CAMERAS = ('left', 'right')
SIDE, SAMPLES = 32, 6


def small_header() -> StoreHeader:
    """Return what the small dataset stores once."""
    return StoreHeader(
        body_model_file='small.smil.json',
        body_model_hash='0123456789abcdef',
        keypoint_names=KEYPOINTS,
        joint_names=JOINTS,
        n_betas=2,
        camera_names=CAMERAS,
        crop_mode='default',
        target_resolution=SIDE,
        undistorted=True,
        confidence_threshold=0.5,
        options={'crop_mode': 'default'},
        sessions=tuple(
            SessionHeader(name, small_cameras(), 'mm', 50.0, 'folder', np.array([0.5, -1.0]))
            for name in ('one', 'two')
        ),
        fingerprint='abc',
        with_params=True,
        with_masks=True,
    )


def write_small_store(path: Path) -> Path:
    """Write a dataset of two sessions of three samples, two cameras, five keypoints, with masks and parameters."""
    with StoreWriter(path, small_header(), restart=True) as writer:
        for i in range(SAMPLES):
            writer.append(_sample(i))
        return writer.finish({'totals': {'frames': SAMPLES}})


def small_cameras() -> Cameras:
    """Make two cameras with lenses."""
    K = torch.tensor([[300.0, 0, 150], [0, 310, 120], [0, 0, 1]], dtype=torch.float64)
    rotation = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    return Cameras(
        names=CAMERAS,
        K=K.expand(2, 3, 3).clone(),
        R=torch.stack((torch.eye(3).double(), rotation)),
        t=torch.tensor([[0.0, 0, 500], [10, 0, 400]], dtype=torch.float64),
        size=torch.tensor([[320.0, 240.0]] * 2, dtype=torch.float64),
        dist=torch.tensor([[-0.2, 0.05, 1e-3, 0, 0]] * 2, dtype=torch.float64),
        unit='mm',
    )


def _sample(i: int) -> EncodedSample:
    rng = np.random.default_rng(i)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    C, K = len(CAMERAS), len(KEYPOINTS)
    params = {
        'global_orient': rng.normal(size=3),
        'body_pose': rng.normal(size=(3, 3)),
        'betas': rng.normal(size=2),
    }
    return EncodedSample(
        session=i // 3,
        frame=2 * (i % 3),
        view_mask=np.ones(C, np.bool_),
        affine=np.tile([[0.1, 0, 1.0], [0, 0.1, 2.0]], (C, 1, 1)),
        keypoints2d=rng.uniform(0, SIDE, (C, K, 2)),
        confidence2d=rng.random((C, K)).astype(np.float32),
        keypoints3d=rng.normal(size=(K, 3)),
        confidence3d=rng.random(K).astype(np.float32),
        images={c: encode_jpeg(image, 90) for c in range(C)},
        masks={c: encode_png(image[..., 0] > 128) for c in range(C)},
        params=params | {'transl': rng.normal(size=3), 'scale': np.array(2.0)},
    )


def write_small_smilify(path: Path) -> Path:
    """Write a SMILify multi-view file of three samples and two views, as its preprocessor lays it out."""
    rng = np.random.default_rng(0)
    n, views, joints = 3, 2, len(JOINTS)
    camera = small_cameras()
    with h5py.File(path, 'w') as file:
        image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        for v in range(views):
            kind = h5py.vlen_dtype(np.uint8)
            table = file.create_dataset(
                f'multiview_images/image_jpeg_view_{v}', (n,), kind, compression='gzip'
            )
            for i in range(n):
                table[i] = encode_jpeg(image, 90)
        file['multiview_images/view_mask'] = np.ones((n, views), np.bool_)
        group = file.create_group('multiview_keypoints')
        group['keypoints_2d'] = rng.random((n, views, joints, 2)).astype(np.float32)
        group['keypoint_visibility'] = np.ones((n, views, joints), np.float32)
        group['keypoints_3d'] = rng.normal(size=(n, joints, 3)).astype(np.float32)
        group['camera_indices'] = np.tile(np.arange(views, dtype=np.int32), (n, 1))
        for name, value in (('intrinsics', camera.K), ('extrinsics_R', camera.R), ('extrinsics_t', camera.t)):
            group[f'camera_{name}'] = np.tile(value.numpy().astype(np.float32), (n,) + (1,) * value.ndim)
        for name, shape in (
            ('global_rot', (3,)),
            ('joint_rot', (joints, 3)),
            ('betas', (2,)),
            ('trans', (3,)),
        ):
            file[f'parameters/{name}'] = rng.normal(size=(n, *shape)).astype(np.float32)
        file['auxiliary/session_name'] = np.array([b'one'] * n)
        file['auxiliary/frame_idx'] = np.arange(n, dtype=np.int32)
        for name in ('has_ground_truth_betas', 'has_ground_truth_pose'):
            file[f'auxiliary/{name}'] = np.ones(n, np.bool_)
        file.create_group('metadata').attrs.update(
            is_multiview=True,
            target_resolution=SIDE,
            n_betas=2,
            crop_mode='default',
            world_scale=1.0,
            canonical_camera_order=json.dumps(CAMERAS),
        )
    return path


def png_that_claims(width: int, height: int) -> bytes:
    """Make a PNG of few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b'\0' * 1000)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', pixels) + chunk(b'IEND', b'')


def jpeg_that_claims(width: int, height: int) -> bytes:
    """Make a JPEG whose frame header claims any size up to 65535."""
    data = bytearray(encode_jpeg(np.zeros((SIDE, SIDE, 3), np.uint8), 90).tobytes())
    at = data.index(b'\xff\xc0')
    data[at + 5 : at + 9] = struct.pack('>HH', height, width)
    return bytes(data)
