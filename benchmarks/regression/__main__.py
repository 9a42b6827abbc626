"""What do regressors learn within minutes of one core, and does it hold for animals that they have not seen?

    python -m benchmarks.regression [--only TABLE ...] [--config NAME] [--budget S] [--seeds N] [--sets DIR] [--quick]

Tables: `held_out` (24 made sessions to train on, 4 others to test: other animals, rigs, coats; by 4, 3, 2 and 1
views), `synthetic` (trained on rendered sessions of `smilfit synthesize` alone, tested on the same four), `mouse` (a
real mouse before three cameras: 60 frames to train on, the last 40 to test). Errors are in % of the body's length;
beside each is the mean pose of the training set, placed by the best similarity: onto the predicted points, and of PA
errors onto the true ones. `shown %` is of those frames alone (`of frames`, a share) of which every view shows half of
the keypoints or more. Intervals (95 %) are over sessions and seeds. `boxes` says where crops come from in the
test: `own` where whole images are given and the regressor looks for the animal itself, `labels` where crops were cut
about the true keypoints.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import RESULTS, Row, print_rows, save
from benchmarks.regression.scoring import Scores, interval, mean_place_px, median_px, score
from benchmarks.regression.sets import (
    ANIMALS,
    Crops,
    SetSize,
    animal_stores,
    mouse_stores,
    synthetic_store,
)
from benchmarks.regression.training import Trained, train_within
from smilfit.cli.argument_types import KeyValues

TABLES = ('held_out', 'synthetic', 'mouse')
CAMERAS = ('cam_top', 'cam_1', 'cam_2', 'cam_3')
QUICK = SetSize(n_sessions=3, n_frames=4, n_cameras=2, size=(96, 80))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the tables."""
    options = build_parser().parse_args(arguments)
    torch.set_num_threads(1)
    for table in options.only:
        rows = mouse_rows(options) if table == 'mouse' else animal_rows(options, table)
        if rows:
            print_rows(f'{table}: {options.config}', rows)
            save(f'regression_{table}', rows, options.out, config=options.config, budget_s=options.budget)
        else:
            print(f'{table}: the recordings are not here.')
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', nargs='+', choices=TABLES, default=TABLES, help='tables')
    parser.add_argument('--config', default='train/keypoint_unet.py', help='what is trained')
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues, help='of the config')
    parser.add_argument('--refine', action='store_true', help="refine as the config's `refinement` says, too")
    parser.add_argument('--budget', type=float, default=600.0, help='CPU seconds of each training')
    parser.add_argument('--seeds', type=int, default=3, help='trainings of each kind')
    parser.add_argument('--animals', nargs='+', choices=list(ANIMALS), default=list(ANIMALS))
    parser.add_argument('--views', nargs='+', type=int, default=[4, 3, 2, 1], help='how many')
    parser.add_argument('--every', type=int, default=3, help='test every n-th frame')
    parser.add_argument('--crop-mode', default='default', choices=('default', 'bbox_crop'))
    parser.add_argument('--resolution', type=int, default=256, help='side of stored images, px')
    parser.add_argument(
        '--sets', type=Path, default=RESULTS / 'regression_sets', help='where recordings are kept'
    )
    parser.add_argument('--keep', type=Path, help='folder where trainings are kept, and found again')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    parser.add_argument('--quick', action='store_true', help='tiny sets, to see that it runs')
    return parser


def animal_rows(options: argparse.Namespace, table: str) -> list[Row]:
    """Train and test on made animals."""
    crops, size = Crops(options.crop_mode, options.resolution), QUICK if options.quick else SetSize()
    rows = []
    for animal in options.animals:
        train, held_out = animal_stores(options.sets, animal, size, crops)
        if table == 'synthetic':
            train = synthetic_store(options.sets, animal, size, crops)
        runs: dict[tuple[int, str], list[Scores]] = {}
        trained = []
        for seed in range(options.seeds):
            with _work_dir(options, f'{table}_{animal}_{seed}') as work:
                done = train_within(options.config, train, work, options.budget, seed, options.cfg_options)
                trained.append(done)
                for views in (n for n in options.views if n <= size.n_cameras):
                    for what, found in _scored(options, done, held_out, CAMERAS[:views]).items():
                        runs.setdefault((views, what), []).append(found)
        rows += [_row(animal, crops, views, what, runs[views, what], trained) for views, what in runs]
    return rows


