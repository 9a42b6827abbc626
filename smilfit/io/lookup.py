"""Small tables beside a session: which model keypoint is which annotated one, and known shapes."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smilfit.files import reading, shorten
from smilfit.files.text_files import read_csv
from smilfit.registry import UnknownNameError, did_you_mean

# Tables of names and numbers that a person keeps.
MOST_TABLE_BYTES = 1 << 24
# Where a keypoint of the body is, for those that are no joint and in no keypoint set; `landmark_rows` reads them.
LANDMARK_COLUMNS = ('joint', 'vertices', 'triangle', 'barycentric', 'bone', 'offset', 'offset_sd')
# Headers so near to one of these are misspelt.
_NEAR_HEADER = 0.8


@dataclass(frozen=True)
class LookupRow:
    """A row of a joint lookup: a keypoint of the model, and the annotated one that it is.

    Args:
        place: the file and the line, for messages.
        model: the keypoint's name in the model; where `landmark` is filled, that of the landmark which it describes.
        data: the annotated keypoint.
        landmark: the filled ones of the cells in `LANDMARK_COLUMNS`, as they are written.
    """

    place: str
    model: str
    data: str
    landmark: Mapping[str, str] = field(default_factory=dict)


def read_lookup_rows(path: str | Path) -> tuple[LookupRow, ...]:
    """Read `joint_lookup.csv`, columns `model,data` and, where rows describe landmarks, `LANDMARK_COLUMNS`.

    Rows with an empty `data` are keypoints that nobody annotated, those with an empty `model` annotated ones that are
    no keypoint of the model; both are left out. Other columns are remarks.

    Raises:
        ValueError: no such columns, or one that is nearly called so; a landmark without a name, a name given twice in
            either column, no mapped row.
    """
    path = Path(path)
    rows: list[LookupRow] = []
    models: set[str] = set()
    place_of: dict[str, str] = {}
    for line, row in _rows(path, ('model', 'data'), LANDMARK_COLUMNS):
        place, model, data = f'{path}, line {line}', row['model'], row['data']
        cells = {name: row[name] for name in LANDMARK_COLUMNS if row.get(name)}
        if not model and not cells and data:
            continue
        if not model:
            raise ValueError(f'{place}: model must be a name; got nothing.')
        if model in models:
            raise ValueError(f'{place}: model names must differ; got {shorten(model)!r} again.')
        models.add(model)
        if not data:
            continue
        if data in place_of:
            raise ValueError(
                f'{place}: data names must differ; got {shorten(data)!r} for {shorten(model)!r} '
                f'and for {shorten(place_of[data])!r}. One annotated point cannot be two places of the body. '
                'Correct a row.'
            )
        place_of[data] = model
        rows.append(LookupRow(place, model, data, cells))
    if not rows:
        raise ValueError(f'{path}: one row at least must map a model name to a data name; got none.')
    return tuple(rows)


def read_joint_lookup(path: str | Path) -> dict[str, str]:
    """Read the names of a joint lookup: model keypoint -> annotated keypoint, in file order.

    Raises:
        ValueError: as `read_lookup_rows`.
    """
    return {row.model: row.data for row in read_lookup_rows(path)}


def names_by_lookup(path: str | Path | None, names: Sequence[str]) -> dict[str, str]:
    """Return the annotated keypoint of each of the model's by a lookup; the annotator's own names without one.

    Raises:
        ValueError: as `read_lookup_rows`.
        KeyError: the lookup names what is not annotated, with the near names.
    """
    if path is None:
        return {name: name for name in names}
    lookup = read_joint_lookup(path)
    check_lookup(lookup, data_names=names, where=str(path))
    return lookup


def check_lookup(
    lookup: Mapping[str, str],
    model_names: Iterable[str] | None = None,
    data_names: Iterable[str] | None = None,
    where: str = 'joint lookup',
) -> None:
    """Check that a lookup speaks of keypoints that exist.

    Args:
        lookup: model keypoint -> annotated keypoint.
        model_names: what the body model has; None to leave this side unchecked.
        data_names: what the annotator's skeleton has; None to leave this side unchecked.
        where: the lookup's file, for the message.

    Raises:
        KeyError: the first unknown name, with the near ones and the count of all unknown ones.
    """
    sides = (('the model', list(lookup), model_names), ('the labels', list(lookup.values()), data_names))
    for side, given, known in sides:
        if known is None:
            continue
        known = list(known)
        unknown = [name for name in given if name not in known]
        if unknown:
            others = f' So are {", ".join(map(repr, unknown[1:]))}.' if len(unknown) > 1 else ''
            raise UnknownNameError(
                f'{where}: names must be keypoints of {side}; {unknown[0]!r} is none. '
                f'{did_you_mean(unknown[0], known)}{others}'
            )


def read_shape_betas(path: str | Path) -> dict[str, np.ndarray]:
    """Read `shape_betas.csv` (columns `label,PC1,PC2,…`): session name -> known shape coefficients.

    A label names a session exactly; nothing nearer or wider is ever matched.

    Raises:
        ValueError: other columns, a label twice, a coefficient that is no finite number.
    """
    path = Path(path)
    betas: dict[str, np.ndarray] = {}
    for line, row in _rows(path, ('label', 'PC1')):
        label = row.pop('label')
        if not label or label in betas:
            raise ValueError(f'{path}, line {line}: labels must be given and differ; got {shorten(label)!r}.')
        expected = [f'PC{i + 1}' for i in range(len(row))]
        if list(row) != expected:
            got = [shorten(name, 40) for name in list(row)[:20]]
            raise ValueError(
                f'{path}: columns must be label, {", ".join(expected[:20])}; got {got}. Correct the header.'
            )
        try:
            values = np.array([float(value) for value in row.values()])
        except ValueError as error:
            raise ValueError(
                f'{path}, line {line}: coefficients must be numbers; {shorten(error)}. Correct the row.'
            ) from None
        if not np.isfinite(values).all():
            raise ValueError(
                f'{path}, line {line}: coefficients must be finite; some are not. Correct the row.'
            )
        betas[label] = values
    return betas


def _rows(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterable[tuple[int, dict[str, str]]]:
    """Yield (line, row) with stripped names and values; comment-free CSV with a header."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the file must exist; there is none.')
    with reading(path, 'the table'):
        lines = read_csv(path, 'the table', MOST_TABLE_BYTES)
        _, header = next(lines, (0, []))
        if any(name not in header for name in required) or len(set(header)) != len(header):
            got = [shorten(name, 40) for name in header[:20]]
            raise ValueError(
                f'{path}: columns must be {", ".join(required)}, each once; got {got}. Correct the header.'
            )
        for name in header:
            meant = difflib.get_close_matches(name.lower(), optional, n=1, cutoff=_NEAR_HEADER)
            if meant and name not in optional:
                raise ValueError(
                    f'{path}: columns must be spelt as they are known; got {shorten(name)!r}. Did you mean '
                    f'{meant[0]!r}? Correct the header.'
                )
        for number, values in lines:
            if not any(values):
                continue
            if len(values) > len(header):
                raise ValueError(
                    f'{path}, line {number}: rows must have {len(header)} cells; got {len(values)}.'
                )
            values += [''] * (len(header) - len(values))
            yield number, dict(zip(header, values))
