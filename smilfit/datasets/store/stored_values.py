"""Check values of a dataset file: names of sessions, cameras that see, maps that can be undone, finite points."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped

from smilfit.datasets.store.table_checks import REMEDY, refuse
from smilfit.files import BadFileError, shorten
from smilfit.structures import PARAMETERS

LONGEST_NAME = 200

# No coordinate, length or coefficient of an animal's is larger, in any unit.
LARGEST = 1e9
# Cameras are stored as calibrated, in text of few digits or in float32.
ROTATION_TOLERANCE = 1e-3
LARGEST_SIDE_PX = 1e6
# Confidences were rounded to float32.
CONFIDENCE_ROUNDING = 1e-5
# A map that shrinks an area by more has lost the image.
_LEAST_AREA = 1e-12


def check_finite(
    values: Shaped[np.ndarray, '...'], place: str, path: str | Path, advice: str = REMEDY
) -> None:
    """Check that numbers are finite and of a size that can be.

    Raises:
        BadFileError: NaN, inf or larger than 1e9.
    """
    if values.size == 0:
        return
    low, high = values.min(), values.max()
    # NaN fails every comparison.
    if not (low > -LARGEST and high < LARGEST):
        bad = values[~(np.abs(values) < LARGEST)]
        refuse(path, place, f'be finite and smaller than {LARGEST:.0e}', float(bad.flat[0]), advice)


def check_cameras(
    values: Mapping[str, Float[np.ndarray, '...']],
    places: Mapping[str, str],
    path: str | Path,
    advice: str = REMEDY,
) -> None:
    """Check cameras: K (..., 3, 3), R (..., 3, 3), t (..., 3) and, where given, dist (..., 5) and size (..., 2).

    Args:
        values: numbers by these names.
        places: what each is called in messages, such as its table.
        path: the file, or whose cameras they are.
        advice: what to do about wrong ones.

    Raises:
        BadFileError: numbers that no camera has: not finite, no rotation, no focal length, no size.
    """
    for name, value in values.items():
        check_finite(value, places[name], path, advice)
    for rule, name, got in (*_faults_of_intrinsics(values['K']), *_faults_of_rotations(values['R'])):
        refuse(path, places[name], rule, got, advice)
    size = values.get('size')
    if size is not None and size.size and not (size.min() > 0 and size.max() <= LARGEST_SIDE_PX):
        wrong = size[~((size > 0) & (size <= LARGEST_SIDE_PX))]
        refuse(
            path, places['size'], f'be positive and at most {LARGEST_SIDE_PX:.0f} px', float(wrong[0]), advice
        )


def _faults_of_intrinsics(K: Float[np.ndarray, '*n 3 3']) -> Iterator[tuple[str, str, object]]:
    if K.size == 0:
        return
    focal = min(K[..., 0, 0].min(), K[..., 1, 1].min())
    if not focal > 0:
        yield 'have positive focal lengths', 'K', float(focal)
    area = np.abs(K[..., 0, 0] * K[..., 1, 1] - K[..., 0, 1] * K[..., 1, 0]).min()
    if not area > _LEAST_AREA:
        yield 'be invertible', 'K', f'determinant {area:.3g}'
    if np.abs(K[..., 2, :] - [0.0, 0.0, 1.0]).max() > ROTATION_TOLERANCE:
        yield 'have the last row 0, 0, 1', 'K', 'another'


def _faults_of_rotations(R: Float[np.ndarray, '*n 3 3']) -> Iterator[tuple[str, str, object]]:
    if R.size == 0:
        return
    off = np.abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max()
    if not off <= ROTATION_TOLERANCE:
        yield f'be rotations within {ROTATION_TOLERANCE}', 'R', f'R R^T - 1 of {off:.3g}'
    if not np.linalg.det(R).min() > 0:
        yield 'be rotations', 'R', 'a mirror (determinant -1)'


def check_affine(
    affine: Float[np.ndarray, '*n C 2 3'], present: Bool[np.ndarray, '*n C'], place: str, path: Path
) -> None:
    """Check that the maps to stored images are finite, and can be undone where there is an image.

    Raises:
        BadFileError: they are not.
    """
    check_finite(affine, place, path)
    area = affine[..., 0, 0] * affine[..., 1, 1] - affine[..., 0, 1] * affine[..., 1, 0]
    if (np.abs(area[present]) <= _LEAST_AREA).any():
        refuse(path, place, 'be invertible where there is an image', 'determinant 0')


def check_points(
    points: Float[np.ndarray, '*n D'],
    confidence: Float[np.ndarray, '*n'],
    places: tuple[str, str],
    path: Path,
) -> None:
    """Check keypoints: all finite, also missing ones, for NaN times 0 is NaN; confidences in [0, 1].

    Args:
        points: coordinates.
        confidence: of each point.
        places: the tables of both, for messages.
        path: the file.

    Raises:
        BadFileError: they are not.
    """
    check_finite(points, places[0], path)
    if confidence.size == 0:
        return
    low, high = confidence.min(), confidence.max()
    if not (low >= 0 and high <= 1 + CONFIDENCE_ROUNDING):
        wrong = confidence[~((confidence >= 0) & (confidence <= 1 + CONFIDENCE_ROUNDING))]
        refuse(path, places[1], 'be from 0 to 1', float(wrong.flat[0]))


def check_params(values: Mapping[str, Float[np.ndarray, '...']], path: Path) -> None:
    """Check known parameters of a body: finite, and a positive scale.

    Raises:
        BadFileError: they are not.
    """
    for name, value in values.items():
        check_finite(value, f'params/{name}', path)
        if PARAMETERS[name].kind == 'scale' and value.size and not value.min() > 0:
            refuse(path, f'params/{name}', 'be positive', float(value.min()))


def check_byte_ranges(
    start: Shaped[np.ndarray, '*n C'],
    length: Shaped[np.ndarray, '*n C'],
    end: int,
    most: int,
    place: str,
    path: Path,
) -> None:
    """Check that encoded images lie inside the bytes that the file has.

    Args:
        start: first byte of each.
        length: bytes of each; 0 where there is none.
        end: how many bytes there are.
        most: the longest image.
        place: the tables' common name, for messages.
        path: the file.

    Raises:
        BadFileError: one lies outside, or is longer than an image can be.
    """
    if length.size == 0:
        return
    if not 0 <= length.min() <= length.max() <= most:
        wrong = length[(length < 0) | (length > most)]
        refuse(path, f'{place}_length', f'be from 0 to {most} bytes', int(wrong.flat[0]))
    # Subtraction cannot overflow here: both are at least 0, and a length at most `most`.
    outside = (length > 0) & ((start < 0) | (start > end - length))
    if outside.any():
        refuse(path, f'{place}_start', f'lie inside the {end} bytes of images', int(start[outside].flat[0]))


def check_session_name(name: str, where: str) -> str:
    """Check that a session's name stays inside the folder that it is joined to, and give it back.

    Sequences of annotated images are called `<trial>/<camera>` or `<video>/<animal>`, so a name may have several
    parts; none may be empty, '.' or '..', so that no name is absolute or climbs.

    Args:
        name: of a session.
        where: the file, or who makes it, for the message.

    Raises:
        BadFileError: another name.
    """
    parts = name.split('/')
    fine = name.isprintable() and '\\' not in name and len(name) <= LONGEST_NAME and name[1:2] != ':'
    if not fine or any(part.strip() in ('', '.', '..') for part in parts):
        raise BadFileError(
            f'{where}: the name of a session must name a folder inside another (no empty part, no "." or "..", no '
            f'\\, drive or control character, at most {LONGEST_NAME} characters); got {shorten(name)!r}. Rename it '
            'and make the file anew.'
        )
    return name


def check_session_names(names: tuple[str, ...], where: str) -> None:
    """Check that each session's name serves as a folder's, and is there once.

    Raises:
        BadFileError: a name that does not, or two that are the same.
    """
    known = set()
    for name in names:
        if check_session_name(name, where) in known:
            raise BadFileError(
                f'{where}: the names of sessions must differ; got {shorten(name)!r} twice. Rename one of them and '
                'make the file anew.'
            )
        known.add(name)
