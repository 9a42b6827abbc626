"""What does a network learn by the documented way, and does it hold for animals that it has not seen?

    python -m benchmarks.regression [--animals NAME ...] [--seeds N] [--epochs N] --keep DIR [--quick]

It runs the commands of docs/rigs.md, docs/synthesis.md, docs/training.md and docs/inference.md and no other code:
import a rig, render 100 sessions, train a config to its end, render other sessions as raw videos (other seeds; looks
`varied` and `other`), `infer --refine`. Two of the four cameras are a row of their own. As wrong cases the network
sees another species, and its own recordings without the animal, dark, blurred, noisy and with exchanged cameras.
Errors are in % of the animal's length (greatest extent at rest), medians over those frames that are predicted
(`predicted %`: the others are not recognised by the network's own confidence); beside them stands the mean pose,
moved onto the predicted points and onto the true ones (PA). `reversed %` are frames head to tail, `exchanged %` pairs
of left and right that lie at each other's place, `lost %` frames beyond 10 %. CPU time is of all processes of the
training, in minutes.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measuring import RESULTS, ROOT, Row, print_rows, real_data, save
from benchmarks.regression.scoring import LOST, WHATS, Scores, score_session, word_of
from benchmarks.regression.wrong_cases import KINDS, spoiled
from smilfit.body_models import load_body_model
from smilfit.networks.inference.predictions import read_predictions

ANIMALS = ('quadruped', 'insect', 'fox', 'spider')
RIGS = ('fox', 'spider')
# What each network is shown that it was not made for.
STRANGER = {'quadruped': 'insect', 'insect': 'quadruped', 'fox': 'insect', 'spider': 'quadruped'}
# Sessions are rendered from seeds that no training has.
TESTED = 1000
FIGURES = (
    'predicted %',
    'median %',
    'mean pose %',
    'lost %',
    'reversed %',
    'exchanged %',
    'PA %',
    'mean pose PA %',
)


@dataclass(frozen=True)
class Size:
    """How much is rendered, and how long is trained; None trains as the config says."""

    sessions: int = 100
    frames: int = 12
    held_out: int = 4
    held_frames: int = 60
    epochs: int | None = None
    spoiled: tuple[str, ...] = tuple(KINDS)


QUICK = Size(sessions=5, frames=4, held_out=1, held_frames=4, epochs=1, spoiled=('empty',))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table."""
    options = build_parser().parse_args(arguments)
    size = QUICK if options.quick else Size(epochs=options.epochs)
    rows: list[Row] = []
    for animal in options.animals:
        model = body_model(animal, options.keep)
        if model is None:
            print(f'{animal}: the rig is not here.')
            continue
        for seed in range(options.seeds):
            rows += list(rows_of(Path(animal).stem, model, seed, size, options))
    if rows:
        print_rows(f'by the documented way: {options.config}', rows)
        save('regression', rows, options.out, config=options.config)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--animals', nargs='+', default=ANIMALS, help=f'of {", ".join(ANIMALS)}; or rigs: FILE.glb'
    )
    parser.add_argument('--config', default='train/keypoint_unet.py', help='what is trained')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='of the config')
    parser.add_argument('--epochs', type=int, help='of the training (default: the config says)')
    parser.add_argument('--seeds', type=int, default=3, help='trainings of each animal')
    parser.add_argument(
        '--keep', type=Path, required=True, help='folder of all that is made, and found again'
    )
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    parser.add_argument('--quick', action='store_true', help='tiny sets, to see that it runs')
    return parser


