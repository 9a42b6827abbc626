"""Keypoints that somebody saw. What is missing has confidence 0 and coordinates 0."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures.cameras import LARGEST, Cameras


@dataclass(frozen=True)
class CameraReport:
    """How well each camera agrees with the others: median px by camera, and who does not.

    `contradicting` names cameras whose calibration cannot be that of the others. `ambiguous` says that
    cameras disagree without telling which. `same_place` lists pairs calibrated to one position. `unit_factor` is
    how many times too large the given 3D points are where that alone is what is wrong: their unit is another one.
    """

    median_px: dict[str, float]
    limit_px: dict[str, float]
    n_points: dict[str, int]
    contradicting: tuple[str, ...]
    ambiguous: bool
    same_place: tuple[tuple[str, str], ...]
    judged_by: str
    unit_factor: float | None = None

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it: what is not known is None."""
        known = {name: getattr(self, name) for name in ('n_points', 'ambiguous', 'judged_by', 'unit_factor')}
        px = {
            name: {camera: None if math.isnan(x) else x for camera, x in getattr(self, name).items()}
            for name in ('median_px', 'limit_px')
        }
        pairs = [list(pair) for pair in self.same_place]
        return {**px, **known, 'contradicting': list(self.contradicting), 'same_place': pairs}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], names: Sequence[str]) -> 'CameraReport':
        """Read what `record` gave.

        Args:
            record: of a file.
            names: the cameras that it must be of.

        Raises:
            ValueError: it is of other cameras, or holds what is no number or name.
        """
        try:
            result = cls(
                median_px={name: _px(record['median_px'][name]) for name in names},
                limit_px={name: _px(record['limit_px'][name]) for name in names},
                n_points={name: int(record['n_points'][name]) for name in names},
                contradicting=tuple(record['contradicting']),
                ambiguous=bool(record['ambiguous']),
                same_place=tuple((a, b) for a, b in record['same_place']),
                judged_by=str(record['judged_by']),
                unit_factor=None if record['unit_factor'] is None else float(record['unit_factor']),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f'CameraReport: a record must give the figures of {", ".join(names)}; got {error!r}.'
            ) from None
        if not {*result.contradicting, *itertools.chain(*result.same_place)} <= set(names):
            raise ValueError(
                f'CameraReport: a record must name cameras among {", ".join(names)}; it names others.'
            )
        return result

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the calibration."""
        return not (self.contradicting or self.ambiguous or self.unit_factor is not None)

    def message(self) -> str:
        """Describe in words what was found, with each camera's figure."""
        if self.unit_factor is not None:
            return (
                f'the given 3D points are {self.unit_factor:.4g} times as large as those that the cameras place, '
                'which agree with each other: the points are in another unit than the calibration.'
            )
        figures = ', '.join(
            f'{name} {"unknown (too few points)" if math.isnan(px) else f"{px:.1f} px"}'
            for name, px in self.median_px.items()
        )
        parts = [f'median distance of labels from {self.judged_by}: {figures}.']
        for name in self.contradicting:
            parts.append(
                f'Camera {name!r} contradicts the others: {self.median_px[name]:.1f} px, '
                f'at most {self.limit_px[name]:.1f} px can be labelling.'
            )
        if self.ambiguous:
            parts.append('The cameras disagree, but these views do not tell which of them is wrong.')
        parts += [f'{a!r} and {b!r} are calibrated to the same place.' for a, b in self.same_place]
        return ' '.join(parts)

    def advice(self) -> str:
        """Return what to do about it."""
        if self.contradicting:
            names, it = list(self.contradicting), 'it' if len(self.contradicting) == 1 else 'each'
            return (
                f'Leave {it} out (exclude_cameras={names}), or calibrate {it} against the others: smilfit calibrate '
                f'camera SESSION --camera {names[0]} --out DIR.'
            )
        return 'Look at a board or at the animal in each of them: smilfit calibrate boards --help.'


def _px(value: float | None) -> float:
    return math.nan if value is None else float(value)


# Confidences that are means may exceed 1 by a rounding.
SLACK = 1e-5


def _check(where: str, points: Tensor, confidence: Tensor, names: Sequence[str]) -> None:
    if len(names) != points.shape[-2]:
        raise ValueError(
            f'{where}: the names must be as many as the keypoints; got {len(names)} and {points.shape[-2]}.'
        )
    wrong = ~((confidence >= 0) & (confidence <= 1 + SLACK))
    if bool(wrong.any()):
        raise ValueError(
            f'{where}: confidences must be in [0, 1]; got {float(confidence[wrong][0]):.4g} ({int(wrong.sum())} such '
            'points). Give missing points 0, and clip scores that may exceed 1, such as peaks of heat maps.'
        )
    bad = (confidence > 0) & ~(points.abs() < LARGEST).all(-1)
    if bool(bad.any()):
        at = tuple(int(i) for i in bad.nonzero()[0])
        rule = f'be below {LARGEST:.0e} units' if bool(points[at].isfinite().all()) else 'be finite'
        raise ValueError(
            f'{where}: coordinates must {rule} where confidence > 0; got {points[at].tolist()} for '
            f'{names[at[-1]]!r:.80} at index {at} ({int(bad.sum())} such points). Give missing points confidence 0.'
        )


def _cleaned(points: Tensor, confidence: Tensor) -> Tensor:
    """Set what is missing to 0; points of which nothing is left to clean are not copied."""
    missing = ~(confidence > 0)
    if not bool((points[missing] != 0).any()):
        return points
    return points.masked_fill(missing.unsqueeze(-1), 0.0)


