"""What a benchmark measured: predictions beside truths, with every number derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.evaluation.baseline import compared_keypoints, place_at_prediction, place_at_truth
from smilfit.evaluation.keypoint_errors import (
    PCK_THRESHOLDS_PX,
    PERCENTILES,
    distances,
    mean_error,
    pa_distances,
    pck,
    pck_curve,
    percentiles,
)
from smilfit.evaluation.units import unit_suffix
from smilfit.files import BadFileError, reading, replacing, shorten
from smilfit.files.numpy_files import read_npz
from smilfit.registry import UnknownNameError

FORMAT = 'smilfit-benchmark'
# 2 may have mean_pose2d, 3 mean_place2d.
FORMAT_VERSION = 3
TEXTS = ('keypoint_names', 'camera_names')

# Kinds and shapes of the arrays of a file: N samples, C views, K keypoints.
ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    'predicted2d': ('f', ('N', 'C', 'K', 2)),
    'truth2d': ('f', ('N', 'C', 'K', 2)),
    'seen2d': ('b', ('N', 'C', 'K')),
    'to_original': ('f', ('N', 'C', 2, 3)),
    'predicted3d': ('f', ('N', 'K', 3)),
    'truth3d': ('f', ('N', 'K', 3)),
    'seen3d': ('b', ('N', 'K')),
    'session': ('i', ('N',)),
    'frame': ('i', ('N',)),
    'baseline2d': ('f', ('N', 'C', 'K', 2)),
    'baseline3d': ('f', ('K', 3)),
    'mean_pose': ('f', ('K', 3)),
    'mean_pose2d': ('f', ('N', 'C', 'K', 2)),
    'mean_place2d': ('f', ('N', 'C', 'K', 2)),
}

MODEL = 'model'
BASELINE = 'baseline'
BASELINE_PLACED = 'baseline_at_true_position'
MEAN_POSE = 'mean_pose'
MEAN_POSE_PLACED = 'mean_pose_at_predicted_place'
MEAN_PLACE = 'mean_place'
SOURCES = (MODEL, BASELINE, BASELINE_PLACED, MEAN_POSE, MEAN_POSE_PLACED, MEAN_PLACE)


@dataclass(frozen=True)
class Errors:
    """Errors of one answer; NaN where there is no truth, inf where the answer is not finite.

    px at the network's crop and at the original image; 3D in the session's unit, as they are and after each
    frame's best similarity.
    """

    px_network: Float[np.ndarray, 'N C K'] | None = None
    px_original: Float[np.ndarray, 'N C K'] | None = None
    world: Float[np.ndarray, 'N K'] | None = None
    aligned: Float[np.ndarray, 'N K'] | None = None

    def of(self, name: str) -> np.ndarray:
        """Return the errors of one kind, which this answer must have; the model's has all.

        Raises:
            ValueError: it has not.
        """
        values = getattr(self, name)
        if values is None:
            raise ValueError(f'Errors: {name} must be known; this answer has none. Ask for another source.')
        return values


@dataclass(frozen=True)
class BenchmarkResult:
    """Predictions and truths of N samples in C views with K keypoints.

    2D is px of the network's crop, and `to_original` maps it to the original image; 3D is in `unit` (None
    where nobody knows it). `baseline3d` is the training set's mean, `baseline2d` its projection into every
    view, `mean_pose` its mean pose with place, heading and size taken out; `mean_pose2d` is that pose at the place,
    heading and size of each prediction (`place_at_prediction`), projected into every view. `mean_place2d` is where
    each keypoint is on average in the training images of each camera.
    """

    keypoint_names: tuple[str, ...]
    camera_names: tuple[str, ...]
    unit: str | None
    predicted2d: Float[np.ndarray, 'N C K 2']
    truth2d: Float[np.ndarray, 'N C K 2']
    seen2d: Bool[np.ndarray, 'N C K']
    to_original: Float[np.ndarray, 'N C 2 3']
    predicted3d: Float[np.ndarray, 'N K 3']
    truth3d: Float[np.ndarray, 'N K 3']
    seen3d: Bool[np.ndarray, 'N K']
    session: Int[np.ndarray, 'N']
    frame: Int[np.ndarray, 'N']
    baseline2d: Float[np.ndarray, 'N C K 2'] | None = None
    baseline3d: Float[np.ndarray, 'K 3'] | None = None
    mean_pose: Float[np.ndarray, 'K 3'] | None = None
    mean_pose2d: Float[np.ndarray, 'N C K 2'] | None = None
    mean_place2d: Float[np.ndarray, 'N C K 2'] | None = None

    def __post_init__(self) -> None:
        """Check that names are as many as what they name."""
        _, n_cameras, n_keypoints = self.seen2d.shape
        for thing, names, count in (
            ('keypoint names', self.keypoint_names, n_keypoints),
            ('camera names', self.camera_names, n_cameras),
        ):
            if len(names) != count:
                raise ValueError(
                    f'BenchmarkResult: the {thing} must be {count}, as in the predictions; got {len(names)}. '
                    "Give the metric the names of the dataset file (its dataset's metainfo)."
                )

    @property
    def n_samples(self) -> int:
        """How many frames were predicted."""
        return len(self.predicted3d)

    @property
    def sources(self) -> tuple[str, ...]:
        """Whose errors can be asked for: the model, and the baselines that were given."""
        baseline, pose = self.baseline3d is not None, self.mean_pose is not None
        valid = (True, baseline, baseline, pose, pose, self.mean_place2d is not None)
        return tuple(s for s, ok in zip(SOURCES, valid) if ok)

    def errors(self, source: str = MODEL) -> Errors:
        """Measure the errors of the model or of a baseline (one of `sources`)."""
        if source not in self.sources:
            raise UnknownNameError(f'BenchmarkResult: no {source!r} here. Known: {", ".join(self.sources)}.')
        if source == MEAN_PLACE and self.mean_place2d is not None:
            return Errors(*self._errors2d(self.mean_place2d))
        if source == MEAN_POSE and self.mean_pose is not None:
            return Errors(aligned=self._errors3d(self._repeat(self.mean_pose))[1])
        if source == BASELINE_PLACED and self.baseline3d is not None:
            return Errors(world=self._errors3d(place_at_truth(self.baseline3d, self.truth3d, self.seen3d))[0])
        if source == MEAN_POSE_PLACED and self.mean_pose is not None:
            counting = compared_keypoints(self.seen2d, self.seen3d)
            placed = place_at_prediction(self.mean_pose, self.predicted3d, counting)
            at_place = Errors(world=self._errors3d(placed)[0])
            if self.mean_pose2d is None:
                return at_place
            in_crop, in_image = self._errors2d(self.mean_pose2d)
            return replace(at_place, px_network=in_crop, px_original=in_image)
        pixels: np.ndarray | None = self.predicted2d
        points = self.predicted3d
        if source != MODEL and self.baseline3d is not None:
            pixels, points = self.baseline2d, self._repeat(self.baseline3d)
        stored, original = (None, None) if pixels is None else self._errors2d(pixels)
        world, aligned = self._errors3d(points)
        return Errors(stored, original, world, aligned)

    def _repeat(self, pose: Float[np.ndarray, 'K 3']) -> Float[np.ndarray, 'N K 3']:
        return np.broadcast_to(pose, self.truth3d.shape)

    def _errors2d(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result, truth = (map_pixels(pixels, self.to_original) for pixels in (predicted, self.truth2d))
        return distances(predicted, self.truth2d, self.seen2d), distances(result, truth, self.seen2d)

    def _errors3d(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        args = (predicted, self.truth3d, self.seen3d)
        return distances(*args), pa_distances(*args)

    def save(self, path: str | Path) -> Path:
        """Write an npz without pickles; it appears whole or not at all."""
        path = Path(path).with_suffix('.npz')
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
        arrays |= {name: np.asarray(getattr(self, name), dtype=np.str_) for name in TEXTS}
        with replacing(path) as temporary, temporary.open('wb') as file:
            np.savez_compressed(file, format=np.array(FORMAT), version=np.array(FORMAT_VERSION), **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> 'BenchmarkResult':
        """Read what `save` wrote.

        Raises:
            BadFileError: not such a file, not whole, or of a newer version.
        """
        with reading(path, 'a benchmark result'):
            arrays: dict[str, Any] = dict(read_npz(path, what='a benchmark result'))
            result, version = str(arrays.pop('format', '')), int(arrays.pop('version', 0))
            if result != FORMAT or version > FORMAT_VERSION:
                raise BadFileError(
                    f'{path}: format must be {FORMAT!r} up to version {FORMAT_VERSION}; got {shorten(result)!r} '
                    f'version {version}. Write it with BenchmarkResult.save, or update smilfit.'
                )
            arrays |= {name: tuple(str(text) for text in arrays[name]) for name in TEXTS}
            arrays['unit'] = str(arrays['unit']) if 'unit' in arrays else None
            _check_arrays(arrays, path)
            return cls(**arrays)


def _check_arrays(arrays: Mapping[str, Any], path: str | Path) -> None:
    """Check kind and shape of every array; NaN and inf are figures here.

    Raises:
        BadFileError: another kind or shape.
    """
    samples, views, keypoints = np.shape(arrays['seen2d'])
    counts: dict[str | int, int] = {'N': samples, 'C': views, 'K': keypoints}
    for name, (kind, shape) in ARRAYS.items():
        array = arrays.get(name)
        wanted = tuple(counts.get(s, s) for s in shape)
        if array is not None and (array.dtype.kind not in kind or array.shape != wanted):
            raise BadFileError(
                f'{path}: {name} must be numbers of shape {wanted}; got {array.dtype} of {array.shape}. '
                'Measure it anew.'
            )


def map_pixels(
    pixels: Float[np.ndarray, 'N C K 2'], affine: Float[np.ndarray, 'N C 2 3']
) -> Float[np.ndarray, 'N C K 2']:
    """Apply `u' = A u + b` to every view's pixels."""
    return pixels @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


