"""Figures of many images: the start of each fit beside its end, as tables and files."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smilfit.evaluation.image_fit import ImageFit, mean_of
from smilfit.files import read_json, reading, write_text

SHOWN = ('iou', 'pck_5px', 'pck_area', 'median_px')


@dataclass(frozen=True)
class ImageFigures:
    """How well one animal in one image was explained where its fit began, and where it ended.

    `name` names its files, and `entry` its annotation, by file and number. `verdict` is the word that its fit was
    judged by, where it was, and `reason` the weightiest one if it is not good.
    """

    name: str
    fit: ImageFit
    start: ImageFit | None = None
    entry: str = ''
    verdict: str = ''
    reason: str = ''

    def row(self) -> dict[str, Any]:
        """Return the image's line of a table."""
        line: dict[str, Any] = {
            'picture': self.fit.label,
            'annotation': self.entry,
            'files': self.name,
            'n_keypoints': self.fit.n_keypoints,
        }
        for what, fit in (('fit', self.fit), ('start', self.start)):
            numbers = {} if fit is None else fit.numbers()
            line |= {f'{what}_{n}': numbers.get(n) for n in SHOWN}
        return line | {'verdict': self.verdict, 'reason': self.reason}


def summary(figures: Sequence[ImageFigures]) -> dict[str, Any]:
    """Average the figures of the fits and of their starts."""
    result: dict[str, Any] = {'n_pictures': len(figures), 'fit': mean_of([one.fit for one in figures])}
    starts = [one.start for one in figures if one.start is not None]
    return result | ({'start': mean_of(starts)} if starts else {})


def write_figures(folder: Path, figures: Sequence[ImageFigures]) -> None:
    """Write `images.csv`, a table for spreadsheets, and `images.json`, which `read_figures` reads."""
    rows = [one.row() for one in figures]
    table = io.StringIO(newline='')
    writer = csv.DictWriter(table, fieldnames=list(rows[0]) if rows else ['picture'])
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / 'images.csv', table.getvalue())
    document = summary(figures) | {'pictures': [asdict(one) for one in figures]}
    write_text(folder / 'images.json', json.dumps(document, indent=1))


def read_figures(folder: Path) -> list[ImageFigures]:
    """Read what `write_figures` wrote."""
    path, what = folder / 'images.json', 'the figures of fitted images'
    document = read_json(path, what, dict)
    with reading(path, what):
        return [
            ImageFigures(
                one['name'],
                ImageFit(**one['fit']),
                None if one['start'] is None else ImageFit(**one['start']),
                one.get('entry', ''),
                one.get('verdict', ''),
                one.get('reason', ''),
            )
            for one in document['pictures']
        ]
