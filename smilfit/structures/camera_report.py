"""What the cameras of a recording were judged to be by what they all saw."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
        """Give it as JSON has it: what is not known is None."""
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
            found = cls(
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
        if not {*found.contradicting, *itertools.chain(*found.same_place)} <= set(names):
            raise ValueError(
                f'CameraReport: a record must name cameras among {", ".join(names)}; it names others.'
            )
        return found

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the calibration."""
        return not (self.contradicting or self.ambiguous or self.unit_factor is not None)

    def message(self) -> str:
        """Say in words what was found, with each camera's figure."""
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
        """Say what to do about it."""
        if self.contradicting:
            names, it = list(self.contradicting), 'it' if len(self.contradicting) == 1 else 'each'
            return (
                f'Leave {it} out (exclude_cameras={names}), or calibrate {it} against the others: smilfit calibrate '
                f'camera SESSION --camera {names[0]} --out DIR.'
            )
        return 'Look at a board or at the animal in each of them: smilfit calibrate boards --help.'


def _px(value: float | None) -> float:
    return math.nan if value is None else float(value)
