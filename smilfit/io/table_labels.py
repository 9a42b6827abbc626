"""Pose tables of DeepLabCut's layout as one camera's labels."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.io.annotations.entries import frame_number
from smilfit.io.annotations.pose_rows import choose_individuals
from smilfit.io.annotations.pose_tables import PoseTable, Track, usual_threshold
from smilfit.io.camera_labels import CameraLabels
from smilfit.registry import UnknownNameError, did_you_mean

logger = logging.getLogger('smilfit')

# What good labels of a network miss the points by, px. Measured on a real mouse (docs/architecture.md).
LABEL_SD_PX = 3.0


def labels_of_table(
    table: PoseTable, names: Sequence[str], track: str | None = None, label_sd_px: float = LABEL_SD_PX
) -> CameraLabels:
    """Give the labels of one animal, frame by frame.

    A label's score is its likelihood. Where an ensemble states the variance v of a label, the score is
    `s^2 / (s^2 + v)`: the inverse variance of a label that misses by s even where all networks agree, relative to
    such a label. All labels with a variance count, each by this weight.

    Args:
        table: of a video.
        names: the body parts, in order; those that the table lacks are missing.
        track: the individual; the one with the most points if None.
        label_sd_px: s.

    Raises:
        BadFileError: rows that are no frames, or twice the same one.
        KeyError: no such individual, with the near ones.
    """
    individuals, _ = choose_individuals(table, None)
    tracks = {name: table.tracks[name] for name in individuals}
    if track is not None and track not in tracks:
        raise UnknownNameError(f'{table.path}: no individual {track!r}. {did_you_mean(track, tracks)}')
    frames = _frames(table)
    n_frames = int(frames.max()) + 1
    check_budget(
        table.path, f'labels up to frame {n_frames - 1}', 24 * n_frames * len(names), MOST_ARRAY_BYTES
    )
    seen = {name: np.isfinite(own.xy).all(-1) for name, own in tracks.items()}
    chosen = max(tracks, key=lambda name: int(seen[name].sum())) if track is None else track
    xy, score = np.full((n_frames, len(names), 2), np.nan), np.zeros((n_frames, len(names)))
    columns = np.array([list(names).index(name) for name in tracks[chosen].names], dtype=np.int64)
    own, weight = tracks[chosen], _weights(tracks[chosen], label_sd_px)
    xy[np.ix_(frames, columns)] = own.xy
    score[np.ix_(frames, columns)] = own.confidence if weight is None else weight
    labelled = np.zeros(n_frames, dtype=bool)
    labelled[frames] = True
    if table.skipped:
        first = table.skipped[0]
        logger.warning(
            '%s: %d rows are left out; the first is %s: %s',
            table.path,
            len(table.skipped),
            first.where,
            first.reason,
        )
    return CameraLabels(
        path=table.path,
        node_names=tuple(names),
        xy=xy,
        score=score,
        labelled=labelled,
        skipped_instances=sum(int(s.any(-1).sum()) for name, s in seen.items() if name != chosen),
        scores_above_1=table.n_above_1,
        scores_missing=table.n_unscored,
        centres=_centres(tracks, frames, n_frames) if len(tracks) > 1 else None,
        tracks=tuple(name for name in tracks if name),
        threshold=usual_threshold([table]) if weight is None else 0.0,
        weighted_by='score' if weight is None else "the ensemble's variance",
    )


def part_names(tables: Sequence[PoseTable]) -> tuple[str, ...]:
    """Name the body parts of all tables' animals, each once, in the tables' order."""
    found = (
        name for table in tables for i in choose_individuals(table, None)[0] for name in table.tracks[i].names
    )
    return tuple(dict.fromkeys(found))


def _weights(track: Track, label_sd_px: float) -> np.ndarray | None:
    """Turn variances into weights; where one is unknown the likelihood stands in."""
    if track.variance is None or not np.isfinite(track.variance).any():
        return None
    weight = label_sd_px**2 / (label_sd_px**2 + track.variance)
    return np.where(np.isnan(weight), track.confidence, np.where(track.confidence > 0, weight, 0.0))


def _frames(table: PoseTable) -> np.ndarray:
    numbers = [frame_number(row[0]) if len(row) == 1 else None for row in table.rows]
    if not numbers or None in numbers:
        at = table.where[numbers.index(None)] if numbers else str(Path(table.path))
        raise BadFileError(
            f'{at}: rows of a session must be numbered frames of its video; got '
            f'{"another row" if numbers else "none"}. Labels of single images are read with --single-view.'
        )
    frames = np.array(numbers, dtype=np.int64)
    if len(np.unique(frames)) != len(frames):
        raise BadFileError(
            f'{table.path}: frames must be numbered once each; got one twice. Correct the table.'
        )
    return frames


def _centres(tracks: dict[str, Track], frames: np.ndarray, n_frames: int) -> np.ndarray:
    """Give the mean of each animal's points by frame, NaN where it has none."""
    centres = np.full((n_frames, len(tracks), 2), np.nan)
    for a, track in enumerate(tracks.values()):
        there = np.isfinite(track.xy).all(-1)
        count = there.sum(1)
        total = np.where(there[..., None], track.xy, 0.0).sum(1)
        centres[frames[count > 0], a] = total[count > 0] / count[count > 0, None]
    return centres
