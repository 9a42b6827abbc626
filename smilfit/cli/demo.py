"""The main job from end to end on a made animal whose truth is known."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from smilfit.apis.output_paths import check_output_folder
from smilfit.apis.shipped_configs import configs_folder
from smilfit.cli.argument_types import int_from, positive_int
from smilfit.cli.command import add_traceback
from smilfit.cli.errors import run_reporting_errors

STOPPED = 'Stopped. The same command goes on after the last finished step.'


@dataclass(frozen=True)
class DemoSize:
    """How much is made and learnt."""

    n_sessions: int = 6
    n_frames: int = 120
    n_cameras: int = 4
    epochs: int = 8
    resolution_px: int = 256


def build_parser(prog: str = 'demo') -> argparse.ArgumentParser:
    """Describe the command line."""
    size = DemoSize()
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Make a small rigged animal and rendered multi-camera sessions of it, preprocess them, fit them '
        'stage by stage, train a small regressor on all sessions but one, measure both against the known truth, '
        'predict the held-out session from its raw videos and refine that, and write one HTML report. About a '
        'quarter of an hour on two CPU cores; what is done already is not done again.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--out', type=Path, default=Path('demo_out'), help='folder for everything')
    parser.add_argument(
        '--sessions', type=int_from(2, 1000), default=size.n_sessions, help='sessions to make'
    )
    parser.add_argument('--frames', type=positive_int, default=size.n_frames, help='frames of each session')
    parser.add_argument(
        '--cameras', type=int_from(2, 64), default=size.n_cameras, help='cameras of each session'
    )
    parser.add_argument('--epochs', type=positive_int, default=size.epochs, help='epochs of training')
    parser.add_argument(
        '--resolution',
        type=int_from(16, 8192),
        default=size.resolution_px,
        help='side of the stored images, px',
    )
    add_traceback(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'demo') -> int:
    """Run the command; 0 if all went well, 1 with a message if a step failed."""
    return run_reporting_errors(_demo, build_parser(prog).parse_args(argv), STOPPED)


def _demo(arguments: argparse.Namespace) -> int:
    check_output_folder(arguments.out, '--out')
    size = DemoSize(
        arguments.sessions, arguments.frames, arguments.cameras, arguments.epochs, arguments.resolution
    )
    return run_demo(arguments.out, size, Console())


def run_demo(out: Path, size: DemoSize, console: Console) -> int:
    """Run all steps; each one says what it does and how long it took."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    body, data, work = out / 'animal.smil.json', out / 'demo.h5', out / 'train'
    steps: list[tuple[str, Callable[[], int]]] = [
        ('making an animal and its recordings', lambda: _make(out, body, size)),
        ('preprocessing the recordings', lambda: _preprocess(out, body, data, size)),
        ('fitting the body stage by stage', lambda: _fit(data, out)),
        ('training a regressor', lambda: _train(data, work, size)),
        ('measuring the regressor on the held-out session', lambda: _test(data, work)),
        ('predicting the held-out session from its videos', lambda: _infer(out, data, work)),
    ]
    for number, (what, step) in enumerate(steps, start=1):
        start = time.monotonic()
        console.rule(f'{number}/{len(steps)}  {what}')
        code = step()
        if code != 0:
            console.print(f'{what} failed; see the message above.', style='red')
            return code
        console.print(f'{what}: {time.monotonic() - start:.0f} s', style='dim')
    from smilfit.apis.demo_report import write_demo_report

    report = write_demo_report(out, size)
    console.rule(f'done in {time.monotonic() - begin:.0f} s')
    console.print(f'report: {report}', highlight=False, soft_wrap=True)
    return 0


def _make(out: Path, body: Path, size: DemoSize) -> int:
    from smilfit.body_models import SMIL, load_body_model_data, save_body_model
    from smilfit.synthetic import make_quadruped, write_sessions

    if not body.is_file():
        save_body_model(make_quadruped(), body)
    write_sessions(
        out / 'sessions',
        SMIL(load_body_model_data(body)),
        n_sessions=size.n_sessions,
        n_frames=size.n_frames,
        n_cameras=size.n_cameras,
        progress=True,
    )
    return 0


def _preprocess(out: Path, body: Path, data: Path, size: DemoSize) -> int:
    from smilfit.cli.preprocess import main as preprocess

    if data.is_file():
        print(f'{data} is there already')
        return 0
    sessions = out / 'sessions'
    return preprocess(
        [
            'sleap', str(sessions), str(data), '--body-model', str(body),
            '--joint-lookup', str(sessions / 'joint_lookup.csv'), '--unit', 'mm',
            '--crop-mode', 'default', '--target-resolution', str(size.resolution_px),
        ]
    )  # fmt: skip


def _fit(data: Path, out: Path) -> int:
    from smilfit.cli.fit import EXIT_INCOMPLETE
    from smilfit.cli.fit import main as fit

    config = configs_folder() / 'fit' / 'multiview_keypoints_lm.py'
    code = fit([str(config), '--data', str(data), '--out', str(out / 'fit')])
    # A fit that is not believable is written all the same, and the report shows what was judged.
    return 0 if code == EXIT_INCOMPLETE else code


def _options(data: Path, size: DemoSize | None = None) -> list[str]:
    options = ['--cfg-options', f'train_dataloader.dataset.data_path={data}']
    return options if size is None else [*options, f'train_cfg.max_epochs={size.epochs}']


def _train(data: Path, work: Path, size: DemoSize) -> int:
    from smilfit.cli.train import main as train

    if (work / f'epoch_{size.epochs}.pth').is_file():
        print(f'{work} is trained already')
        return 0
    config = str(configs_folder() / 'train' / 'keypoint_demo.py')
    resume = ['--resume'] if (work / 'last_checkpoint').is_file() else []
    return train([config, '--work-dir', str(work), *resume, *_options(data, size)])


def _test(data: Path, work: Path) -> int:
    from smilfit.cli.testing import main as test

    metrics = work / 'benchmark' / 'metrics.json'
    checkpoint = (work / 'last_checkpoint').read_text(encoding='utf-8').strip()
    if metrics.is_file() and metrics.stat().st_mtime > Path(checkpoint).stat().st_mtime:
        print(json.dumps(json.loads(metrics.read_text(encoding='utf-8')), indent=1))
        return 0
    config = str(configs_folder() / 'train' / 'keypoint_demo.py')
    return test([config, checkpoint, '--work-dir', str(work), *_options(data)])


def _infer(out: Path, data: Path, work: Path) -> int:
    from smilfit.cli.fit import EXIT_INCOMPLETE
    from smilfit.cli.infer import main as infer

    checkpoint = (work / 'last_checkpoint').read_text(encoding='utf-8').strip()
    session = out / 'sessions' / held_out_session(data)
    options = ['--out', str(out / 'predicted'), '--refine', '--video', 'overlay', '--unit', 'mm']
    code = infer([checkpoint, str(session), *options])
    return 0 if code == EXIT_INCOMPLETE else code


def held_out_session(data: Path) -> str:
    """Name the session that the demo's training does not see."""
    from smilfit.datasets import MultiViewDataset
    from smilfit.engine import load_experiment

    cfg = load_experiment(configs_folder() / 'train' / 'keypoint_demo.py').train_dataloader.dataset
    chosen = MultiViewDataset(data, split='test', split_by=cfg.split_by, ratios=cfg.ratios, test_mode=True)
    return chosen.file.session_names[int(chosen.file.session_of[chosen.indices[0]])]


if __name__ == '__main__':
    sys.exit(main())
