"""DANNCE: labels of Label3D with their cameras, and predictions, in MATLAB files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.files import BadFileError, shorten
from smilfit.io.points.recorded import RecordedPoints, RecordedViews, recorded_points
from smilfit.structures import Cameras


def read_dannce(
    path: Path, variables: Mapping[str, object], image_size: tuple[int, int] | None = None
) -> RecordedPoints:
    """Read labels (`labelData`, `params`, `camnames`) or predictions (`pred`, perhaps `sampleID` and `p_max`).

    Label3D stores cameras for row vectors, `x_cam = X r + t` and `x_px = x_cam K`, with three radial and two
    tangential coefficients of the usual lens; only frames with a label are read. Of predictions there are neither.

    Args:
        path: the file, for messages.
        variables: of the file.
        image_size: width and height, px, which Label3D does not store; guessed from the labels if None.

    Raises:
        BadFileError: neither, or one that contradicts itself.
    """
    if 'labelData' in variables:
        return _labels(path, variables, image_size)
    if 'pred' in variables:
        return _predictions(path, variables)
    raise BadFileError(
        f'{path}: a DANNCE file must hold labelData (Label3D) or pred (predictions); got '
        f'{shorten(", ".join(variables))}. Is it another file?'
    )


def _predictions(path: Path, variables: Mapping[str, object]) -> RecordedPoints:
    pred = np.asarray(variables['pred'], np.float64)
    # (N, 3, K), or (N, animals, 3, K) of several.
    if pred.ndim == 3:
        pred = pred[:, None]
    if pred.ndim != 4 or pred.shape[2] != 3:
        raise BadFileError(
            f'{path}: pred must be (frames, 3, keypoints), or (frames, animals, 3, keypoints); got {pred.shape}.'
        )
    xyz = pred.transpose(0, 1, 3, 2)
    scores = variables.get('p_max')
    if scores is not None:
        scores = np.asarray(scores, np.float64)
        scores = scores.reshape(xyz.shape[:3]) if scores.size == np.prod(xyz.shape[:3]) else None
    animals = ('',) if xyz.shape[1] == 1 else tuple(f'animal_{a}' for a in range(xyz.shape[1]))
    # What was not predicted is 0 in all coordinates.
    xyz = np.where((xyz == 0).all(-1, keepdims=True), np.nan, xyz)
    return recorded_points(path, None, xyz, scores, _samples(variables, len(xyz)), animals)


def _samples(variables: Mapping[str, object], count: int) -> np.ndarray | None:
    """Return the samples' numbers where they can number frames: `sampleID` is a time in ms in some projects."""
    numbers = np.asarray(variables.get('sampleID', ())).ravel()
    return numbers if numbers.size == count and (np.diff(numbers) > 0).all() else None


def _labels(
    path: Path, variables: Mapping[str, object], image_size: tuple[int, int] | None
) -> RecordedPoints:
    labels, params = _listed(variables['labelData']), _listed(variables.get('params', []))
    if not labels:
        raise BadFileError(
            f'{path}: labelData must hold labels; it is empty, as in files that only calibrate. Give the labelled '
            'one, or the predictions (save_data_AVG.mat).'
        )
    n_frames = len(np.atleast_2d(labels[0]['data_3d']))
    flat = np.asarray(labels[0]['data_3d'], np.float64).reshape(n_frames, -1)
    if flat.shape[1] % 3 or any(
        np.asarray(label['data_2d']).size != n_frames * flat.shape[1] // 3 * 2 for label in labels
    ):
        raise BadFileError(
            f'{path}: data_3d and data_2d of labelData must have 3 and 2 columns a keypoint; they have not.'
        )
    xyz = flat.reshape(n_frames, -1, 3)
    xyz = np.where(np.isfinite(xyz).all(-1, keepdims=True), xyz, np.nan)
    frames = np.asarray(labels[0]['data_frame'], np.float64).ravel()
    order = np.argsort(frames, kind='stable')
    xy = np.stack([np.asarray(label['data_2d'], np.float64).reshape(n_frames, -1, 2) for label in labels], 1)
    xy = np.where(np.isfinite(xy).all(-1, keepdims=True), xy, np.nan)
    views = None
    if params:
        if len(params) != len(labels):
            raise BadFileError(
                f'{path}: params must be as many as labelData; got {len(params)} and {len(labels)}.'
            )
        names = _listed(variables.get('camnames', [])) or [f'Camera{i + 1}' for i in range(len(params))]
        views = RecordedViews(_cameras(path, params, names, xy, image_size), xy[order])
    result = recorded_points(path, None, xyz[order][:, None], frames=frames[order], views=views)
    if not result.confidence.any():
        raise BadFileError(
            f'{path}: a keypoint must be labelled in 3D; none is. Triangulate in Label3D and save again.'
        )
    return result


def _cameras(
    path: Path, params: list[Any], names: list[str], xy: np.ndarray, image_size: tuple[int, int] | None
) -> Cameras:
    K = np.stack([np.asarray(p['K'], np.float64).reshape(3, 3).T for p in params])
    radial = [np.r_[np.ravel(p['RDistort']), 0.0, 0.0, 0.0][:3] for p in params]
    tangential = [np.r_[np.ravel(p['TDistort']), 0.0, 0.0][:2] for p in params]
    dist = [np.r_[k[:2], p, k[2]] for k, p in zip(radial, tangential)]
    size = np.asarray(image_size or (0.0, 0.0), np.float64)
    if image_size is None:
        # The principal point lies about the middle; labels lie in the image.
        size = np.maximum(2 * K[:, :2, 2].max(0), np.nanmax(xy, (0, 1, 2)) + 1).round()
    cameras = Cameras(
        names=tuple(str(name) for name in names),
        K=torch.from_numpy(K),
        R=torch.from_numpy(np.stack([np.asarray(p['r'], np.float64).reshape(3, 3).T for p in params])),
        t=torch.from_numpy(np.stack([np.asarray(p['t'], np.float64).ravel() for p in params])),
        size=torch.from_numpy(np.tile(size, (len(params), 1))),
        dist=torch.from_numpy(np.stack(dist)),
    )
    cameras.check(f'{path}')
    return cameras


def _listed(value: object) -> list[Any]:
    """Return a cell's content; of one element MATLAB saves a struct, a text or an empty array alike."""
    if isinstance(value, (dict, str)):
        return [value] if value else []
    return list(value) if isinstance(value, (list, tuple)) else []
