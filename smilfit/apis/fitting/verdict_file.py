"""The verdict on a session's fit as a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.evaluation.verdict import Verdict
from smilfit.files import read_json, reading, write_text

VERDICT = 'verdict.json'
CameraRow = dict[str, Any]


def write_verdict(folder: Path, verdict: Verdict, cameras: list[CameraRow]) -> None:
    """Write `verdict.json`."""
    document = {**verdict.as_dict(), 'cameras': cameras}
    write_text(folder / VERDICT, json.dumps(_jsonable(document), indent=1))


def read_verdict(folder: Path) -> tuple[Verdict, list[CameraRow]]:
    """Read what `write_verdict` wrote."""
    document = read_json(folder / VERDICT, 'a verdict', dict)
    with reading(folder / VERDICT, 'a verdict'):
        numbers = {'value': float, 'threshold_doubtful': float, 'threshold_not_believable': float}
        for measure in document['measures']:
            measure |= {name: kind(measure[name]) for name, kind in numbers.items()}
        return Verdict.from_dict(document), document['cameras']


def _jsonable(value: object) -> object:
    """JSON has no infinity and no NaN: they are written as words, which `float` reads."""
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_jsonable(v) for v in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
