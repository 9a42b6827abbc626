"""What a SMILify file of single images must hold, and the check of an open file against it.

Its layout: `images/image_jpeg` (or `rgb_jpeg`), `keypoints/*` as (y / H, x / W), `parameters/*`, `auxiliary/*`. Its
camera tables hold placeholders: of the camera, and of where the image was cut, nothing is known.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

from smilfit.datasets.smilify.schema import WHAT, read_frames, read_texts, whole_table
from smilfit.datasets.store_schema import MOST_RESOLUTION
from smilfit.datasets.stored_values import check_finite
from smilfit.datasets.table_checks import Attributes, Table, check_group, check_table, check_tables, refuse
from smilfit.files.hdf5 import check_hdf5

IMAGE_TABLES = ('image_jpeg', 'rgb_jpeg')
LABEL_TABLES = {
    'keypoints_2d': Table('f', ('N', 'J', 2)),
    'keypoint_visibility': Table('f', ('N', 'J')),
}
TEXTS = ('session_name', 'camera_name', 'original_path')


@dataclass(frozen=True)
class SingleViewTables:
    """N single images: labels (x, y) in stored px as the file counts them, who they are of, by what camera."""

    path: Path
    side: int
    crop_mode: str
    image_table: str
    keypoints: Float[np.ndarray, 'N J 2']
    visibility: Float[np.ndarray, 'N J']
    sessions: tuple[str, ...]
    cameras: tuple[str, ...]
    labels: tuple[str, ...]
    frames: Int[np.ndarray, 'N']

    @property
    def n_joints(self) -> int:
        """J."""
        return self.keypoints.shape[1]


def read_single_views(file: h5py.File, path: Path) -> SingleViewTables:
    """Look a whole file through and read all but its images.

    Raises:
        BadFileError: anything that breaks a rule; the message names file and table.
    """
    check_hdf5(file, path, WHAT)
    meta = Attributes(check_group(file, 'metadata', path), path)
    keypoints, images = check_group(file, 'keypoints', path), check_group(file, 'images', path)
    auxiliary = check_group(file, 'auxiliary', path)
    check_table(keypoints, 'keypoints_2d', Table('f', (None, None, 2)), {}, path)
    counts = dict(zip('NJ', keypoints['keypoints_2d'].shape))
    check_tables(keypoints, LABEL_TABLES, counts, path)
    found = [name for name in IMAGE_TABLES if name in images]
    if not found:
        refuse(path, 'images', f'hold one of {IMAGE_TABLES}', sorted(images))
    check_table(images, found[0], Table('v', ('N',)), counts, path)
    check_tables(auxiliary, {name: Table('t', ('N',), optional=True) for name in TEXTS}, counts, path)
    numbered = check_table(auxiliary, 'frame_idx', Table('i', ('N',), optional=True), counts, path)
    n = counts['N']
    visibility = whole_table(keypoints, 'keypoint_visibility', path).astype(np.float64)
    check_finite(visibility, 'keypoints/keypoint_visibility', path)
    visibility = np.clip(visibility, 0.0, 1.0)
    xy = whole_table(keypoints, 'keypoints_2d', path).astype(np.float64)
    check_finite(xy[visibility > 0], 'keypoints/keypoints_2d', path)
    side = meta.count('target_resolution', MOST_RESOLUTION, 1)
    texts = {name: read_texts(auxiliary, name, path) for name in TEXTS if name in auxiliary}
    return SingleViewTables(
        path=path,
        side=side,
        crop_mode=meta.text('crop_mode') if 'crop_mode' in meta else '',
        image_table=f'images/{found[0]}',
        keypoints=np.where(visibility[..., None] > 0, xy[..., ::-1] * side, 0.0),
        visibility=visibility,
        sessions=texts.get('session_name', (path.stem,) * n),
        cameras=texts.get('camera_name', ('',) * n),
        labels=texts.get('original_path', ('',) * n),
        frames=read_frames(auxiliary, path) if numbered else np.arange(n),
    )
