"""Points in space that another tool placed, whatever file they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import BadFileError, shorten
from smilfit.structures import Cameras

# More keypoints or animals than this are a table read the wrong way round.
MOST_NAMES = 5000
# Frame numbers may be times of the clock.
MOST_FRAME = 1 << 53
LARGEST = 1e9


@dataclass(frozen=True)
class RecordedViews:
    """What cameras saw of one animal: px of the recorded images, NaN where there is no label."""

    cameras: Cameras
    xy: Float[np.ndarray, 'T C K 2']


@dataclass(frozen=True)
class RecordedPoints:
    """Points of A animals in T frames, NaN where missing.

    `names` is None where the file does not name its keypoints; `animals` is `('',)` where it names none. Missing
    points have confidence 0. `frames` are the frames' numbers, increasing.
    """

    path: Path
    names: tuple[str, ...] | None
    xyz: Float[np.ndarray, 'T A K 3']
    confidence: Float[np.ndarray, 'T A K']
    frames: Int[np.ndarray, ' T']
    animals: tuple[str, ...] = ('',)
    fps: float | None = None
    unit: str | None = None
    views: RecordedViews | None = None

    def named(self, names: Sequence[str]) -> 'RecordedPoints':
        """Name the keypoints of a file that does not.

        Raises:
            ValueError: another count of names than of keypoints.
        """
        if len(names) != self.xyz.shape[2]:
            raise BadFileError(
                f'{self.path}: its keypoints must be as many as the skeleton names; it has {self.xyz.shape[2]}, the '
                f'skeleton {len(names)}: {shorten(", ".join(names))}. Give the skeleton that was labelled.'
            )
        return replace(self, names=tuple(names))


def recorded_points(
    path: Path,
    names: Sequence[str] | None,
    xyz: np.ndarray,
    confidence: np.ndarray | None = None,
    frames: np.ndarray | None = None,
    animals: Sequence[str] = ('',),
    **further: object,
) -> RecordedPoints:
    """Check what a file gave and bring it into one form.

    Args:
        path: the file, for messages.
        names: of the keypoints, or None.
        xyz: (T, A, K, 3).
        confidence: (T, A, K); 1 where there is a point if None. Values above 1 are peaks and count as 1.
        frames: numbers; 0, 1, … if None.
        animals: names of the animals.
        further: fields of `RecordedPoints`.

    Raises:
        BadFileError: shapes that do not meet, names that are there twice, a point with some numbers of three, frames
            that are none or there twice, coordinates that no recording has.
    """
    xyz = np.asarray(xyz, np.float64)
    n_frames, n_animals, n_points, _ = xyz.shape
    if not n_frames or not n_points or not n_animals:
        _refuse(
            path, 'it', 'hold a point', f'{n_frames} frames of {n_animals} animals with {n_points} keypoints'
        )
    if names is not None:
        _check_names(path, 'keypoints', names, n_points)
    _check_names(path, 'animals', animals, n_animals)
    _check_coordinates(path, xyz, names)
    scores = _scores(path, np.isfinite(xyz).all(-1), confidence)
    numbers = np.arange(n_frames) if frames is None else np.asarray(frames)
    _check_numbers(path, numbers, n_frames)
    return RecordedPoints(
        path=path,
        names=None if names is None else tuple(names),
        xyz=xyz,
        confidence=scores,
        frames=numbers.astype(np.int64),
        animals=tuple(animals),
        **further,  # type: ignore[arg-type]
    )


def _check_names(path: Path, what: str, given: Sequence[str], count: int) -> None:
    if len(given) != count or count > MOST_NAMES:
        rule = f'be as many as the {count} {what} (at most {MOST_NAMES})'
        _refuse(path, f'names of {what}', rule, len(given))
    twice = next((name for name in given if list(given).count(name) > 1), None)
    if twice is not None:
        _refuse(path, f'names of {what}', 'differ', f'{shorten(twice)!r} twice')


def _check_coordinates(path: Path, xyz: np.ndarray, names: Sequence[str] | None) -> None:
    finite = np.isfinite(xyz)
    strange = (finite.any(-1) & ~finite.all(-1)) | np.isinf(xyz).any(-1)
    if strange.any():
        frame, animal, point = (int(i) for i in np.argwhere(strange)[0])
        where = f'keypoint {point}' if names is None else shorten(repr(names[point]))
        got = f'{xyz[frame, animal, point].tolist()} of {where} in row {frame}'
        _refuse(path, 'a point', 'be three numbers or none', got)
    if (np.abs(xyz[finite]) >= LARGEST).any():
        _refuse(path, 'coordinates', f'be below {LARGEST:.0e}', f'{np.abs(xyz[finite]).max():.4g}')


def _scores(path: Path, valid: np.ndarray, confidence: np.ndarray | None) -> np.ndarray:
    """Return confidences from 0 to 1, 0 where there is no point."""
    if confidence is None:
        return valid.astype(np.float64)
    scores = np.nan_to_num(np.asarray(confidence, np.float64), nan=0.0)
    rule = f'be numbers from 0 to 1, of shape {valid.shape}'
    if scores.shape != valid.shape:
        _refuse(path, 'confidences', rule, f'shape {scores.shape}')
    if (scores < 0).any():
        _refuse(path, 'confidences', rule, f'{scores.min():.4g}')
    return np.where(valid, scores.clip(0, 1), 0.0)


def _check_numbers(path: Path, numbers: np.ndarray, n_frames: int) -> None:
    finite = numbers.shape == (n_frames,) and np.isfinite(numbers.astype(np.float64)).all()
    if not finite or (np.diff(numbers) <= 0).any():
        _refuse(path, 'frame numbers', f'be {n_frames} increasing numbers', 'others')
    if not 0 <= float(numbers[0]) <= float(numbers[-1]) <= MOST_FRAME:
        _refuse(path, 'frame numbers', f'be from 0 to {MOST_FRAME}', f'{numbers[0]} to {numbers[-1]}')


def _refuse(path: Path, thing: str, rule: str, got: object) -> None:
    raise BadFileError(f'{path}: {thing} must {rule}; got {got}. Correct it, or export it again.')
