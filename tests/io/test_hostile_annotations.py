"""Hostile annotations, pictures and videos: refused by a sentence that names the file, or left out entry by entry."""

import json
import re
from pathlib import Path

from benchmarks.reliability.hostile_annotations import Hostile, hostile_annotations
from benchmarks.reliability.sandbox import Outcome, run_cases
from smilfit.files import folder_name

ADVICE = re.compile(
    r'\b(?:Ask|Check|Choose|Convert|Copy|Correct|Export|Give|Is it|Keep|Label|Leave|Lower|Make|Move|Number|Put|Read|'
    r'Rename|Save|Scale|Was|Write)\b|convert other content|copy it again|make it anew|export it again'
)
LONGEST = 700


def judge(case: Outcome, given: Hostile) -> str:
    """Say what is wrong with what became of a case; nothing is."""
    if case.outcome == 'accepted':
        return _judge_read(case, given)
    if case.outcome != 'refused' or not {'ValueError', 'KeyError', 'OSError'} & set(case.families):
        return f'{case.outcome} {case.kind}: {case.message} {case.output}'
    if given.kept is not None:
        return f'refused as a whole: {case.message}'
    root = given.path.parent if given.format == 'stanfordextra' else given.path
    if not case.message.startswith(str(root)):
        return f'the file is not named: {case.message}'
    return _judge_sentence(case.message.removeprefix(str(given.path)))


def _judge_read(case: Outcome, given: Hostile) -> str:
    found = case.value
    if given.kept is None:
        return 'it was believed'
    if found['kept'] != given.kept:
        return f'{found["kept"]} entries are kept, not {given.kept}: {found["skipped"]}'
    if not found['skipped'] and not case.name.startswith('harmless'):
        return 'nothing is told'
    if found['opened']:
        return f'opened {found["opened"]}'
    unsafe = [name for name in found['names'] if folder_name(name) != name]
    if unsafe or (case.name == 'harmless_tracks' and len(found['names']) != 5):
        return f'names {found["names"]}'
    wrong = [
        _judge_sentence(reason) or _judge_sentence(where, advice=False) for where, reason in found['skipped']
    ]
    return next(filter(None, wrong), '')


def _judge_sentence(text: str, advice: bool = True) -> str:
    if len(text) > LONGEST or not text.isprintable():
        return f'{len(text)} characters: {text[:200]!r}'
    if advice and not ADVICE.search(text):
        return f'no advice: {text}'
    return ''


def test_hostile_annotations_are_refused_or_left_out(tmp_path: Path):
    given = hostile_annotations(tmp_path)
    assert len(given) >= 200
    assert {'coco', 'sleap', 'dlc', 'lightningpose', 'anipose', 'stanfordextra', 'animalpose', 'badja', 'replicant',
            'animal3d', 'animalkey', 'tigdog', 'grevyzebra', 'calibration', 'lookup', 'betas', 'points3d', 'video',
            'session', 'labels'} == {case.format for case in given.values()}  # fmt: skip
    orders = {}
    (tmp_path / 'orders').mkdir()
    for name, case in given.items():
        orders[name] = tmp_path / 'orders' / f'{name}.json'
        order = {'format': case.format, 'path': str(case.path), 'arguments': case.arguments}
        orders[name].write_text(json.dumps(order))
    found = run_cases('benchmarks.reliability.annotation_calls:read_case', orders)
    wrong = {name: judge(case, given[name]) for name, case in found.items()}
    assert {name: fault for name, fault in wrong.items() if fault} == {}
    assert found.keys() == given.keys()
    # What was refused was refused before it was believed: no reader ran into the limit first.
    full = {
        name
        for name, case in found.items()
        if 'MemoryError' in case.causes or 'fit into memory' in str(case.value)
    }
    assert full == set()
