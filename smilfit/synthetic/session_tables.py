"""The tables beside made sessions: which annotated name is which keypoint, and each session's shape."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from smilfit.files import write_text


def annotator_name(name: str) -> str:
    """Give the name that an annotator gives a keypoint of the model: sides in words."""
    return name.replace('_L', '_left').replace('_R', '_right')


def write_joint_lookup(path: str | Path, keypoint_names: Sequence[str], joint_names: Iterable[str]) -> Path:
    """Write `joint_lookup.csv`: the model's keypoints with the annotator's names, then unlabelled joints."""
    rows = [(name, annotator_name(name)) for name in keypoint_names]
    rows += [(name, '') for name in joint_names if name not in keypoint_names]
    return _write_table(Path(path), ('model', 'data'), rows)


def add_shape_betas(path: str | Path, session: str, betas: np.ndarray) -> Path:
    """Add a session's true shape to `shape_betas.csv`, or replace it there."""
    path = Path(path)
    rows = {}
    if path.is_file():
        with path.open(newline='', encoding='utf-8') as file:
            rows = {row[0]: row[1:] for row in list(csv.reader(file))[1:]}
    rows[session] = [repr(float(b)) for b in betas]
    header = ('label', *(f'PC{i + 1}' for i in range(len(betas))))
    return _write_table(path, header, ((label, *values) for label, values in sorted(rows.items())))


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    text = io.StringIO(newline='')
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return write_text(path, text.getvalue())