PCK_THRESHOLD_PX = 5.0
INFIX = {
    MODEL: '',
    BASELINE: '_baseline',
    BASELINE_PLACED: '_baseline_at_true_position',
    MEAN_POSE: '_mean_pose',
    MEAN_POSE_PLACED: '_mean_pose_at_predicted_place',
    MEAN_PLACE: '_mean_place',
}


def benchmark_metrics(
    result: BenchmarkResult, threshold_px: int | float = PCK_THRESHOLD_PX
) -> dict[str, int | float]:
    """Return all scalars of a benchmark by name.

    `pck_5px_original` is a share in [0, 1] at the original image's resolution, `pck_5px_network` at the
    crop's; `pck_auc_*` the mean of the curve over 1 to 50 px. `mpjpe_<unit>` is not aligned,
    `pa_mpjpe_<unit>` is after each frame's best similarity. A number for which no truth exists is
    absent, and its count is 0.
    """
    numbers: dict[str, int | float] = {}
    for source in result.sources:
        numbers |= _numbers_of(result.errors(source), INFIX[source], threshold_px, unit_suffix(result.unit))
    return numbers | counts(result)


def _numbers_of(errors: Errors, infix: str, threshold_px: int | float, unit: str) -> dict[str, int | float]:
    result = {f.name: f.value() for f in figures_of(errors, infix, threshold_px, unit)}
    return {name: value for name, value in result.items() if not np.isnan(value)}


