"""The document of a body model, `*.smil.json`, and its arrays. Without Blender.

The whole document stays in the .blend, compressed, so that what Blender has no place for (regressor, covariance,
priors, landmarks, ...) and digits that Blender's single precision drops are there when it is written again.
"""

import json
import zlib
from pathlib import Path

import numpy as np

from .errors import AddonError

FORMAT, FORMAT_VERSION = 'smil', 1
# Of a document in a .blend, unpacked: a small file cannot ask for all memory.
_MOST_BYTES = 1 << 30
# Sliders of Blender end at +-10.
_MOST_SLIDER = 10.0
SDS = 3.0


def read_document(path):
    """Read a `.smil.json`.

    Raises:
        AddonError: no such file, no JSON, another format or a newer version.
    """
    try:
        with Path(path).open(encoding='utf-8') as file:
            document = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise AddonError(f'{path}: must be a readable body model (.smil.json); {error}') from None
    return checked(document, path)


def checked(document, where):
    """Look at what would fail later without words; smilfit itself checks the rest when a model is used."""
    if not isinstance(document, dict) or document.get('format') != FORMAT:
        raise AddonError(f'{where}: must be a body model, with "format": "{FORMAT}"; it is none.')
    if document.get('format_version', 0) > FORMAT_VERSION:
        raise AddonError(f'{where}: was written by a newer smilfit; update the add-on.')
    missing = [key for key in ('joints', 'vertices', 'faces', 'skin_weights') if not document.get(key)]
    if missing:
        raise AddonError(
            f'{where}: must have {", ".join(missing)}; it has none. `smilfit model check` says more.'
        )
    try:
        count = len(vertices_of(document))
        parts = [
            parents_of(document),
            faces_of(document),
            rest_joints(document),
            axes_of(document),
            limits_of(document),
        ]
        moved = [direction for _, direction, _ in sliders_of(document)]
        weights = list(document['skin_weights'].values())
        fit = (
            all(m.shape == (count, 3) for m in moved)
            and parts[1].shape[1:] == (3,)
            and parts[2].shape[1:] == (3,)
        )
        used = [np.asarray(w['vertices'], int) for w in weights] + [parts[1].ravel()]
        inside = all(not u.size or (u.min() >= 0 and u.max() < count) for u in used)
        known = set(document['skin_weights']) <= {joint['name'] for joint in document['joints']}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise AddonError(
            f'{where}: its arrays must fit each other; {type(error).__name__}: {error}. '
            '`smilfit model check` says more.'
        ) from None
    if not (fit and inside and known):
        raise AddonError(
            f'{where}: its arrays must fit each other; they do not. `smilfit model check` says more.'
        )
    return document


def write_document(document, path):
    """Write a `.smil.json`, a key a line."""
    lines = [f'{json.dumps(key)}: {json.dumps(value, allow_nan=False)}' for key, value in document.items()]
    Path(path).write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')


def packed(document):
    """Give the document as bytes for a .blend."""
    return zlib.compress(json.dumps(document, separators=(',', ':')).encode())


def unpacked(data):
    """Give back what `packed` made.

    Raises:
        AddonError: other bytes.
    """
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(bytes(data), _MOST_BYTES)
        if reader.unconsumed_tail:
            raise ValueError(f'it holds more than {_MOST_BYTES} bytes')
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise AddonError(f'The model in this .blend is damaged: {error}. Import it anew.') from None


def names_of(document):
    """Give the J joints' names."""
    return [joint['name'] for joint in document['joints']]


def parents_of(document):
    """Give each joint's parent (J,), -1 of the root."""
    place = {name: j for j, name in enumerate(names_of(document))}
    return np.array([-1 if j['parent'] is None else place[j['parent']] for j in document['joints']])


def vertices_of(document):
    """Give the template (V, 3)."""
    return np.asarray(document['vertices'], np.float64).reshape(-1, 3)


def faces_of(document):
    """Give the triangles (F, 3)."""
    return np.asarray(document['faces'], np.int64).reshape(-1, 3)


def rest_joints(document):
    """Give the rest joints (J, 3) as bodies have them: those that are written down."""
    return np.asarray([joint['position'] for joint in document['joints']], np.float64)


def regressed_joints(document, vertices):
    """Give the joints (J, 3) of vertices (V, 3) by the model's regressor; zeros where it has none for a joint."""
    found = np.zeros((len(document['joints']), 3))
    for j, name in enumerate(names_of(document)):
        row = document['joint_regressor'].get(name)
        if row and row['vertices']:
            found[j] = np.asarray(row['weights'], np.float64) @ vertices[np.asarray(row['vertices'], int)]
    return found


def axes_of(document):
    """Give each joint's own axes (J, 3, 3), one a column, in those of the model."""
    return np.stack(
        [np.asarray(j.get('axes', np.eye(3)), np.float64).reshape(3, 3).T for j in document['joints']]
    )


def limits_of(document):
    """Give least and greatest angle (J, 3, 2), rad; None where none are stated."""
    if 'limits_rad' not in document['joints'][0]:
        return None
    return np.asarray([joint['limits_rad'] for joint in document['joints']], np.float64).reshape(-1, 3, 2)


def sliders_of(document):
    """Give what becomes shape keys: name, how vertices move at value 1 (V, 3), and (least, greatest) value.

    A value is the coefficient itself, or, where three standard deviations of it do not fit on a slider of Blender,
    so many standard deviations.
    """
    shape = document.get('shape') or {}
    found = []
    for s, (direction, (mean, sd)) in enumerate(zip(shape.get('directions', ()), spreads_of(document))):
        unit = slider_unit(mean, sd)
        ends = ((mean - SDS * sd) / unit, (mean + SDS * sd) / unit)
        found.append((f'beta_{s}', unit * np.asarray(direction['vertices'], np.float64).reshape(-1, 3), ends))
    for s, direction in enumerate((document.get('expression') or {}).get('directions', ())):
        found.append((f'expression_{s}', np.asarray(direction, np.float64).reshape(-1, 3), (-SDS, SDS)))
    return found


def spreads_of(document):
    """Give mean and standard deviation of each shape coefficient."""
    shape = document.get('shape') or {}
    count = len(shape.get('directions', ()))
    mean = np.zeros(count) if shape.get('mean') is None else np.asarray(shape['mean'], np.float64)
    covariance = (
        np.eye(count) if shape.get('covariance') is None else np.asarray(shape['covariance'], np.float64)
    )
    return list(zip(mean.tolist(), np.sqrt(np.clip(np.diag(covariance), 0, None)).tolist()))


def slider_unit(mean, sd):
    """Give what a coefficient is at a slider's value of 1."""
    return 1.0 if abs(mean) + SDS * sd <= _MOST_SLIDER else sd


def size_of(document):
    """Give the longest side of the mesh's box."""
    return float(np.ptp(vertices_of(document), axis=0).max())
