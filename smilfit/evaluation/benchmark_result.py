"""What a benchmark measured: predictions beside truths, with every number derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.evaluation.baseline import compared_keypoints, place_at_prediction, place_at_truth
from smilfit.evaluation.errors import distances, pa_distances
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
