"""Small tables beside a session: which model keypoint is which annotated one, and known shapes."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from smilfit.files import reading, shorten
from smilfit.files.budget import read_text
from smilfit.registry import UnknownNameError, did_you_mean

# Tables of names and numbers that a person keeps.
MOST_TABLE_BYTES = 1 << 24


def read_joint_lookup(path: str | Path) -> dict[str, str]:
    """Read `joint_lookup.csv` (columns `model,data`): model keypoint -> annotated keypoint, in file order.

    Rows with an empty `data` are keypoints that nobody annotated; they are left out.

    Raises:
        ValueError: other columns, an empty `model`, a name given twice in either column, no mapped row.
    """
    path = Path(path)
    lookup: dict[str, str] = {}
    seen: set[str] = set()
    place_of: dict[str, str] = {}
    for line, row in _rows(path, ('model', 'data')):
        model, data = row['model'], row['data']
        if not model:
            raise ValueError(f'{path}, line {line}: model must be a name; got nothing.')
        if model in seen:
            raise ValueError(f'{path}, line {line}: model names must differ; got {shorten(model)!r} again.')
        seen.add(model)
        if not data:
            continue
        if data in place_of:
            raise ValueError(
                f'{path}, line {line}: data names must differ; got {shorten(data)!r} for {shorten(model)!r} '
                f'and for {shorten(place_of[data])!r}. One annotated point cannot be two places of the body. '
                'Correct a row.'
            )
        lookup[model], place_of[data] = data, model
    if not lookup:
        raise ValueError(f'{path}: one row at least must map a model name to a data name; got none.')
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


def _rows(path: Path, required: tuple[str, ...]) -> Iterable[tuple[int, dict[str, str]]]:
    """Yield (line, row) with stripped names and values; comment-free CSV with a header."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the file must exist; there is none.')
    with reading(path, 'the table'):
        # utf-8-sig: spreadsheets like to begin a file with a byte order mark.
        text = read_text(path, 'the table', MOST_TABLE_BYTES, 'utf-8-sig')
        reader = csv.reader(io.StringIO(text, newline=''))
        header = [name.strip() for name in next(reader, [])]
        if any(name not in header for name in required) or len(set(header)) != len(header):
            got = [shorten(name, 40) for name in header[:20]]
            raise ValueError(
                f'{path}: columns must be {", ".join(required)}, each once; got {got}. Correct the header.'
            )
        for row in reader:
            values = [value.strip() for value in row]
            if not any(values):
                continue
            if len(values) > len(header):
                raise ValueError(
                    f'{path}, line {reader.line_num}: rows must have {len(header)} cells; got {len(values)}.'
                )
            values += [''] * (len(header) - len(values))
            yield reader.line_num, dict(zip(header, values))
