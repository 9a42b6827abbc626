"""What a regressor gives of a recording, frame by frame, with calibrated confidences; and the file read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.body_models import SMIL
from smilfit.files import read_npz, reading
from smilfit.networks.calibration import (
    Calibration,
    agreement,
    depths,
    distances,
    of_frames,
    sizes_in_views,
    stated_in_space,
)
from smilfit.structures import BodyParams, Cameras, FitResult

# How far outside of an image a keypoint is still named, in the image's sides.
_REACH = 0.5
# The beginning of the reason of a frame in which a network was sure of nothing.
UNRECOGNISED = 'no animal was recognised'

# What a model may give of its own beside the body: name here -> name in its prediction.
FURTHER = {
    'points3d': 'points3d',
    'points3d_confidence': 'points_confidence',
    'points3d_covariance': 'points_covariance',
    'seen2d': 'seen2d',
    'seen2d_confidence': 'seen_confidence',
    'sure': 'sure',
}


@dataclass(frozen=True)
class Predictions:
    """Predictions of T frames, C views, K keypoints. Nothing is NaN.

    Where `valid` is False nothing is known: `reasons` says why, confidences are 0, and the other numbers only fill
    the place. `camera_*` are those that the model saw by (as given, or as it corrected them), of the recorded images;
    `keypoints2d` are px of these, lens and all. `further` holds what the model gives beside the body, by the names of
    `FURTHER`.
    """

    frames: Int[np.ndarray, 'T']
    valid: Bool[np.ndarray, 'T']
    reasons: tuple[str, ...]
    params: dict[str, np.ndarray]
    keypoints3d: Float[np.ndarray, 'T K 3']
    confidence3d: Float[np.ndarray, 'T K']
    keypoints2d: Float[np.ndarray, 'T C K 2']
    confidence2d: Float[np.ndarray, 'T C K']
    view_mask: Bool[np.ndarray, 'T C']
    camera_K: Float[np.ndarray, 'T C 3 3']
    camera_R: Float[np.ndarray, 'T C 3 3']
    camera_t: Float[np.ndarray, 'T C 3']
    further: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def body_params(self) -> BodyParams:
        """Return the parameters as tensors."""
        return BodyParams.of({name: torch.from_numpy(value) for name, value in self.params.items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays, for a file."""
        plain = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ('params', 'further', 'reasons')
        }
        named = {f'params/{name}': value for name, value in self.params.items()}
        named |= {f'further/{name}': value for name, value in self.further.items()}
        return plain | named | {'reasons': np.array(self.reasons, dtype=np.str_)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> 'Predictions':
        """Undo `arrays`."""
        plain: dict[str, Any] = {
            f.name: arrays[f.name] for f in fields(cls) if f.name not in ('params', 'further', 'reasons')
        }
        parts = {
            part: {n.removeprefix(f'{part}/'): v for n, v in arrays.items() if n.startswith(f'{part}/')}
            for part in ('params', 'further')
        }
        reasons = tuple(arrays['reasons'].tolist())
        return cls(**plain, params=parts['params'], further=parts['further'], reasons=reasons)

    @classmethod
    def cat(cls, parts: Sequence['Predictions']) -> 'Predictions':
        """Join predictions of the same model, in their order; what some frames lack is zeros there."""
        every = [part.arrays() for part in parts]
        shapes = {name: value for arrays in every for name, value in arrays.items()}

        def rows(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
            like = shapes[name]
            return arrays.get(name, np.zeros((len(arrays['frames']), *like.shape[1:]), like.dtype))

        return cls.of_arrays({name: np.concatenate([rows(one, name) for one in every]) for name in shapes})

    def filled(self) -> 'Predictions':
        """Let frames that are not valid have the parameters and cameras of the nearest valid one, to start from.

        Raises:
            ValueError: no frame is valid; says why.
        """
        known = np.flatnonzero(self.valid)
        if len(known) == 0 and any(reason.startswith(UNRECOGNISED) for reason in self.reasons):
            # The network said something of it.
            return self
        if len(known) == 0:
            raise ValueError(
                f'infer: one frame at least must be predicted; none of {len(self)} is: {self.reasons_text()}.'
            )
        if len(known) == len(self):
            return self
        after = np.searchsorted(known, np.arange(len(self))).clip(0, len(known) - 1)
        before = (after - 1).clip(0)
        rows = np.arange(len(self))
        nearer = np.abs(self.frames[known[before]] - self.frames) <= np.abs(
            self.frames[known[after]] - self.frames
        )
        source = np.where(self.valid, rows, known[np.where(nearer, before, after)])
        names = ('keypoints3d', 'keypoints2d', 'camera_K', 'camera_R', 'camera_t')
        return replace(
            self,
            params={name: value[source] for name, value in self.params.items()},
            **{name: getattr(self, name)[source] for name in names},
        )

    def reasons_text(self) -> str:
        """Return why frames are not valid, with counts."""
        counts = self.reason_counts()
        return ', '.join(f'{reason}: {n}' for reason, n in counts.items()) or 'none'

    def reason_counts(self) -> dict[str, int]:
        """Count the reasons why frames are not valid."""
        result: dict[str, int] = {}
        for reason in self.reasons:
            if reason:
                result[reason] = result.get(reason, 0) + 1
        return result


def with_confidences(
    predictions: Predictions, calibration: Calibration, cameras: Cameras | None
) -> Predictions:
    """Return predictions with the network's confidences, without places that no image can hold.

    A keypoint behind a camera, beyond its lens's fold, or farther outside of the image than half its side has
    confidence 0 and the place (0, 0) there; in space it has 0 where no view holds it. A network that states no
    confidence gives 1 to all others.

    Args:
        predictions: `keypoints2d` and `keypoints3d` are a body's; `further` has what the network saw.
        calibration: of the network.
        cameras: of the recorded images, with their lenses; None where each frame has its own.
    """
    points, further = predictions.keypoints3d.astype(np.float64), predictions.further
    K, R, t = (getattr(predictions, f'camera_{name}') for name in ('K', 'R', 't'))
    depth = depths(points, R, t)
    shown = (depth > 0) & predictions.view_mask[..., None] & predictions.valid[:, None, None]
    shown &= np.isfinite(predictions.keypoints2d).all(-1)
    # A camera that is not known looks at the middle of its image.
    size = 2 * K[..., :2, 2] + 1 if cameras is None else cameras.size.numpy()[None]
    margin = _REACH * size.max(-1)[..., None, None]
    size = size[..., None, :]
    shown &= ((predictions.keypoints2d >= -margin) & (predictions.keypoints2d < size + margin)).all(-1)
    if cameras is not None and cameras.fold is not None:
        local = np.einsum('tcji,tki->tckj', R[..., :2, :], points) + t[..., None, :2]
        radius = np.linalg.norm(local, axis=-1) / np.where(depth > 0, depth, 1)
        shown &= radius < cameras.fold.numpy()[None, :, None]
    stated2d, stated3d = np.ones(shown.shape), np.ones(points.shape[:2])
    if 'seen2d' in further:
        off = distances(predictions.keypoints2d, further['seen2d'], sizes_in_views(points, K, R, t))
        share = further['seen2d_confidence'].clip(0, 1)
        stated2d = calibration.of_pixels(share * agreement(off, calibration.sd))
    if 'points3d_confidence' in further:
        stated3d = calibration.of_points(
            stated_in_space(further['points3d_confidence'], further.get('points3d_covariance'), points)
        )
    return replace(
        predictions,
        keypoints2d=np.where(shown[..., None], predictions.keypoints2d, 0.0),
        confidence2d=stated2d * shown,
        confidence3d=stated3d * shown.any(1),
    )


def without_unsure(predictions: Predictions, least: float | Float[np.ndarray, ' T']) -> Predictions:
    """Take frames whose median confidence is below `least`, of all or of each, for not predicted."""
    sure = of_frames(predictions.confidence2d, predictions.view_mask)
    unsure = predictions.valid & (sure < least)
    if not unsure.any():
        return predictions
    limit = np.median(np.broadcast_to(least, sure.shape)[unsure])
    reason = f'{UNRECOGNISED}: the median confidence is {np.median(sure[unsure]):.2g}, below {limit:.2g}'
    valid = predictions.valid & ~unsure
    return replace(
        predictions,
        valid=valid,
        reasons=tuple(reason if u else r for u, r in zip(unsure, predictions.reasons)),
        confidence2d=predictions.confidence2d * valid[:, None, None],
        confidence3d=predictions.confidence3d * valid[:, None],
    )


def read_predictions(path: str | Path, body: SMIL | None = None) -> tuple[Predictions, FitResult]:
    """Read what `PredictedRecording.save` wrote.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: not such a file.
    """
    fit = FitResult.load(path, body)
    arrays = read_npz(path, what='predictions')
    with reading(Path(path), 'predictions'):
        result = Predictions(
            frames=arrays['frames'],
            valid=arrays['valid'],
            reasons=tuple(arrays['reasons'].tolist()),
            params={name: value.numpy() for name, value in fit.params.as_dict().items()},
            keypoints3d=arrays['keypoints3d'],
            confidence3d=arrays['keypoints3d_confidence'],
            keypoints2d=arrays['keypoints2d'],
            confidence2d=arrays['keypoints2d_confidence'],
            view_mask=arrays['view_mask'],
            camera_K=arrays['view_K'],
            camera_R=arrays['view_R'],
            camera_t=arrays['view_t'],
            further={n.removeprefix('model_'): v for n, v in arrays.items() if n.startswith('model_')},
        )
    return result, fit