def mouse_rows(options: argparse.Namespace) -> list[Row]:
    """Train and test on a real mouse, whose labels are in images alone."""
    crops = Crops(options.crop_mode, options.resolution)
    stores = mouse_stores(options.sets, crops)
    if stores is None:
        return []
    trivial, rows = mean_place_px(*stores), []
    for seed in range(options.seeds):
        with _work_dir(options, f'mouse_{seed}') as work:
            done = train_within(options.config, stores[0], work, options.budget, seed, options.cfg_options)
            found = _scored(options, done, stores[1], None)
        for what, scores in found.items():
            row: Row = {'seed': seed, 'boxes': crops.boxes, 'what': what, 'median px': median_px(scores)}
            row |= {'mean place, px': trivial, 'PCK@5px(224)': float(torch.tensor(scores.pck).nanmean())}
            rows.append(row | _costs(scores.ms_a_frame, [done]))
    return rows


@contextmanager
def _work_dir(options: argparse.Namespace, name: str) -> Iterator[Path]:
    """Give a training's folder: one that is kept, or one for now."""
    if options.keep is None:
        with TemporaryDirectory() as work:
            yield Path(work)
        return
    (options.keep / name).mkdir(parents=True, exist_ok=True)
    yield options.keep / name


def _scored(
    options: argparse.Namespace, done: Trained, held_out: Path, views: Sequence[str] | None
) -> dict[str, Scores]:
    """Score the points, the body, and the refined body where that can be switched on."""
    given: Mapping[str, Any] = options.cfg_options or {}
    every = 1 if views is None or options.quick else options.every
    found = score(options.config, done.checkpoint, held_out, views, every, given)
    named = {'points': 'points', 'body': 'lifted' if 'points' in found else 'body'}
    scores = {named[what]: value for what, value in found.items()}
    if options.refine:
        refined = score(options.config, done.checkpoint, held_out, views, every, given, refine=True)
        scores['refined'] = refined['body']
    return scores


def _row(
    animal: str, crops: Crops, views: int, what: str, runs: Sequence[Scores], trained: Sequence[Trained]
) -> Row:
    sessions = [run.session for run in runs]

    def of(name: str) -> tuple[float, float, float]:
        return interval([getattr(run, name) for run in runs], sessions)

    mpjpe, pa, trivial_pa = of('mpjpe'), of('pa'), of('mean_pose_pa')
    row: Row = {'animal': animal, 'boxes': crops.boxes, 'views': views, 'what': what}
    row |= {'MPJPE %': mpjpe[0], 'from': mpjpe[1], 'to': mpjpe[2], 'mean pose %': of('mean_pose')[0]}
    shown = interval([np.where(r.shown, r.mpjpe, np.nan) for r in runs], sessions)
    row |= {'shown %': shown[0], 'of frames': float(np.mean([r.shown.mean() for r in runs]))}
    row |= {'PA %': pa[0], 'PA from': pa[1], 'PA to': pa[2], 'mean pose PA %': trivial_pa[0]}
    row |= {'PA ratio': pa[0] / trivial_pa[0], 'PCK@5px(224)': of('pck')[0]}
    row |= {'mean pose PCK': of('mean_pose_pck')[0], 'seeds': len(runs)}
    return row | _costs(sum(run.ms_a_frame for run in runs) / len(runs), trained)


def _costs(ms_a_frame: float, trained: Sequence[Trained]) -> Row:
    """Say what testing and training took, the latter the mean of the seeds."""
    n = len(trained)
    return {
        'ms a frame': ms_a_frame,
        'CPU s': sum(done.cpu_s for done in trained) / n,
        'steps': sum(done.steps for done in trained) // n,
        'ended by': ' '.join(sorted({done.ended for done in trained})),
    }


if __name__ == '__main__':
    raise SystemExit(main())
