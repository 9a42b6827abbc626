"""Write a proposed lookup as the table that a person goes on with."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from smilfit.body_models.data import BodyModelData
from smilfit.files import write_text
from smilfit.io.lookup import LANDMARK_COLUMNS
from smilfit.io.lookup_proposals.proposal import ProposedRow

COLUMNS = ('model', 'data', *LANDMARK_COLUMNS, 'confidence', 'remark')


def write_proposal(path: str | Path, rows: Sequence[ProposedRow], body: BodyModelData) -> Path:
    """Write rows, then the model's joints that none names, so that all names stand in one table.

    Args:
        path: the table to be; it appears whole or not at all.
        rows: what was proposed.
        body: the model.
    """
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, COLUMNS, restval='')
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {'model': row.model, 'data': row.data, 'confidence': row.confidence, 'remark': row.remark}
            | row.cells
        )
    for joint in joints_without(rows, body):
        writer.writerow({'model': joint})
    return write_text(path, text.getvalue())


def joints_without(rows: Iterable[ProposedRow], body: BodyModelData) -> list[str]:
    """Return the joints that no row names."""
    named = {row.model for row in rows}
    return [joint for joint in body.joint_names if joint not in named]
