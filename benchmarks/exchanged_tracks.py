"""Put back tracks of several animals that were exchanged: the share of frames that is right before and after.

    python tools/synthesize.py quadruped made/ --animals 3 --sessions 1 --cameras 3
    python -m benchmarks.exchanged_tracks made/session_000 --joint-lookup made/joint_lookup.csv

Labels get noise and gaps; tracks are exchanged in stretches of up to 20 or 80 frames or in single frames, camera by
camera; a camera is permuted throughout; all cameras are exchanged for a while. A frame is right if all labels of all
animals in all cameras are theirs, whatever the animals are called. Nothing exchanged is to stay (`clean`).
"""

import argparse
import itertools
import logging
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, print_rows
from smilfit.io import RecordedSession, SleapSession, read_track_names
from smilfit.io.identities import untangled

# Noise in px, the share of labels that are missing, and how many of the cameras are used.
LABELS = ((2.0, 0.1, 3), (4.0, 0.3, 3), (2.0, 0.1, 2))
# The share of frames exchanged in each camera, in stretches of up to so many frames.
STRETCHES = ((0.2, 20), (0.4, 20), (0.2, 1), (0.4, 80))


def spoilt_labels(
    animals: list[RecordedSession], noise_px: float, missing: float, n_cameras: int, rng: np.random.Generator
) -> list[RecordedSession]:
    """Add noise and gaps, and leave cameras out."""
    found = []
    for session in animals:
        changed = copy(session)
        changed.camera_names = session.camera_names[:n_cameras]
        changed.cameras = None if session.cameras is None else session.cameras.select(changed.camera_names)
        xy = session._xy[:, :n_cameras]
        gone = rng.random(xy.shape[:3]) < missing
        changed._xy = np.where(gone[..., None], np.nan, xy + rng.normal(0, noise_px, xy.shape))
        changed._confidence = np.where(gone, 0.0, session._confidence[:, :n_cameras])
        found.append(changed)
    return found


def exchanges(
    n: int, n_frames: int, n_cameras: int, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw whose labels each track has (animals, frames, cameras), with what it is."""
    still = np.tile(np.arange(n)[:, None, None], (1, n_frames, n_cameras))
    yield 'clean', still
    for share, longest in STRETCHES:
        index = still.copy()
        for c in range(n_cameras):
            while (index[:, :, c] != still[:, :, c]).any(0).mean() < share:
                start = rng.integers(n_frames)
                rows = slice(start, start + rng.integers(1, longest + 1))
                index[:, rows, c] = index[rng.permutation(n), rows, c]
        yield f'{share:.0%} of frames, up to {longest} in a row', index
    index = still.copy()
    index[:, :, 1:] = np.roll(index[:, :, 1:], 1, 0)
    yield 'all cameras but one permuted', index
    index = still.copy()
    index[:, n_frames // 3 : n_frames // 2] = np.roll(index[:, n_frames // 3 : n_frames // 2], 1, 0)
    yield 'all cameras at once for a sixth', index


def right_share(found: list[RecordedSession], truth: list[RecordedSession]) -> float:
    """Give the share of frames that are right, by the best names."""
    got, want = np.stack([s._xy for s in found]), np.stack([s._xy for s in truth])
    orders = (list(order) for order in itertools.permutations(range(len(found))))
    same = (np.all((got[o] == want) | (np.isnan(got[o]) & np.isnan(want)), axis=(0, 2, 3, 4)) for o in orders)
    return max(float(right.mean()) for right in same)


def main() -> None:
    """Print the table of one session."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('session', type=Path, help='a session of tools/synthesize.py with several animals')
    parser.add_argument('--joint-lookup', type=Path, required=True)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    tracks = read_track_names(next(arguments.session.glob('*/*.slp')))
    animals = [
        SleapSession(arguments.session, arguments.joint_lookup, track=name, judge=False) for name in tracks
    ]
    rows: list[Row] = []
    for noise_px, missing, n_cameras in LABELS:
        rng = np.random.default_rng(arguments.seed)
        truth = spoilt_labels(animals, noise_px, missing, n_cameras, rng)
        for what, index in exchanges(len(truth), truth[0].n_frames, n_cameras, rng):
            given = [session.with_labels_of(truth, row, {}) for session, row in zip(truth, index)]
            rows.append(
                {
                    'animals': len(truth),
                    'labels': f'{noise_px:g} px, {missing:.0%} missing, {n_cameras} cameras',
                    'exchanged': what,
                    'right before': right_share(given, truth),
                    'right after': right_share(untangled(given), truth),
                }
            )
    print_rows('Exchanged tracks', rows)


if __name__ == '__main__':
    main()
