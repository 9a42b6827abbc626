"""The values at which numbers make a fit doubtful or not believable: a file, the shipped one or a user's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from smilfit.evaluation.verdict.measure import GOOD, Measure
from smilfit.files import read_json, reading
from smilfit.registry import reject_unknown

SHIPPED = Path(__file__).with_name('thresholds.json')
FORMAT = 'smilfit-verdict-thresholds'
_WHAT = 'thresholds of a verdict'


@dataclass(frozen=True)
class Threshold:
    """What a number is held against. `reason` may hold `{value}` and `{where}`; `source` says why these values."""

    doubtful: float
    not_believable: float
    unit: str
    reason: str
    source: str

    def __post_init__(self) -> None:
        """Check that one of the two values is worse."""
        if self.doubtful == self.not_believable:
            raise ValueError(f'doubtful and not_believable must differ; got {self.doubtful:g} twice')

    def measure(self, name: str, value: float, where: str = '') -> Measure:
        """Hold a number against the two values; `where` says which bone, camera or parameter it is of."""
        measure = Measure(name, float(value), self.doubtful, self.not_believable, self.unit, where)
        if measure.word == GOOD:
            return measure
        return replace(measure, reason=self.reason.format(value=self._text(value), where=where))

    def _text(self, value: float) -> str:
        """Write shares in percent."""
        return f'{100 * value:.3g} %' if self.unit.startswith('share') else f'{value:.3g}'


def load_thresholds(path: str | Path | None = None) -> dict[str, Threshold]:
    """Read thresholds by the name of their measure.

    Args:
        path: a file that replaces some or all of the shipped ones; of a measure, what it leaves out stays.

    Raises:
        BadFileError: no such file.
        KeyError: a measure that there is not, with the near names.
    """
    shipped = _read(SHIPPED)
    given = {} if path is None else _read(Path(path))
    reject_unknown(str(path), 'measure', given, list(shipped))
    result = {}
    for name, fields in shipped.items():
        with reading(path or SHIPPED, _WHAT):
            whole = {**fields, **given.get(name, {})}
            doubtful, not_believable = (float(whole.pop(key)) for key in ('doubtful', 'not_believable'))
            unit, reason, source = (str(whole.pop(key)) for key in ('unit', 'reason', 'source'))
            if whole:
                raise ValueError(f'{name} must have no other fields; got {sorted(whole)}')
            result[name] = Threshold(doubtful, not_believable, unit, reason, source)
    return result


def _read(path: Path) -> Mapping[str, dict]:
    document = read_json(path, _WHAT, dict)
    with reading(path, _WHAT):
        if document.get('format') != FORMAT:
            raise ValueError(f'format must be {FORMAT!r}; got {document.get("format")!r}')
        measures = document['measures']
        if not all(isinstance(fields, dict) for fields in measures.values()):
            raise TypeError('every measure must be an object')
        return measures
