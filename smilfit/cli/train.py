"""`train`: a config and a dataset file become a trained regressor."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smilfit.apis.output_paths import check_output_folder
from smilfit.apis.shipped_configs import find_config
from smilfit.cli.argument_types import KeyValues
from smilfit.cli.errors import run_reporting_errors
from smilfit.files import OutputLock, remove_temporary
from smilfit.registry import UnknownNameError

FORMATTER = argparse.ArgumentDefaultsHelpFormatter


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    from smilfit.engine.launch import LAUNCHERS

    parser.add_argument('--work-dir', help='where to write; else the config’s, else work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config, such as train_dataloader.dataset.data_path=out.h5; unknown keys are errors',
    )
    parser.add_argument('--body-model', help='body model file, instead of the one that the dataset names')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto', help='where to compute')
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes of a distributed run',
    )
    parser.add_argument('--traceback', action='store_true', help='show where in the code an error arose')
    # torch.distributed's older launcher passes it; the newer one sets the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog, description='Train a regressor from a config.', formatter_class=FORMATTER
    )
    made.add_argument('config', help='a config of configs/train/')
    add_run_arguments(made)
    made.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a value, from the latest in the work dir',
    )
    made.add_argument('--amp', action='store_true', help='mixed precision (bfloat16; on the CPU too)')
    made.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the total batch size over the config’s auto_scale_lr.base_batch_size',
    )
    made.add_argument('--no-validate', action='store_true', help='do not validate while training')
    made.add_argument(
        '--check-config', action='store_true', help='build everything, say what was found, and stop'
    )
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    arguments = parser(prog).parse_args(argv)
    return run_reporting_errors(_train, arguments, 'Stopped. Go on with --resume.')


def _train(arguments: argparse.Namespace) -> None:
    from smilfit.engine import (
        choose_device,
        load_experiment,
        process_group,
        set_mixed_precision,
        set_resume,
    )

    cfg = load_experiment(find_config(arguments.config), arguments.cfg_options, arguments.work_dir)
    check_output_folder(cfg.work_dir, '--work-dir')
    device = choose_device(arguments.device)
    cfg.launcher = arguments.launcher
    set_resume(cfg, arguments.resume)
    if arguments.amp:
        set_mixed_precision(cfg, device)
    if arguments.auto_scale_lr:
        _scale_learning_rate(cfg)
    if arguments.no_validate:
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg[key] = None
    with process_group(arguments.launcher, device), hold_work_dir(cfg.work_dir):
        _run(cfg, arguments)


@contextmanager
def hold_work_dir(work_dir: str) -> Iterator[None]:
    """Keep other runs out of a work dir, by the first process of this one, and clear what killed ones left.

    Raises:
        OutputHeldError: another run is in it.
    """
    from mmengine.dist import get_rank

    if get_rank() != 0:
        yield
        return
    with OutputLock.of_folder(work_dir):
        remove_temporary(work_dir)
        yield


def _run(cfg: Any, arguments: argparse.Namespace) -> None:
    """Build everything, and train unless only that is asked for."""
    from smilfit.engine import build_train_runner

    runner = build_train_runner(
        cfg, body_model=arguments.body_model, device=arguments.device, summarise=keypoint_summaries
    )
    if arguments.check_config:
        check_runner(runner)
        print(f'{arguments.config}: everything builds; {n_trained(runner.model):,} parameters to train')
        return
    prepare_runner(runner)
    runner.train()
    last = Path(runner.work_dir) / 'last_checkpoint'
    if runner.rank == 0 and last.is_file():
        print(f'checkpoint: {last.read_text(encoding="utf-8")}')


def keypoint_summaries(xyz, seen) -> dict:
    """Give the baselines that an evaluation compares with, from the training set's 3D keypoints."""
    from smilfit.evaluation import mean_pose, trivial_baseline

    return {'baseline': trivial_baseline(xyz, seen), 'mean_pose': mean_pose(xyz, seen)}


def check_runner(runner) -> None:
    """Build what the runner builds only when it starts: the loops, the optimiser, the schedule."""
    prepare_runner(runner)
    if runner.param_schedulers is not None:
        runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')


def prepare_runner(runner) -> None:
    """Build the loop and the optimiser, so that a config that cannot be trained with is refused before training.

    Raises:
        ConfigError: names the config.
    """
    from smilfit.engine import building

    with building(runner.cfg):
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)


def n_trained(model) -> int:
    """Count the parameters that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _scale_learning_rate(cfg) -> None:
    if cfg.get('auto_scale_lr') is None or 'base_batch_size' not in cfg.auto_scale_lr:
        raise UnknownNameError(
            f'--auto-scale-lr: the config must say auto_scale_lr = dict(base_batch_size=...); {cfg.filename} '
            f'does not. Add it, or leave the option out.'
        )
    cfg.auto_scale_lr.enable = True