@dataclass(frozen=True)
class Figure:
    """One number of a benchmark: what it is made of, and how.

    Args:
        name: with its unit.
        values: errors, the first axis samples; NaN where there is no truth.
        kind: 'pck', 'pck_auc', 'percentile' or 'mean'.
        at: the threshold of a PCK, the percentile.
    """

    name: str
    values: np.ndarray
    kind: str
    at: float = float('nan')

    def value(self) -> float:
        """Return the number; NaN without a truth."""
        valid = ~np.isnan(self.values)
        if self.kind == 'pck':
            return pck(self.values, valid, self.at)
        if self.kind == 'pck_auc':
            return float(pck_curve(self.values, valid).mean())
        if self.kind == 'percentile':
            return float(percentiles(self.values, valid, (self.at,))[0])
        return mean_error(self.values, valid)

    def terms(self) -> np.ndarray:
        """Return what the number is the mean of, in the shape of the values; of a percentile it is none."""
        if self.kind == 'pck':
            terms = (self.values <= self.at).astype(np.float64)
        elif self.kind == 'pck_auc':
            # How many of the thresholds a value is within.
            within = len(PCK_THRESHOLDS_PX) - np.searchsorted(PCK_THRESHOLDS_PX, self.values, side='left')
            terms = within / len(PCK_THRESHOLDS_PX)
        else:
            terms = self.values.astype(np.float64)
        return np.where(np.isnan(self.values), np.nan, terms)


def figures_of(errors: Errors, infix: str, threshold_px: int | float, unit: str) -> list[Figure]:
    """List the numbers of one answer."""
    result = []
    for where, values in (('original', errors.px_original), ('network', errors.px_network)):
        if values is not None:
            result += [
                Figure(f'pck{infix}_{threshold_px:g}px_{where}', values, 'pck', threshold_px),
                Figure(f'pck_auc{infix}_{where}', values, 'pck_auc'),
                Figure(f'median_error{infix}_px_{where}', values, 'percentile', 50),
            ]
    for name, values in (('mpjpe', errors.world), ('pa_mpjpe', errors.aligned)):
        if values is not None:
            result.append(Figure(f'{name}{infix}_{unit}', values, 'mean'))
            if name == 'mpjpe':
                result += [Figure(f'mpjpe_p{q}{infix}_{unit}', values, 'percentile', q) for q in PERCENTILES]
    return result


def counts(result: BenchmarkResult) -> dict[str, int]:
    """Count what the numbers rest on: true keypoints, aligned frames, predictions that are not finite."""
    broken2d = result.seen2d & ~np.isfinite(result.predicted2d).all(-1)
    broken3d = result.seen3d & ~np.isfinite(result.predicted3d).all(-1)
    return {
        'n_samples': result.n_samples,
        'n_keypoints_2d': int(result.seen2d.sum()),
        'n_keypoints_3d': int(result.seen3d.sum()),
        'n_frames_aligned': int((result.seen3d.sum(1) >= 3).sum()),
        'n_predictions_not_finite': int(broken2d.sum() + broken3d.sum()),
    }