def command(*words: object) -> float:
    """Run a command of smilfit as a user does; its CPU time, min. Exit code 3 (not believable) is an answer."""
    name, *rest = map(str, words)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Two threads on a loaded machine take ten times the CPU time of one.
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    line = [
        sys.executable,
        '-c',
        'import sys; from smilfit.cli.main import main; sys.exit(main())',
        *name.split(),
    ]
    done = subprocess.run([*line, *rest], capture_output=True, text=True, env=environment, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(f'{name} {" ".join(rest)}: exit code {done.returncode}\n{done.stderr[-2000:]}')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60


def body_model(animal: str, keep: Path) -> str | None:
    """Return what `--body-model` takes: a shipped name, or an imported rig."""
    real, rig = real_data(), Path(animal)
    if rig.suffix != '.glb':
        if animal not in RIGS:
            return animal
        rig = Path('nowhere') if real is None else real / 'rigs' / 'mesh2motion' / f'{animal}.glb'
    if not rig.is_file():
        return None
    model = keep / f'{rig.stem}.smil.json'
    if not model.is_file():
        keep.mkdir(parents=True, exist_ok=True)
        command('model import', rig, model, '--limits', 'clips')
    return str(model)


def rows_of(animal: str, model: str, seed: int, size: Size, options: argparse.Namespace) -> Iterator[Row]:
    """Train once, and test on every set."""
    keep = options.keep
    checkpoint, minutes = trained(animal, model, seed, size, options)
    body = load_body_model(model)
    for look, n_cameras in (('varied', 4), ('other', 4), ('varied', 2)):
        held = rendered(animal, model, look, seed, size, keep)
        runs, words = [], []
        for session in sorted(held.glob('session_*')):
            out = checkpoint.parent / f'{look}_{n_cameras}_{session.name}'
            predict(checkpoint, session, out, n_cameras)
            scores, word = score_session(out, session, body)
            runs.append(scores)
            words.append(word)
        common = {'animal': animal, 'seed': seed, 'looks': look, 'cameras': n_cameras, 'CPU min': minutes}
        for what in WHATS:
            if all(what in scores for scores in runs):
                yield {**common, 'what': what, **summary([scores[what] for scores in runs]), **counted(words)}
    yield from wrong_cases(animal, model, seed, size, checkpoint, keep)


def trained(
    animal: str, model: str, seed: int, size: Size, options: argparse.Namespace
) -> tuple[Path, float]:
    """Render sessions and train on them; what the folder has already is taken."""
    data = options.keep / f'{animal}_{seed}.h5'
    how = ['--memory', 0, '--crop-mode', 'default', '--seed', seed]
    if not Path(f'{data}.done.json').is_file():
        data.parent.mkdir(parents=True, exist_ok=True)
        command('synthesize', model, data, '--sessions', size.sessions, '--frames', size.frames, *how)
    work = options.keep / f'{animal}_{seed}'
    note = work / 'cpu_min.txt'
    if not note.is_file():
        given = [
            f'train_dataloader.dataset.data_path={data}',
            f'randomness.seed={seed}',
            *options.cfg_options,
        ]
        if size.epochs is not None:
            given.append(f'train_cfg.max_epochs={size.epochs}')
        minutes = command('train', options.config, '--work-dir', work, '--cfg-options', *given)
        note.write_text(str(minutes))
    return Path((work / 'last_checkpoint').read_text().strip()), float(note.read_text())


def rendered(animal: str, model: str, look: str, seed: int, size: Size, keep: Path) -> Path:
    """Render raw videos of animals that no training has seen."""
    folder = keep / f'{animal}_{look}_{seed}'
    how = ['--frames', size.held_frames, '--seed', TESTED + seed, '--style', look]
    if not (folder / 'shape_betas.csv').is_file() or len(list(folder.glob('session_*'))) < size.held_out:
        command('synthesize', model, folder, '--sessions', size.held_out, *how)
    return folder


def predict(checkpoint: Path, session: Path, out: Path, n_cameras: int = 4) -> None:
    """Predict the videos of a session, from all cameras or from the first of them."""
    if (out / 'predictions.npz').is_file():
        return
    source: list[object] = [session]
    if n_cameras < 4:
        cameras = sorted(p.name for p in session.iterdir() if p.is_dir())[:n_cameras]
        videos = [f'{name}={next((session / name).glob("*.mp4"))}' for name in cameras]
        source = ['--videos', *videos, '--calibration', session / 'calibration.toml']
    command('infer', checkpoint, *source, '--out', out, '--refine', '--no-animation')
    shutil.rmtree(out / 'labels', ignore_errors=True)


def summary(runs: Sequence[Scores]) -> Row:
    """Reduce the frames of all sessions to a row."""
    error, placed = (np.concatenate([getattr(run, n) for run in runs]) for n in ('error', 'placed'))
    aligned, mean = (np.concatenate([getattr(run, n) for run in runs]) for n in ('aligned', 'mean_pose'))
    reversed_heading, exchanged = (
        np.concatenate([getattr(run, n) for run in runs]) for n in ('reversed_heading', 'exchanged')
    )
    known = np.isfinite(error)
    row = dict.fromkeys(FIGURES)
    row['predicted %'] = 100 * float(known.mean())
    if known.any():
        row |= {
            'median %': float(np.median(error[known])),
            'mean pose %': float(np.median(placed[known])),
            'lost %': 100 * float((error[known] > LOST).mean()),
            'reversed %': 100 * float(reversed_heading[known].mean()),
            'exchanged %': 100 * float(exchanged[known].mean()),
            'PA %': float(np.median(aligned[known])),
            'mean pose PA %': float(np.median(mean[known])),
        }
    return row


def counted(words: Sequence[str]) -> Row:
    """Count the verdicts' words."""
    return {'good': words.count('good'), 'doubtful': words.count('doubtful'), 'sessions': len(words)}


def wrong_cases(
    animal: str, model: str, seed: int, size: Size, checkpoint: Path, keep: Path
) -> Iterator[Row]:
    """Show the network what it must not believe: another species, and its own recordings spoiled."""
    other = STRANGER.get(animal, 'insect')
    strangers = rendered(other, other, 'varied', seed, size, keep)
    cases = {other: sorted(strangers.glob('session_*'))}
    right = sorted(rendered(animal, model, 'varied', seed, size, keep).glob('session_*'))
    for kind in size.spoiled:
        cases[kind] = [
            spoiled(right[seed % len(right)], kind, keep / f'{animal}_{kind}_{seed}'.replace(' ', '_'))
        ]
    for kind, sessions in cases.items():
        words, predicted = [], []
        for session in sessions:
            out = checkpoint.parent / f'wrong_{kind}_{session.name}'.replace(' ', '_')
            predict(checkpoint, session, out)
            words.append(word_of(out))
            predicted.append(read_predictions(out / 'predictions.npz')[0].valid)
        row = dict.fromkeys(FIGURES) | {'predicted %': 100 * float(np.concatenate(predicted).mean())}
        yield {
            **{'animal': animal, 'seed': seed, 'looks': f'wrong case: {kind}', 'cameras': 4, 'CPU min': None},
            **{'what': 'refined', **row, **counted(words)},
        }


if __name__ == '__main__':
    raise SystemExit(main())
