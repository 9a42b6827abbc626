"""`landmarks.json`: where a fit found the landmarks of a session, for the next one of the same animal and lab."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from smilfit.body_models.data import BodyModelData, Landmark
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json import landmarks_out
from smilfit.body_models.files.smil_json_parts import landmarks as take_landmarks
from smilfit.files import check_budget, shorten, write_text
from smilfit.files.text_files import read_strict_json
from smilfit.registry import UnknownNameError, did_you_mean, reject_unknown

FORMAT, FORMAT_VERSION = 'smilfit-landmarks', 1
MOST_BYTES, MOST_LANDMARKS = 1 << 24, 5000
_KEYS = ('format', 'version', 'body_model', 'body_model_hash', 'session', 'landmarks', 'expected')


@dataclass(frozen=True)
class FittedLandmarks:
    """Landmarks of a session as its fit found them.

    Args:
        body_model: the model's name.
        body_model_hash: of the model without landmarks.
        session: where they were found.
        landmarks: by name; `offset` is where it was found, `sd` how sure that is, or what was expected where the fit
            does not tell.
        expected: by name, what was expected before the fit.
    """

    body_model: str
    body_model_hash: str
    session: str
    landmarks: dict[str, Landmark]
    expected: dict[str, Landmark]


def write_landmark_file(path: str | Path, fitted: FittedLandmarks) -> Path:
    """Write where a fit found landmarks; the file appears whole or not at all."""
    document = {
        'format': FORMAT,
        'version': FORMAT_VERSION,
        'body_model': fitted.body_model,
        'body_model_hash': fitted.body_model_hash,
        'session': fitted.session,
        'landmarks': landmarks_out(fitted.landmarks),
        'expected': landmarks_out(fitted.expected),
    }
    return write_text(path, json.dumps(document, indent=1) + '\n')


def read_landmark_file(path: str | Path) -> FittedLandmarks:
    """Read what `write_landmark_file` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format, a newer version, or anything that breaks a rule; the message names the file.
        KeyError: an unknown key, with the near ones.
    """
    path = Path(path)
    document = read_strict_json(path, 'a landmark file', MOST_BYTES)
    values = JsonValues(path, 'Take the landmarks.json that a fit wrote.')
    if document.get('format') != FORMAT:
        values.refuse('format', f'be {FORMAT!r}', document.get('format'))
    version = document.get('version')
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        values.refuse('version', f'be from 1 to {FORMAT_VERSION}', version)
    reject_unknown(str(path), 'key', map(shorten, document), _KEYS)
    landmarks = values.record(document.get('landmarks'), 'landmarks')
    check_budget(path, 'landmarks', len(landmarks), MOST_LANDMARKS, 'landmarks')
    expected = values.record(document.get('expected'), 'expected')
    reject_unknown(f'{path}: expected', 'landmark', map(shorten, expected), landmarks)
    return FittedLandmarks(
        values.name(document.get('body_model'), 'body_model'),
        values.name(document.get('body_model_hash'), 'body_model_hash'),
        values.name(document.get('session'), 'session'),
        take_landmarks(landmarks, values),
        take_landmarks(expected, values),
    )


def expect_fitted(
    known: Mapping[str, Landmark], fitted: FittedLandmarks, body: BodyModelData, where: str | Path
) -> dict[str, Landmark]:
    """Expect landmarks where an earlier session found them, as surely as it did.

    Args:
        known: the landmarks of the session to come.
        fitted: those of the earlier one.
        body: the model.
        where: the file, for messages.

    Returns:
        The landmarks that both have; their known offsets are the earlier session's.

    Raises:
        ValueError: found on another model, or at another anchor or bone.
        KeyError: no landmark in common.
    """
    if fitted.body_model_hash != body.hash_without_landmarks():
        raise ValueError(
            f'{where}: the body model must be the one that the landmarks were found on, {shorten(fitted.body_model)} '
            f'(hash {shorten(fitted.body_model_hash)}); got {body.name} (hash {body.hash_without_landmarks()}). Fit '
            'with that model, or leave the file out.'
        )
    common = {name: mark for name, mark in fitted.landmarks.items() if name in known}
    if not common:
        first = next(iter(fitted.landmarks), '')
        raise UnknownNameError(
            f'{where}: a landmark must be one of the dataset; none of {len(fitted.landmarks)} is. '
            f'{did_you_mean(first, known)}'
        )
    for name, mark in common.items():
        if (mark.anchor, mark.bone) != (known[name].anchor, known[name].bone):
            raise ValueError(
                f'{where}: landmarks.{shorten(name)} must have the anchor and the bone of the lookup; got '
                f'{shorten((mark.anchor, mark.bone))} and not {shorten((known[name].anchor, known[name].bone))}. '
                'Offsets are seen from there: use one lookup for both sessions.'
            )
    return {name: replace(known[name], offset=mark.offset, sd=mark.sd) for name, mark in common.items()}