def _select(names: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    for name in wanted:
        if name not in names:
            raise UnknownNameError(f'{where}: no keypoint {name!r}. {did_you_mean(name, names)}')
    return [list(names).index(name) for name in wanted]


@dataclass(frozen=True)
class Keypoints2d:
    """Keypoints (x, y) px in C views of B frames, with the cameras that saw them.

    Coordinates of a point with confidence 0 are set to 0, so that NaN never enters a loss.

    `camera_report` is what the cameras were judged to be by these labels, once somebody asked (`judge_cameras`).
    Parts of an observation have it too; what `dataclasses.replace` makes, with other labels or cameras, has not.
    """

    xy: Float[Tensor, 'B C K 2']
    confidence: Float[Tensor, 'B C K']
    names: tuple[str, ...]
    cameras: Cameras | None = None
    camera_report: CameraReport | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and clean: what is missing becomes 0."""
        _check('Keypoints2d', self.xy, self.confidence, self.names)
        self._check_cameras()
        object.__setattr__(self, 'xy', _cleaned(self.xy, self.confidence))

    @property
    def rig(self) -> Cameras:
        """The cameras, for what cannot do without.

        Raises:
            ValueError: there are none.
        """
        if self.cameras is None:
            raise ValueError(
                'Keypoints2d: the cameras that saw them must be known; got None. Give them as cameras=....'
            )
        return self.cameras

    def _check_cameras(self) -> None:
        if self.cameras is None:
            return
        if len(self.cameras) != self.xy.shape[1]:
            raise ValueError(
                f'Keypoints2d: the cameras must be as many as the views; got {len(self.cameras)} cameras and '
                f'{self.xy.shape[1]} views. Select the cameras that saw these keypoints, in their order.'
            )
        own = self.cameras.K.ndim == 4
        if own and self.cameras.K.shape[0] not in (1, self.xy.shape[0]):
            raise ValueError(
                f'Keypoints2d: cameras of single frames must be as many as the frames; got those of '
                f'{self.cameras.K.shape[0]} frames for {self.xy.shape[0]}.'
            )

    @property
    def batch_size(self) -> int:
        """How many frames."""
        return self.xy.shape[0]

    @property
    def visible(self) -> Bool[Tensor, 'B C K']:
        """Where there is a point."""
        return self.confidence > 0

    def select(self, names: Sequence[str]) -> 'Keypoints2d':
        """Pick keypoints by name, in the order given."""
        index = _select(self.names, names, 'Keypoints2d')
        return replace(
            self, xy=self.xy[:, :, index], confidence=self.confidence[:, :, index], names=tuple(names)
        ).judged(self.camera_report)

    def to(self, *args: Any, **kwargs: Any) -> 'Keypoints2d':
        """Move or cast, as `Tensor.to`."""
        cameras = None if self.cameras is None else self.cameras.to(*args, **kwargs)
        return replace(
            self,
            xy=self.xy.to(*args, **kwargs),
            confidence=self.confidence.to(*args, **kwargs),
            cameras=cameras,
        ).judged(self.camera_report)

    def judged(self, report: CameraReport | None) -> 'Keypoints2d':
        """Note what the cameras were judged to be by the recording that these labels are of; gives this object."""
        object.__setattr__(self, 'camera_report', report)
        return self

    def __getitem__(self, index: Any) -> 'Keypoints2d':
        """Select frames."""
        index = slice(index, index + 1 or None) if isinstance(index, int) else index
        cameras = None if self.cameras is None else self.cameras[index]
        part = replace(self, xy=self.xy[index], confidence=self.confidence[index], cameras=cameras)
        return part.judged(self.camera_report)


@dataclass(frozen=True)
class Keypoints3d:
    """Keypoints in the world's frame and unit, in B frames.

    Coordinates of a point with confidence 0 are set to 0, so that NaN never enters a loss.
    """

    xyz: Float[Tensor, 'B K 3']
    confidence: Float[Tensor, 'B K']
    names: tuple[str, ...]
    unit: str | None = None

    def __post_init__(self) -> None:
        """Check and clean: what is missing becomes 0."""
        _check('Keypoints3d', self.xyz, self.confidence, self.names)
        object.__setattr__(self, 'xyz', _cleaned(self.xyz, self.confidence))

    @property
    def batch_size(self) -> int:
        """How many frames."""
        return self.xyz.shape[0]

    @property
    def visible(self) -> Bool[Tensor, 'B K']:
        """Where there is a point."""
        return self.confidence > 0

    def select(self, names: Sequence[str]) -> 'Keypoints3d':
        """Pick keypoints by name, in the order given."""
        index = _select(self.names, names, 'Keypoints3d')
        return replace(self, xyz=self.xyz[:, index], confidence=self.confidence[:, index], names=tuple(names))

    def to(self, *args: Any, **kwargs: Any) -> 'Keypoints3d':
        """Move or cast, as `Tensor.to`."""
        return replace(self, xyz=self.xyz.to(*args, **kwargs), confidence=self.confidence.to(*args, **kwargs))

    def __getitem__(self, index: Any) -> 'Keypoints3d':
        """Select frames."""
        index = slice(index, index + 1 or None) if isinstance(index, int) else index
        return replace(self, xyz=self.xyz[index], confidence=self.confidence[index])
