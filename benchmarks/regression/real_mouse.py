"""What does a network learn of a real recording of which half is labelled, and how far is it from the other half?

    python -m benchmarks.regression.real_mouse --keep DIR [--seeds N] [--epochs N] [--cfg-options A=B ...]

The commands of docs/training.md and docs/inference.md on the mouse session: the first 60 of 120 frames are labels to
train on, the last 40 are predicted from raw videos of `back`, `mid` and `top`. Errors are medians over labelled
keypoints: px of the videos, and mm after alignment in space (PA) with the triangulated labels, where those of all
cameras agree within 5 px. Beside them stand the mean place of each keypoint in the images of the training and the
mean pose of its frames.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, Row, print_rows, real_data, save
from benchmarks.regression.__main__ import command
from benchmarks.regression.scoring import keypoints_of, word_of
from smilfit.datasets import DatasetFile
from smilfit.evaluation.keypoint_errors import align_similarity
from smilfit.networks.engine.trained_model import load_trained_regressor
from smilfit.networks.inference.predictions import read_predictions
from smilfit.structures import FitResult

CONFIG = 'train/keypoint_unet.py'
LABELLED, FIRST_TESTED, VIEWS = 60, 80, ('back', 'mid', 'top')
CONTRADICTION_PX = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--keep', type=Path, required=True, help='folder of all that is made')
    parser.add_argument('--seeds', type=int, default=1, help='trainings')
    parser.add_argument('--epochs', type=int, help='of the training (default: the config says)')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='of the config')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    options = parser.parse_args(arguments)
    real = real_data()
    if real is None:
        print('the real recordings are not here.')
        return 0
    rows = [row for seed in range(options.seeds) for row in rows_of(real, seed, options)]
    print_rows('real mouse, 60 frames labelled, the last 40 tested', rows)
    save('regression_mouse', rows, options.out, config=CONFIG)
    return 0


def rows_of(real: Path, seed: int, options: argparse.Namespace) -> Iterator[Row]:
    """Train, predict and score."""
    model = real / 'models' / 'SMILy_Mouse_static_joints.pkl'
    recording = real / 'mouse_sessions' / 'minimal_session'
    options.keep.mkdir(parents=True, exist_ok=True)
    labelled, every = (
        prepared(real, model, options.keep / f'mouse_{n}.h5', n) for n in (LABELLED, 10 * LABELLED)
    )
    work = options.keep / f'mouse_work_{seed}'
    note = work / 'cpu_min.txt'
    if not note.is_file():
        given = [f'train_dataloader.dataset.data_path={labelled}', f'randomness.seed={seed}']
        given += [
            *options.cfg_options,
            *([f'train_cfg.max_epochs={options.epochs}'] if options.epochs else []),
        ]
        note.write_text(str(command('train', CONFIG, '--work-dir', work, '--cfg-options', *given)))
    checkpoint = Path((work / 'last_checkpoint').read_text().strip())
    out = work / 'predicted'
    if not (out / 'refined.npz').is_file():
        command(
            *('infer', checkpoint, recording, '--out', out, '--views', *VIEWS),
            *('--start', FIRST_TESTED, '--refine', '--no-animation'),
        )
    for row in scored(out, checkpoint, DatasetFile(every)):
        yield {'seed': seed, 'CPU min': float(note.read_text()), **row, 'verdict': word_of(out)}


def prepared(real: Path, model: Path, path: Path, frames: int) -> Path:
    """Make a dataset file of the first frames."""
    if not Path(f'{path}.done.json').is_file():
        sessions = real / 'mouse_sessions'
        command(
            *('preprocess', 'sleap', sessions, path, '--body-model', model, '--crop-mode', 'default'),
            *('--keypoint-map', sessions / 'joint_lookup.csv', '--max-frames-per-session', frames),
            # points3d.h5 is of all cameras, and contradicts the labels of these three.
            *('--exclude-cameras', 'side', '--retriangulate'),
        )
    return path


def scored(out: Path, checkpoint: Path, truth: DatasetFile) -> Iterator[Row]:
    """Compare points, lifted and refined bodies with the labels of the tested frames."""
    # With the landmarks that the training's dataset names.
    body, names = load_trained_regressor(checkpoint).model.body_model, truth.keypoint_names
    labels, points = truth.annotated2d(0), truth.keypoints3d(0)
    numbers = truth.frame_indices(0)
    predictions, _ = read_predictions(out / 'predictions.npz', body)
    rows = np.array([int(np.flatnonzero(numbers == frame)[0]) for frame in predictions.frames])
    trained = numbers < LABELLED
    known, xy = labels.confidence.numpy() > 0, labels.xy.numpy()
    weight = known[trained][..., None]
    # A keypoint that a camera never showed has no place there.
    place = (xy[trained] * weight).sum(0) / weight.sum(0).clip(1)
    mean = points.xyz.numpy()[trained].mean(0)
    with np.load(out / 'predictions.npz') as file:
        order = [[str(n) for n in file['keypoints3d_names']].index(name) for name in names]
    answers = {
        'points': predictions.further['points3d'][:, order],
        'lifted': predictions.keypoints3d[:, order],
        'refined': keypoints_of(body, FitResult.load(out / 'refined.npz', body).params, names),
    }
    known, xy, true = known[rows], xy[rows], points.xyz.numpy()[rows]
    cameras = labels.cameras
    assert cameras is not None
    # Where cameras contradict each other by their labels, nobody knows the place in space.
    off = np.linalg.norm(cameras.project(torch.from_numpy(true))[0].numpy() - xy, axis=-1)
    agreed = (np.where(known, off, 0) < CONTRADICTION_PX).all(1).astype(float)

    def missed(pixels: np.ndarray) -> float:
        return float(np.median(np.linalg.norm(pixels - xy, axis=-1)[known]))

    def aligned(given: np.ndarray) -> float:
        laid = align_similarity(given, true, agreed)
        return float(np.median(np.linalg.norm(laid - true, axis=-1)[agreed > 0]))

    still = aligned(np.broadcast_to(mean, true.shape))
    common = {'predicted %': 100 * float(predictions.valid.mean())}
    common['mean place px'] = missed(np.broadcast_to(place, xy.shape))
    seen = predictions.further['seen2d'][:, :, order]
    yield {
        'what': 'in each image',
        **common,
        'median px': missed(seen),
        'PA mm': None,
        'mean pose PA mm': None,
    }
    for what, xyz in answers.items():
        pixels = cameras.project(torch.from_numpy(xyz).to(cameras.K))[0].numpy()
        yield {
            **{'what': what, **common, 'median px': missed(pixels), 'PA mm': aligned(xyz)},
            'mean pose PA mm': still,
        }


if __name__ == '__main__':
    raise SystemExit(main())
