"""Read SMPL-X's files: shape and expression, hands and landmarks of the face."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, KeypointDefinition, PoseSpace
from smilfit.body_models.files.model_arrays import read_model_arrays, required_array
from smilfit.body_models.files.smal_file import READ, body_from_arrays
from smilfit.body_models.human_models import HumanRig, limit_coefficients, load_rig, name_human
from smilfit.files.pickles import shown_names

HAND_KEYS = {
    'left_hand': ('hands_componentsl', 'hands_meanl'),
    'right_hand': ('hands_componentsr', 'hands_meanr'),
}
LANDMARK_KEYS = ('lmk_faces_idx', 'lmk_bary_coords')
# How shapedirs divides into shape and expression: by its length, as in the smplx package.
LONG_SHAPE, LONG_EXPRESSION = 300, 100
SHORT_SHAPE, SHORT_EXPRESSION = 10, 10


def read_smplx_file(
    path: Path, num_betas: int, num_expression_coeffs: int, logger: logging.Logger
) -> BodyModelData:
    """Read an SMPL-X model file.

    Args:
        path: a `.npz` or `.pkl`.
        num_betas: how many shape coefficients to keep.
        num_expression_coeffs: how many expression coefficients to keep.
        logger: warned where the file has fewer.

    Raises:
        ValueError: a key is missing or breaks a rule.
    """
    hands = [key for keys in HAND_KEYS.values() for key in keys]
    raw = read_model_arrays(path, {*READ, *hands, *LANDMARK_KEYS})
    for key in ('shapedirs', *hands, *LANDMARK_KEYS):
        if key not in raw:
            raise ValueError(
                f'{path}: an SMPL-X file must have the key {key!r}; got {shown_names(raw)}. Is it SMPL-X?'
            )
    directions = required_array(raw, 'shapedirs', path, (3,))
    raw.pop('shapedirs')
    shape, expression = split_directions(directions)
    n_betas = limit_coefficients('SMPLX', 'num_betas', num_betas, shape.shape[2], logger)
    n_expression = limit_coefficients(
        'SMPLX', 'num_expression_coeffs', num_expression_coeffs, expression.shape[2], logger
    )
    rig = load_rig('smplx')
    data = body_from_arrays(raw, path)
    landmarks = face_landmarks(
        rig,
        data.faces,
        required_array(raw, LANDMARK_KEYS[0], path, (1,), whole=True),
        required_array(raw, LANDMARK_KEYS[1], path, (2,)),
        str(path),
    )
    data = replace(
        name_human(data, rig, landmarks),
        # Copies: a slice would keep all 400 directions of a long file in memory.
        shapedirs=shape[..., :n_betas].copy() if n_betas else None,
        expressiondirs=expression[..., :n_expression].copy() if n_expression else None,
    )
    return check_body_model(replace(data, pose_spaces=_hand_spaces(raw, data, path)), str(path))


def split_directions(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide SMPL-X's directions (V, 3, n) into shape and expression: 300 and 100, or 10 and 10 in short files."""
    if directions.shape[2] >= LONG_SHAPE + LONG_EXPRESSION:
        return directions[..., :LONG_SHAPE], directions[..., LONG_SHAPE : LONG_SHAPE + LONG_EXPRESSION]
    return directions[..., :SHORT_SHAPE], directions[..., SHORT_SHAPE : SHORT_SHAPE + SHORT_EXPRESSION]


def face_landmarks(
    rig: HumanRig, faces: np.ndarray, face_index: np.ndarray, barycentric: np.ndarray, where: str = 'SMPLX'
) -> dict[str, KeypointDefinition]:
    """Turn landmarks, each a point of a triangle, into weighted vertices.

    Raises:
        ValueError: another number of landmarks than SMPL-X has names for, or one of a triangle that is not there.
    """
    names = rig.landmark_names
    if len(face_index) != len(names) or barycentric.shape != (len(names), 3):
        raise ValueError(
            f'{where}: lmk_faces_idx and lmk_bary_coords must describe {len(names)} landmarks; got '
            f'{len(face_index)} and {barycentric.shape}. Is it SMPL-X?'
        )
    if face_index.min() < 0 or face_index.max() >= len(faces):
        raise ValueError(
            f'{where}: lmk_faces_idx must be 0 to {len(faces) - 1}; got {face_index.min()} to {face_index.max()}. '
            'Is it SMPL-X?'
        )
    return {
        name: {int(v): float(w) for v, w in zip(faces[face], weights)}
        for name, face, weights in zip(names, face_index, barycentric)
    }


def _hand_spaces(raw: Mapping[str, object], data: BodyModelData, path: Path) -> dict[str, PoseSpace]:
    def numbers(key: str, dimensions: tuple[int, ...]) -> np.ndarray:
        return required_array(raw, key, path, dimensions)

    return {
        hand: PoseSpace(data.joint_groups[hand], numbers(mean, (1, 2)).ravel(), numbers(components, (2,)))
        for hand, (components, mean) in HAND_KEYS.items()
    }
