"""Predictions smoothed over time, and the points that follow from them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.geometry.smoothing import smooth_numbers, smooth_rotations
from smilfit.networks.inference.predictions import Predictions
from smilfit.structures import PARAMETERS, BodyParams, Cameras

# Bodies that are posed at once.
_BLOCK = 256


def smoothed(
    predictions: Predictions,
    body: SMIL,
    names: Sequence[str],
    lenses: Cameras | None,
    fps: float,
    seconds: float,
) -> Predictions:
    """Smooth rotations, places, sizes and shape over time; nothing lags, and no frame is invented.

    Args:
        predictions: of frames in the order of time.
        body: the body model.
        names: of the keypoints.
        lenses: cameras whose lenses `keypoints2d` are bent by; None where there are none.
        fps: frames per second of the recording.
        seconds: standard deviation of the Gaussian of time by which neighbours count.
    """
    times = torch.from_numpy(predictions.frames).double() / fps
    valid = torch.from_numpy(predictions.valid)
    params = {}
    for name, value in predictions.params.items():
        spec, given = PARAMETERS[name], torch.from_numpy(value)
        if spec.kind == 'rotation':
            rotations = smooth_rotations(spec.as_matrix(given.double()), times, seconds, valid)
            result = rotmat_to_axis_angle(rotations).to(given)
        else:
            result = spec.from_free(smooth_numbers(spec.free(given.double()), times, seconds, valid)).to(
                given
            )
        params[name] = torch.where(valid.reshape(-1, *(1,) * (given.ndim - 1)), result, given).numpy()
    changed = replace(predictions, params=params)
    points = keypoints_of_params(body, changed.body_params, names)
    pixels = projected(changed, points, lenses)
    mask = np.isfinite(pixels).all(-1) & (predictions.confidence2d > 0)
    return replace(
        changed,
        keypoints3d=points.astype(predictions.keypoints3d.dtype),
        keypoints2d=np.where(mask[..., None], pixels, 0.0),
        confidence2d=predictions.confidence2d * mask,
    )


def keypoints_of_params(body: SMIL, params: BodyParams, names: Sequence[str]) -> np.ndarray:
    """Compute named keypoints of bodies, a block at a time."""
    result = []
    with torch.no_grad():
        for first in range(0, params.batch_size, _BLOCK):
            output = body(params[first : first + _BLOCK].to(body.v_template), tuple(names))
            result.append(output.select(names).cpu().double().numpy())
    return np.concatenate(result)


def projected(predictions: Predictions, points: np.ndarray, lenses: Cameras | None) -> np.ndarray:
    """Project points (T, P, 3) into every frame's cameras: px of the recorded images (T, C, P, 2)."""
    cameras = view_cameras(predictions)
    pixels, _, valid = cameras.project(torch.from_numpy(points).double())
    if lenses is not None and lenses.dist is not None:
        pixels = lenses.to(torch.float64).distort(pixels)
    return torch.where(valid.unsqueeze(-1), pixels, torch.nan).numpy()


def view_cameras(predictions: Predictions, names: Sequence[str] | None = None) -> Cameras:
    """Return the cameras that the model saw by, one set a frame, without lenses."""
    T, C = predictions.view_mask.shape
    return Cameras(
        names=tuple(names or (f'view {c}' for c in range(C))),
        K=torch.from_numpy(predictions.camera_K).double(),
        R=torch.from_numpy(predictions.camera_R).double(),
        t=torch.from_numpy(predictions.camera_t).double(),
        size=torch.full((T, C, 2), 2.0, dtype=torch.float64),
    )
