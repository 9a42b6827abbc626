"""The main job from end to end on a made animal whose truth is known."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from smilfit.apis.output_paths import check_output_folder
from smilfit.apis.shipped_configs import configs_folder
from smilfit.cli.command import INCOMPLETE
from smilfit.cli.errors import run_reporting_errors
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option

STOPPED = 'Stopped. The same command goes on after the last finished step.'


@dataclass(frozen=True)
class DemoSize:
    """How much is made and learnt."""

    n_sessions: int = option(6, 'sessions to make', flag='--sessions', low=2, high=1000)
    n_frames: int = option(120, 'frames of each session', flag='--frames', low=1)
    n_cameras: int = option(4, 'cameras of each session', flag='--cameras', low=2, high=64)
    epochs: int = option(3, 'epochs of training', low=1)
    resolution_px: int = option(256, 'side of the stored images, px', flag='--resolution', low=16, high=8192)


@dataclass(frozen=True)
class Arguments(DemoSize):
    """A command line of `demo`."""

    out: Path = option(Path('demo_out'), 'folder for everything')
    first_look: bool = option(False, 'stop after the first fit and its video, without training')


def build_parser(prog: str = 'demo') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        'Make a small rigged animal and one rendered multi-camera recording of it, and fit that: a video to look at '
        'within two minutes. Then make more recordings, fit all, train a small regressor on all but one, measure '
        'both against the known truth, predict the held-out recording from its raw videos and refine that, and '
        'write one HTML report. About four minutes on two free CPU cores; what is done already is not done again.'
    )
    return make_parser(Arguments, prog, about, imports=False)


def main(argv: Sequence[str] | None = None, prog: str = 'demo') -> int:
    """Run the command; 0 if all went well, 1 with a message if a step failed."""
    return run_reporting_errors(_demo, build_parser(prog).parse_args(argv), STOPPED)


def _demo(arguments: argparse.Namespace) -> int:
    check_output_folder(arguments.out, '--out')
    size = DemoSize(**given(arguments, DemoSize))
    return run_demo(arguments.out, size, Console(), arguments.first_look)


@dataclass(frozen=True)
class Step:
    """A step of the demo.

    Args:
        what: it does.
        work: gives an exit code.
        to_open: files worth opening after it, and what they are.
    """

    what: str
    work: Callable[[], int]
    to_open: tuple[tuple[Path, str], ...] = ()


def run_demo(out: Path, size: DemoSize, console: Console, first_look: bool = False) -> int:
    """Run all steps, or the first ones; each says what it does, how long it took, and what to open."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    steps = demo_steps(out, size, first_look)
    for number, step in enumerate(steps, start=1):
        start = time.monotonic()
        console.rule(f'{number}/{len(steps)}  {step.what}')
        code = step.work()
        if code != 0:
            console.print(f'{step.what} failed; see the message above.', style='red')
            return code
        console.print(f'{step.what}: {time.monotonic() - start:.0f} s', style='dim')
        for path, what in step.to_open:
            print(f'open {path}  ({what})')
    console.rule(f'done in {time.monotonic() - begin:.0f} s')
    if first_look:
        console.print('The same command without --first-look goes on to train a network.')
        return 0
    from smilfit.apis.demo_report import write_demo_report

    made = f'{size.n_cameras} made cameras in {size.n_sessions} sessions of {size.n_frames} frames'
    report = write_demo_report(out, made)
    print(f'report: {report}')
    return 0


