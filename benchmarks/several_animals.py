"""Score predictions of several animals of a made session against its truth: who was found, how well, who was swapped.

python tools/synthesize.py MODEL made/ --animals 2 --sessions 1
python tools/infer.py CHECKPOINT made/session_000 --out out/ --animals 2
python -m benchmarks.several_animals made/session_000 out/
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

# A frame is right if every animal's keypoints are nearer to the truth than this share of its extent, on the mean.
RIGHT = 0.15


def read_truth(session: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the keypoints (A, T, K, 3) of all animals of a made session, world unit, and their names."""
    points, names = [], ()
    for path in sorted(session.glob('truth*.npz')):
        with np.load(path) as file:
            points.append(file['keypoints3d'])
            names = tuple(file['keypoint_names'].tolist())
    return np.stack(points), names


def read_found(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read the predicted keypoints (N, T, K, 3), whether each is there (N, T), frames (T,), and names."""
    files = sorted(out.glob('animal_*/predictions.npz')) or [out / 'predictions.npz']
    points, valid = [], []
    for path in files:
        with np.load(path) as file:
            points.append(file['keypoints3d'])
            valid.append(file['valid'])
            frames, names = file['frames'], tuple(file['keypoints3d_names'].tolist())
    return np.stack(points), np.stack(valid), frames, names


def score(found: np.ndarray, valid: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Score predictions (N, T, K, 3) against the truth (A, T, K, 3) of the same frames and keypoints.

    In each frame animals are paired at the least total error. A switch is a frame in which a true animal is paired
    with another prediction than when it was last found.
    """
    extent = 2 * float(np.sqrt(np.square(truth - truth.mean(2, keepdims=True)).sum(-1).mean()))
    last: dict[int, int] = {}
    errors, right, lost, switches = [], 0, 0, 0
    for t in range(truth.shape[1]):
        far = np.linalg.norm(found[:, None, t] - truth[None, :, t], axis=-1).mean(-1)
        far[~valid[:, t]] = 10 * extent
        rows, columns = linear_sum_assignment(far)
        there = [(r, c) for r, c in zip(rows, columns) if far[r, c] < 0.5 * extent]
        lost += truth.shape[0] - len(there)
        errors += [far[r, c] for r, c in there]
        right += int(len(there) == truth.shape[0] and all(far[r, c] < RIGHT * extent for r, c in there))
        for r, c in there:
            switches += int(last.get(c, r) != r)
            last[c] = r
    return {
        'frames': truth.shape[1],
        'frames_right': right,
        'animals_lost': lost,
        'identity_switches': switches,
        'mean_error': float(np.mean(errors)) if errors else float('nan'),
        'median_error': float(np.median(errors)) if errors else float('nan'),
        'extent': extent,
    }


def main() -> None:
    """Print the figures of one session."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('session', type=Path, help='a session of tools/synthesize.py')
    parser.add_argument('out', type=Path, help='what tools/infer.py wrote')
    arguments = parser.parse_args()
    truth, names = read_truth(arguments.session)
    found, valid, frames, own = read_found(arguments.out)
    shared = [name for name in own if name in names]
    truth = truth[:, frames][:, :, [names.index(name) for name in shared]]
    found = found[:, :, [own.index(name) for name in shared]]
    print(json.dumps(score(found, valid, truth), indent=1))


if __name__ == '__main__':
    main()
