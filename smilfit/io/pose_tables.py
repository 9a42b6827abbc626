"""Tables of DeepLabCut's layout: a row a frame, columns by scorer, (individual,) body part and coordinate.

The same layout comes as text (csv) and as a pandas table (h5). DeepLabCut, Horse-10, LightningPose and
anipose use it.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.text_files import read_csv
from smilfit.io.annotations.entries import frame_number
from smilfit.io.hdf5_files import open_hdf5
from smilfit.io.pandas_tables import read_pandas_table
from smilfit.io.recordings.camera_labels import PEAK_THRESHOLD
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import SkippedAnnotation

logger = logging.getLogger('smilfit')

MOST_COLUMNS = 20_000
# A likelihood is a probability (a sigmoid's output): DeepLabCut's `pcutoff`, and anipose's for triangulation.
LIKELIHOOD_THRESHOLD = 0.6
# Peaks of confidence maps (SLEAP's scores, brought into this layout) exceed 1 by some; where most are beyond this,
# they are no scores.
HIGHEST_SCORE = 1.25
# A label's variance as ensembles state it, px^2: of the smoother's estimate, else between the networks.
_VARIANCES = (('x_posterior_var', 'y_posterior_var'), ('x_ens_var', 'y_ens_var'))
# Networks' single-precision likelihoods may end a hair above 1.
_SLACK = 1e-3
# What a file is recognised by.
_HEAD_BYTES = 64
LEVELS = ('scorer', 'individuals', 'bodyparts', 'coords')
# DeepLabCut's name of what is no animal: body parts that exist once in the scene.
SCENE = 'single'


@dataclass(frozen=True)
class Track:
    """One animal's points over the rows: px of the image, NaN where missing; confidence 0 where missing.

    `variance` is the mean of x's and y's (px^2, NaN where unknown) where an ensemble stated them.
    """

    names: tuple[str, ...]
    xy: Float[np.ndarray, 'n K 2']
    confidence: Float[np.ndarray, 'n K']
    variance: Float[np.ndarray, 'n K'] | None = None

    def rows(self, kept: Sequence[int]) -> 'Track':
        """Return some of the rows."""
        variance = None if self.variance is None else self.variance[kept]
        return Track(self.names, self.xy[kept], self.confidence[kept], variance)

    def scored(self) -> 'Track':
        """Return the points with confidences from 0 to 1; those without one have 0."""
        return replace(self, confidence=np.nan_to_num(self.confidence, nan=0.0).clip(0, 1))


@dataclass(frozen=True)
class PoseTable:
    """What one table says.

    `rows` holds the parts of every row's label (an image's path in one or three parts, or a frame's number),
    `where` names the rows for messages, `tracks` is by individual ('' in a table of one animal), `skipped` are
    the rows that break a rule. `of_peaks` says that scores exceed 1, as peaks of confidence maps do, and `n_above_1`
    how many; `n_unscored` points have no likelihood (or a negative one) and count as missing.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    where: tuple[str, ...]
    tracks: Mapping[str, Track]
    skipped: tuple[SkippedAnnotation, ...]
    of_peaks: bool = False
    n_above_1: int = 0
    n_unscored: int = 0

    @property
    def of_video(self) -> bool:
        """Whether rows are frames of a video (labelled by number), not images (labelled by path), most of them."""
        numbered = sum(len(row) == 1 and frame_number(row[0]) is not None for row in self.rows)
        named = sum(bool(PurePosixPath('/'.join(row)).suffix) for row in self.rows)
        return numbered > named or not self.rows


def usual_threshold(tables: Iterable[PoseTable]) -> float:
    """Return the score that labels must reach where nobody asks otherwise: as likelihoods, or as SLEAP's peaks."""
    return PEAK_THRESHOLD if any(table.of_peaks for table in tables) else LIKELIHOOD_THRESHOLD


def read_pose_table(path: str | Path) -> PoseTable:
    """Read a table of text (.csv) or of pandas (.h5).

    Beside x, y and likelihood the variances of ensembles are read (`x_posterior_var` or else `x_ens_var`, and those
    of y), nothing else.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a table: other header rows, no body part, a column twice, a body part without x or y.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the file must exist; there is none.')
    with reading(path, 'a pose table'):
        if path.suffix.lower() not in ('.h5', '.hdf5'):
            return _read_text(path)
        table = read_pandas_table(path)
        columns = [_with_individual(path, column) for column in table.columns]
        where = [f'{path}, row {i}' for i in range(len(table.rows))]
        return _checked(path, columns, table.rows, where, table.values, [])


def choose_individuals(
    table: PoseTable, wanted: Sequence[str] | None
) -> tuple[list[str], list[SkippedAnnotation]]:
    """Return the individuals to read: those wanted, else all animals.

    Body parts of the scene (individual `single`) are reported as skipped where nobody asked for them.

    Raises:
        KeyError: an individual that the table lacks, with the near ones.
    """
    valid = list(table.tracks)
    if wanted is not None:
        for name in wanted:
            if name not in valid:
                raise UnknownNameError(f'{table.path}: no individual {name!r}. {did_you_mean(name, valid)}')
        return list(wanted), []
    if len(valid) == 1 or SCENE not in valid:
        return valid, []
    reason = f'the scene is no animal. Ask for it by individuals=[{SCENE!r}].'
    return [n for n in valid if n != SCENE], [
        SkippedAnnotation(f'{table.path}, individual {SCENE!r}', reason)
    ]


def body_parts(tables: Iterable[tuple[PoseTable, Sequence[str]]]) -> tuple[str, ...]:
    """Return the body parts of the individuals read, each once, in the tables' order."""
    parts = (name for table, individuals in tables for i in individuals for name in table.tracks[i].names)
    return tuple(dict.fromkeys(parts))