def demo_steps(out: Path, size: DemoSize, first_look: bool = False) -> list[Step]:
    """List what the demo does: a fit to look at first, then the long part."""
    body, data, work, first = out / 'animal.smil.json', out / 'demo.h5', out / 'train', out / 'first_look'
    sessions, fitted = out / 'sessions', first / 'session_000'
    one = replace(size, n_sessions=1)
    steps = [
        Step(
            'making an animal and a recording of it',
            lambda: _make(out, body, one),
            ((sessions / 'session_000', 'a video and labels of each camera, and the calibration'),),
        ),
        Step('preprocessing the recording', lambda: _preprocess(out, body, first / 'demo.h5', size)),
        Step(
            'fitting the body to the recording',
            lambda: _fit(first / 'demo.h5', first),
            (
                (fitted / 'overlay.mp4', 'the fitted body over the recording'),
                (first / 'report.html', 'how good the fit is, and how one knows'),
            ),
        ),
    ]
    if first_look:
        return steps
    return [
        *steps,
        Step('making more recordings', lambda: _make(out, body, size)),
        Step('preprocessing all recordings', lambda: _preprocess(out, body, data, size)),
        Step(
            'fitting the body to all recordings',
            lambda: _fit(data, out / 'fit'),
            ((out / 'fit' / 'report.html', 'all fits side by side'),),
        ),
        Step('training a regressor', lambda: _train(data, work, size)),
        Step(
            'measuring the regressor on the held-out session',
            lambda: _test(data, work),
            ((work / 'benchmark' / 'report.html', 'the network beside answers that look at no image'),),
        ),
        Step(
            'predicting the held-out session from its videos',
            lambda: _infer(out, data, work),
            ((out / 'predicted' / 'overlay.mp4', 'the predicted body over a recording without labels'),),
        ),
    ]


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
    from smilfit.cli.data.preprocess import main as preprocess

    if data.is_file():
        print(f'{data} is there already')
        return 0
    sessions = out / 'sessions'
    data.parent.mkdir(parents=True, exist_ok=True)
    return preprocess(
        [
            'sleap', str(sessions), str(data), '--body-model', str(body),
            '--joint-lookup', str(sessions / 'joint_lookup.csv'), '--unit', 'mm',
            '--crop-mode', 'default', '--target-resolution', str(size.resolution_px),
        ]
    )  # fmt: skip


def _fit(data: Path, out: Path) -> int:
    from smilfit.cli.fitting.fit import main as fit

    config = configs_folder() / 'fit' / 'multiview_keypoints_lm.py'
    code = fit([str(config), '--data', str(data), '--out', str(out)])
    # A fit that is not believable is written all the same, and the report shows what was judged.
    return 0 if code == INCOMPLETE else code


def _options(data: Path, size: DemoSize | None = None) -> list[str]:
    options = ['--cfg-options', f'train_dataloader.dataset.data_path={data}']
    return options if size is None else [*options, f'train_cfg.max_epochs={size.epochs}']


def _train(data: Path, work: Path, size: DemoSize) -> int:
    from smilfit.cli.networks.train import main as train

    if (work / f'epoch_{size.epochs}.pth').is_file():
        print(f'{work} is trained already')
        return 0
    config = str(configs_folder() / 'train' / 'keypoint_demo.py')
    resume = ['--resume'] if (work / 'last_checkpoint').is_file() else []
    return train([config, '--work-dir', str(work), *resume, *_options(data, size)])


def _test(data: Path, work: Path) -> int:
    from smilfit.cli.networks.testing import main as test

    metrics = work / 'benchmark' / 'metrics.json'
    checkpoint = (work / 'last_checkpoint').read_text(encoding='utf-8').strip()
    if metrics.is_file() and metrics.stat().st_mtime > Path(checkpoint).stat().st_mtime:
        print(json.dumps(json.loads(metrics.read_text(encoding='utf-8')), indent=1))
        return 0
    config = str(configs_folder() / 'train' / 'keypoint_demo.py')
    return test([config, checkpoint, '--work-dir', str(work), *_options(data)])


def _infer(out: Path, data: Path, work: Path) -> int:
    from smilfit.cli.networks.infer import main as infer

    checkpoint = (work / 'last_checkpoint').read_text(encoding='utf-8').strip()
    session = out / 'sessions' / held_out_session(data)
    options = ['--out', str(out / 'predicted'), '--refine', '--video', 'overlay', '--unit', 'mm']
    code = infer([checkpoint, str(session), *options])
    return 0 if code == INCOMPLETE else code


def held_out_session(data: Path) -> str:
    """Name the session that the demo's training does not see."""
    from smilfit.datasets import MultiViewDataset
    from smilfit.networks.engine.configs import load_experiment

    cfg = load_experiment(configs_folder() / 'train' / 'keypoint_demo.py').train_dataloader.dataset
    chosen = MultiViewDataset(data, split='test', split_by=cfg.split_by, ratios=cfg.ratios, test_mode=True)
    return chosen.file.session_names[int(chosen.file.session_of[chosen.indices[0]])]


if __name__ == '__main__':
    sys.exit(main())
