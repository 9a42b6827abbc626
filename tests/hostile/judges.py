"""Say what is wrong with what became of a hostile file; nothing should be."""

import re
from pathlib import Path

from smilfit.files import folder_name
from tests.hostile.hostile_annotations import Hostile
from tests.hostile.sandbox import Outcome

STORE_ADVICE = (
    'copy it again',
    'ake it anew',
    'ake the file anew',
    'Update smilfit',
    'Run preprocessing again',
)
STORE_ADVICE += ('Make one with', 'Make the file from', 'in smaller pieces')
ADVICE = re.compile(
    r'\b(?:Ask|Check|Choose|Convert|Copy|Correct|Export|Give|Is it|Keep|Label|Leave|Lower|Make|Move|Number|Put|Read|'
    r'Rename|Save|Scale|Was|Write)\b|convert other content|copy it again|make it anew|export it again'
)
LONGEST = 700


def judge_model(case: Outcome, path: Path, whole: str) -> str:
    """Return what is wrong with the outcome of a hostile body model; nothing is."""
    warned = f'warned: {case.output}' if case.output and case.outcome == 'refused' else ''
    return _judge_file(case, path, whole, ('flip',)) or _judge_end(case, path) or warned


def judge_store(case: Outcome, path: Path, whole: str) -> str:
    """Return what is wrong with the outcome of a hostile dataset file; nothing is."""
    wrong = _judge_file(case, path, whole, ('flip', 'harmless'))
    refused = case.outcome == 'refused'
    advised = case.message.endswith('.') and any(advice in case.message for advice in STORE_ADVICE)
    if not wrong and refused and not advised:
        return f'no advice: {case.message}'
    return wrong or _judge_end(case, path)


def _judge_file(case: Outcome, path: Path, whole: str, may_be_read: tuple[str, ...]) -> str:
    """Judge what all files have in common: refused by name, or read as the whole file is."""
    if case.outcome == 'accepted' and case.name.startswith(may_be_read):
        return '' if case.value == whole else 'other values than the whole file'
    if case.outcome != 'refused':
        return f'{case.outcome} {case.kind} {case.output}'
    if not {'ValueError', 'KeyError', 'OSError'} & set(case.families):
        return f'a {case.kind}: {case.message}'
    if not case.message.startswith(f'{path}: '):
        return f'the file is not named: {case.message}'
    # A reader that ran out of memory had believed the file.
    return 'it took all memory first' if 'MemoryError' in case.causes else ''


def _judge_end(case: Outcome, path: Path) -> str:
    # Rule, value and advice are sentences; a value alone ends without a full stop or a question mark.
    if case.outcome == 'refused' and (
        not case.message.endswith(('.', '?')) or len(case.message) > len(str(path)) + 600
    ):
        return f'no advice, or endless: {case.message[:600]}'
    return ''


def judge_annotation(case: Outcome, given: Hostile) -> str:
    """Return what is wrong with what became of a case; nothing is."""
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
    result = case.value
    if given.kept is None:
        return 'it was believed'
    if result['kept'] != given.kept:
        return f'{result["kept"]} entries are kept, not {given.kept}: {result["skipped"]}'
    if not result['skipped'] and not case.name.startswith('harmless'):
        return 'nothing is reported'
    if result['opened']:
        return f'opened {result["opened"]}'
    unsafe = [name for name in result['names'] if folder_name(name) != name]
    if unsafe or (case.name == 'harmless_tracks' and len(result['names']) != 5):
        return f'names {result["names"]}'
    wrong = [
        _judge_sentence(reason) or _judge_sentence(where, advice=False) for where, reason in result['skipped']
    ]
    return next(filter(None, wrong), '')


def _judge_sentence(text: str, advice: bool = True) -> str:
    if len(text) > LONGEST or not text.isprintable():
        return f'{len(text)} characters: {text[:200]!r}'
    if advice and not ADVICE.search(text):
        return f'no advice: {text}'
    return ''
