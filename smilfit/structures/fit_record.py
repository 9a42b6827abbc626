"""What a fit's file tells of the fit: of which body, seen by which cameras, and where its keypoints are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from smilfit.structures.cameras import Cameras
from smilfit.structures.keypoints import Keypoints3d

_CAMERA_TENSORS = ('K', 'R', 't', 'size', 'dist')
# Arrays by name, or by the beginning of it; others are parameters.
_MEANINGS = {
    'start_': 'where the first stage began',
    'recorded_camera_': 'the cameras as they were calibrated, with their lenses, px of the annotated images',
    'camera_': 'the cameras as the fit corrected them',
    'keypoints3d': 'the fitted keypoints, world unit; confidence 0 where a frame was not fitted',
    'keypoint_covariance': 'covariance of the keypoints of keypoint_names, world unit squared',
    'keypoint_names': 'names of keypoint_covariance',
    'parameter_': 'standard deviations and their columns',
    'shared_': 'how well what all frames share is known: parameters with their sizes, and their covariance',
    'noise': 'of the covariance',
    'per_frame_loss': 'the loss of every frame after the last stage',
    'converged': 'whether every frame converged',
    'packed_body_model': 'the body model itself: its *.smil.json, deflated by zlib',
    'frames': 'numbers of the frames in the recording',
    'joint_names': 'joints of the body model: body_pose leaves out the first',
}


@dataclass(frozen=True)
class FittedModel:
    """The body model of a fit.

    Args:
        name: its name.
        content_hash: hash of its content without landmarks: a session adds some of its own.
        unit: of its lengths.
        landmarks: those that the fit was made with, by name, as JSON has them.
    """

    name: str
    content_hash: str
    unit: str | None = None
    landmarks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any) -> 'FittedModel':
        """Describe a `BodyModelData`."""
        return cls(data.name, data.hash_without_landmarks(), data.unit, data.landmark_records())

    def record(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)


def contents(arrays: Mapping[str, np.ndarray], units: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """List the arrays of a file: shape, kind, and what each means or its unit.

    Args:
        arrays: by name.
        units: parameters' units by name.
    """
    found = {}
    for name, array in arrays.items():
        meaning = next((text for start, text in _MEANINGS.items() if name.startswith(start)), None)
        about = {'unit': units[name]} if name in units else {'meaning': meaning or 'given by the caller'}
        found[name] = {'shape': list(np.shape(array)), 'dtype': str(np.asarray(array).dtype), **about}
    return found


def camera_arrays(cameras: Cameras | None, prefix: str = 'camera') -> dict[str, np.ndarray]:
    """Give cameras as arrays; none where there are none."""
    if cameras is None:
        return {}
    tensors = {n: getattr(cameras, n) for n in _CAMERA_TENSORS}
    arrays = {f'{prefix}_{n}': value.cpu().numpy() for n, value in tensors.items() if value is not None}
    return arrays | {
        f'{prefix}_names': np.array(cameras.names),
        f'{prefix}_unit': np.array(cameras.unit or ''),
    }


def cameras_of_arrays(arrays: Mapping[str, np.ndarray], prefix: str = 'camera') -> Cameras | None:
    """Read what `camera_arrays` gave."""
    # Files of the first version state no names.
    if f'{prefix}_names' not in arrays:
        return None
    stored = {n: f'{prefix}_{n}' for n in _CAMERA_TENSORS}
    tensors = {n: torch.from_numpy(arrays[key]) for n, key in stored.items() if key in arrays}
    names, unit = tuple(arrays[f'{prefix}_names'].tolist()), str(arrays[f'{prefix}_unit']) or None
    return Cameras(names=names, unit=unit, **tensors)


def keypoint_arrays(points: Keypoints3d | None) -> dict[str, np.ndarray]:
    """Give 3D keypoints as arrays; none where there are none."""
    if points is None:
        return {}
    return {
        'keypoints3d': points.xyz.cpu().numpy(),
        'keypoints3d_confidence': points.confidence.cpu().numpy(),
        'keypoints3d_names': np.array(points.names, dtype=np.str_),
        'keypoints3d_unit': np.array(points.unit or ''),
    }


def keypoints_of_arrays(arrays: Mapping[str, np.ndarray]) -> Keypoints3d | None:
    """Read what `keypoint_arrays` gave."""
    if 'keypoints3d' not in arrays:
        return None
    return Keypoints3d(
        xyz=torch.from_numpy(arrays['keypoints3d']),
        confidence=torch.from_numpy(arrays['keypoints3d_confidence']),
        names=tuple(arrays['keypoints3d_names'].tolist()),
        unit=str(arrays['keypoints3d_unit']) or None,
    )