def is_pose_table(path: Path) -> bool:
    """Whether a file begins like such a table; what cannot be read does, so that reading tells why."""
    try:
        if path.suffix.lower() in ('.h5', '.hdf5'):
            with open_hdf5(path, 'a pose table') as file:
                return any('pandas_type' in getattr(group, 'attrs', {}) for group in file.values())
        with path.open('rb') as file:
            head = file.read(_HEAD_BYTES).removeprefix(b'\xef\xbb\xbf')
    except (OSError, ValueError):
        return True
    return head.partition(b',')[0].strip().decode('ascii', 'replace') in LEVELS


def _read_text(path: Path) -> PoseTable:
    lines = read_csv(path, 'a pose table')
    header: dict[str, list[str]] = {}
    end: tuple[int, list[str]] = (0, [])
    number, line = next(lines, end)
    while line and line[0] in LEVELS and line[0] not in header:
        header[line[0]] = line
        number, line = next(lines, end)
    if 'bodyparts' not in header or 'coords' not in header:
        first = [shorten(row[0], 40) for row in (*header.values(), line) if row]
        raise BadFileError(
            f'{path}: the first rows must begin with scorer, (individuals,) bodyparts and coords; got {first}. '
            'Export the table from the labelling tool again.'
        )
    if len({len(row) for row in header.values()}) > 1 or len(header['coords']) > MOST_COLUMNS:
        raise BadFileError(
            f'{path}: the first rows must have equally many cells, at most {MOST_COLUMNS}; got '
            f'{[len(row) for row in header.values()]}. Export the table again.'
        )
    return _read_rows(path, header, itertools.chain([(number, line)], lines))


def _read_rows(
    path: Path, header: Mapping[str, Sequence[str]], lines: Iterable[tuple[int, Sequence[str]]]
) -> PoseTable:
    coords = header['coords']
    n_index = 1
    while n_index < len(coords) and _blank(coords[n_index]):
        n_index += 1
    individuals = header.get('individuals', [''] * len(coords))
    columns = list(zip(individuals[n_index:], header['bodyparts'][n_index:], coords[n_index:]))
    read = [c for c, (_, _, coord) in enumerate(columns) if not _blank(coord)]
    rows, where, values, skipped = [], [], [], []
    for number, line in lines:
        if not any(line):
            continue
        place = f'{path}, line {number}'
        try:
            if len(line) != len(coords):
                raise ValueError(f'a row must have {len(coords)} cells; got {len(line)}')
            cells = [float(line[n_index + c]) if line[n_index + c] else np.nan for c in read]
        except ValueError as error:
            skipped.append(SkippedAnnotation(place, f'{shorten(error)}. Correct the row.'))
            continue
        rows.append(tuple(line[:n_index]))
        where.append(place)
        values.append(np.array(cells, dtype=np.float64))
    array = np.array(values, dtype=np.float64).reshape(len(rows), len(read))
    return _checked(path, [columns[c] for c in read], rows, where, array, skipped)


def _blank(cell: str) -> bool:
    # pandas writes what has no name as 'Unnamed: 1_level_2'.
    return not cell or cell.startswith('Unnamed:')


def _with_individual(path: Path, column: tuple[str, ...]) -> tuple[str, str, str]:
    """Return (individual, body part, coordinate) of a column's labels."""
    if len(column) not in (3, 4):
        raise ValueError(
            f'{path}: columns must be labelled by {", ".join(LEVELS)} (individuals may be absent); got '
            f'{len(column)} labels. Export the table again.'
        )
    return ('' if len(column) == 3 else column[1], column[-2], column[-1])


