"""Animal3D and CtrlAni3D: images with 2D and 3D keypoints and SMAL parameters, in AniMer's JSON."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError, shorten
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import (
    BadEntry,
    fields,
    given,
    image_path,
    numbers,
    read_json,
    read_valid_entries,
    require,
)
from smilfit.io.annotations.masks import ImageMask
from smilfit.io.annotations.tigdog import LANDMARKS
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet

KEYPOINTS = (
    *LANDMARKS,
    'tail_tip',
    'left_ear',
    'right_ear',
    'left_mouth',
    'right_mouth',
    'nose',
    'tail_mid',
)
FLIP = mirror_pairs(KEYPOINTS)
# SMAL's families, by `supercategory`.
FAMILIES = ('cat', 'dog', 'horse', 'cow', 'hippo')
N_JOINTS, N_BETAS = 35, (20, 41)


@ANNOTATIONS.register_module(name='animal3d')
class Animal3DReader(AnnotationReader):
    """Reads `{"data": [...]}`, one animal an image.

    3D keypoints are in the camera's frame; its focal length is not known. Of the parameters those are given that
    an entry has and that are not all zero (which is how the format says that nobody fitted it). Pixels are used as
    they are written.

    Args:
        images: the folder that `img_path` and `mask_path` start from; the file's own if None.
    """

    def read(self, path: str | Path) -> AnnotationSet:
        """Read one JSON file."""
        path = Path(path)
        data = read_json(path, dict, 'Animal3D').get('data')
        if not isinstance(data, list):
            raise BadFileError(
                f'{path}: data must be a list of entries; got {type(data).__name__}. Is it another format?'
            )
        entries = []
        for i, entry in enumerate(data):
            name = given(entry, 'img_path')
            where = f'{path}, entry {i}' + (f' ({shorten(name)})' if isinstance(name, str) else '')
            entries.append((where, partial(self._read_entry, path, where, entry)))
        images, skipped = read_valid_entries(entries)
        return AnnotationSet(path.stem, KEYPOINTS, images, skipped, flip=FLIP)

    def _read_entry(self, path: Path, where: str, entry: object) -> AnnotatedImage:
        folder = self.images or path.parent
        image = image_path(folder, require(entry, 'img_path', str))
        if 'bone' in fields(entry):
            raise BadEntry('an animal must be a quadruped of SMAL; got a bird (key bone). Leave birds out.')
        family = require(entry, 'supercategory', int)
        if not 0 <= family < len(FAMILIES):
            raise BadEntry(
                f'supercategory must be 0 to {len(FAMILIES) - 1} ({", ".join(FAMILIES)}); got '
                f'{shorten(family)}. Correct it.'
            )
        points = numbers(require(entry, 'keypoint_2d', list), (len(KEYPOINTS), 3), 'keypoint_2d')
        confidence = (points[:, 2] > 0).astype(np.float64)
        xyz, confidence3d = _points3d(fields(entry))
        mask = given(entry, 'mask_path')
        return AnnotatedImage(
            where=where,
            image=image,
            keypoints=np.where(confidence[:, None] > 0, points[:, :2], 0.0),
            confidence=confidence,
            box=numbers(require(entry, 'bbox', list), (4,), 'bbox') if 'bbox' in fields(entry) else None,
            mask=ImageMask(image_path(folder, mask)) if mask else None,
            keypoints3d=xyz,
            confidence3d=confidence3d,
            params=_params(fields(entry)) or None,
            category=FAMILIES[family],
        )


def _points3d(entry: Mapping[str, object]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return points and confidences; the confidence is a fourth column, where there is one."""
    if 'keypoint_3d' not in entry:
        return None, None
    points = numbers(entry['keypoint_3d'], (len(KEYPOINTS), None), 'keypoint_3d')
    if points.shape[1] not in (3, 4):
        raise BadEntry(f'keypoint_3d must have 3 or 4 columns; got {points.shape[1]}.')
    if not points[:, :3].any():
        return None, None
    visible = points[:, 3] > 0 if points.shape[1] == 4 else np.ones(len(points), dtype=bool)
    return np.where(visible[:, None], points[:, :3], 0.0), visible.astype(np.float64)


def _params(entry: Mapping[str, object]) -> dict[str, np.ndarray]:
    params: dict[str, np.ndarray] = {}
    if 'pose' in entry:
        rotations = numbers(entry['pose'], (3 * N_JOINTS,), 'pose').reshape(N_JOINTS, 3)
        if rotations.any():
            params |= {'global_orient': rotations[0], 'body_pose': rotations[1:]}
    if 'shape' in entry:
        shape = numbers(entry['shape'], (None,), 'shape')
        betas = np.concatenate((shape, numbers(entry.get('shape_extra', []), (None,), 'shape_extra')))
        if len(betas) not in N_BETAS:
            raise BadEntry(
                f'shape and shape_extra must be {N_BETAS[0]} or {N_BETAS[1]} numbers; got {len(betas)}.'
            )
        if betas.any():
            params['betas'] = betas
    if 'trans' in entry:
        transl = numbers(entry['trans'], (3,), 'trans')
        if transl.any():
            params['transl'] = transl
    return params
