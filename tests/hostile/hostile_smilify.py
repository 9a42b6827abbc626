"""Hostile files in SMILify's layout: a small valid one with one thing broken in each."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.hdf5_changes import (
    DEEP,
    Change,
    changed,
    plain,
    replace_table,
    set_attribute,
    set_values,
    without,
)
from tests.hostile.small_files import (
    CAMERAS,
    SIDE,
    jpeg_that_claims,
    png_that_claims,
    write_small_smilify,
)


def hostile_smilify_files(folder: Path) -> dict[str, Path]:
    """Write hostile files in SMILify's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = write_small_smilify(folder / 'whole.h5')
    return {name: changed(whole, folder / f'{name}.h5', change) for name, change in smilify_changes().items()}


def smilify_changes() -> dict[str, Change]:
    """The same in SMILify's layout."""
    keypoints, images = 'multiview_keypoints', 'multiview_images'
    tables = (
        f'{keypoints}/keypoints_2d', f'{keypoints}/camera_intrinsics', f'{keypoints}/camera_indices',
        f'{keypoints}/keypoint_visibility', f'{keypoints}/keypoints_3d', 'auxiliary/session_name',
        'auxiliary/frame_idx', f'{images}/view_mask', f'{images}/image_jpeg_view_1',
    )  # fmt: skip
    changes = {f'{plain(name)}_missing': without(name) for name in tables}
    changes |= {
        f'{plain(name)}_other': replace_table(name, lambda old: np.zeros(old.shape, 'c16')) for name in tables
    }
    values: dict[str, tuple[str, Any, Any]] = {
        'K_nan': (f'{keypoints}/camera_intrinsics', 0, np.nan),
        'K_one': (f'{keypoints}/camera_intrinsics', 0, np.eye(3)),
        'R_zero': (f'{keypoints}/camera_extrinsics_R', 0, 0.0),
        't_inf': (f'{keypoints}/camera_extrinsics_t', 0, np.inf),
        'index_far': (f'{keypoints}/camera_indices', (0, 0), 7), 'index_twice': (f'{keypoints}/camera_indices', 0, 1),
        'visible_nan': (f'{keypoints}/keypoint_visibility', 0, np.nan), 'frame': ('auxiliary/frame_idx', 0, -3),
        'keypoints_nan': (f'{keypoints}/keypoints_2d', 1, np.nan),
        'points_inf': (f'{keypoints}/keypoints_3d', 1, np.inf),
        'betas_nan': ('parameters/betas', 1, np.nan), 'session_up': ('auxiliary/session_name', 1, b'..'),
    }  # fmt: skip
    changes |= {f'value_{name}': set_values(*change) for name, change in values.items()}
    meta = {
        'order_missing': ('canonical_camera_order', None), 'order_deep': ('canonical_camera_order', DEEP),
        'order_twice': ('canonical_camera_order', json.dumps([CAMERAS[0]] * 2)), 'scale_nan': ('world_scale', np.nan),
        'resolution_huge': ('target_resolution', 10**9), 'scale_zero': ('world_scale', 0.0),
    }  # fmt: skip
    changes |= {f'meta_{name}': set_attribute(key, value, 'metadata') for name, (key, value) in meta.items()}
    encoded = {
        'huge': png_that_claims(60_000, 60_000),
        'cut': jpeg_that_claims(SIDE, SIDE)[:300],
        'empty': b'',
    }
    for name, data in encoded.items():
        changes[f'picture_{name}'] = set_values(
            f'{images}/image_jpeg_view_0', 0, np.frombuffer(data, np.uint8)
        )
    return changes