def _checked(
    path: Path,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[tuple[str, ...]],
    where: Sequence[str],
    values: np.ndarray,
    skipped: list[SkippedAnnotation],
) -> PoseTable:
    """Sort columns into tracks; leave out rows whose points are no points."""
    place: dict[str, dict[str, dict[str, int]]] = {}
    for c, (individual, part, coord) in enumerate(columns):
        if _blank(coord):
            continue
        result = place.setdefault(individual, {}).setdefault(part, {})
        if coord in result:
            raise BadFileError(
                f'{path}: a column must be there once; got {shorten(coord)!r} of {shorten(part)!r} '
                f'{shorten(individual)!r} twice. '
                'Export one scorer alone.'
            )
        result[coord] = c
    if not place:
        raise BadFileError(f'{path}: one body part at least must be there; got none.')
    for individual, parts in place.items():
        for part, result in parts.items():
            if 'x' not in result or 'y' not in result:
                raise BadFileError(
                    f'{path}: {shorten(part)!r} {shorten(individual)!r} must have x and y; got '
                    f'{[shorten(name, 40) for name in sorted(result)[:10]]}. Export the table again.'
                )
    tracks = {individual: _track(parts, values) for individual, parts in place.items()}
    faults = {i: text for track in tracks.values() for i, text in _faults(track)}
    kept = [i for i in range(len(where)) if i not in faults]
    tracks = {individual: track.rows(kept) for individual, track in tracks.items()}
    n_above_1 = _report_high_scores(path, [track.confidence for track in tracks.values()])
    n_unscored = _report_unscored(path, list(tracks.values()))
    skipped += [SkippedAnnotation(where[i], text) for i, text in sorted(faults.items())]
    return PoseTable(
        path=path,
        rows=tuple(rows[i] for i in kept),
        where=tuple(where[i] for i in kept),
        tracks={individual: track.scored() for individual, track in tracks.items()},
        skipped=tuple(skipped),
        of_peaks=bool(n_above_1),
        n_above_1=n_above_1,
        n_unscored=n_unscored,
    )


def _track(parts: Mapping[str, Mapping[str, int]], values: np.ndarray) -> Track:
    xy = values[:, [[result['x'], result['y']] for result in parts.values()]]
    confidence, variance = np.ones(xy.shape[:2]), np.full(xy.shape[:2], np.nan)
    stated = False
    for k, result in enumerate(parts.values()):
        if 'likelihood' in result:
            confidence[:, k] = values[:, result['likelihood']]
        for names in _VARIANCES:
            if all(name in result for name in names):
                stated, own = True, values[:, [result[name] for name in names]].mean(-1)
                variance[:, k] = np.where(np.isnan(variance[:, k]) & (own >= 0), own, variance[:, k])
    confidence = np.where(np.isnan(xy).all(-1), 0.0, confidence)
    return Track(tuple(parts), xy, confidence, variance if stated else None)


def _report_high_scores(path: Path, scores: Sequence[np.ndarray]) -> int:
    """Report once of scores above 1, which become 1; gives how many there are.

    Raises:
        BadFileError: most are far above 1, so that they are no scores.
    """
    every = np.concatenate([part.ravel() for part in scores])
    every = every[np.isfinite(every) & (every > 0)]
    if len(every) and (every > HIGHEST_SCORE).mean() > 0.5:
        raise BadFileError(
            f'{path}: likelihood must be from 0 to 1; most exceed {HIGHEST_SCORE}, the median is '
            f'{np.median(every):g}. Is it in percent? Bring it to 0 to 1.'
        )
    high = every[every > 1 + _SLACK]
    if len(high):
        logger.warning(
            '%s: %d likelihoods exceed 1 (up to %.3f) and are taken as 1. They are peaks of confidence maps, not '
            "probabilities: labels count from SLEAP's threshold %g on unless --confidence-threshold says otherwise.",
            path,
            len(high),
            high.max(),
            PEAK_THRESHOLD,
        )
    return len(high)


def _report_unscored(path: Path, tracks: Sequence[Track]) -> int:
    """Report once of points without a likelihood, which count as missing; gives how many there are."""
    valid = [np.isfinite(track.xy).all(-1) for track in tracks]
    n_empty = sum(int((np.isnan(track.confidence) & known).sum()) for track, known in zip(tracks, valid))
    n_negative = sum(int(((track.confidence < -_SLACK) & known).sum()) for track, known in zip(tracks, valid))
    if n_empty or n_negative:
        logger.warning(
            '%s: %d points have no likelihood (empty or NaN: %d, negative: %d) and count as missing.',
            path,
            n_empty + n_negative,
            n_empty,
            n_negative,
        )
    return n_empty + n_negative


def _faults(track: Track) -> Iterator[tuple[int, str]]:
    """Return the rows with a point that is none, and what is wrong with it."""
    half = np.isinf(track.xy).any(-1) | (np.isnan(track.xy).sum(-1) == 1)
    for i, k in np.argwhere(half):
        point = f'{track.xy[i, k].tolist()} for {track.names[k]!r}'
        yield int(i), f'x and y of a point must be both numbers or both empty; got {point}. Correct the row.'
