"""The tables beside made sessions: which annotated name is which keypoint, and each session's shape."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np


def annotator_name(name: str) -> str:
    """Give the name that an annotator gives a keypoint of the model: sides in words."""
    return name.replace('_L', '_left').replace('_R', '_right')


def write_joint_lookup(path: str | Path, keypoint_names: Sequence[str], joint_names: Iterable[str]) -> Path:
    """Write `joint_lookup.csv`: the model's keypoints with the annotator's names, then unlabelled joints."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(('model', 'data'))
        writer.writerows((name, annotator_name(name)) for name in keypoint_names)
        writer.writerows((name, '') for name in joint_names if name not in keypoint_names)
    return path


def add_shape_betas(path: str | Path, session: str, betas: np.ndarray) -> Path:
    """Add a session's true shape to `shape_betas.csv`, or replace it there."""
    path = Path(path)
    rows = {}
    if path.is_file():
        with path.open(newline='', encoding='utf-8') as file:
            rows = {row[0]: row[1:] for row in list(csv.reader(file))[1:]}
    rows[session] = [repr(float(b)) for b in betas]
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(('label', *(f'PC{i + 1}' for i in range(len(betas)))))
        writer.writerows((label, *values) for label, values in sorted(rows.items()))
    return path
