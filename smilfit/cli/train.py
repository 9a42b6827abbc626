"""`train`: a config and a dataset file become a trained regressor."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

FORMATTER = argparse.ArgumentDefaultsHelpFormatter


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    from mmengine.config import DictAction

    from smilfit.engine.launch import LAUNCHERS

    parser.add_argument('--work-dir', help='where to write; else the config’s, else work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
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
    """Run the command."""
    arguments = parser(prog).parse_args(argv)
    from smilfit.engine import (
        build_train_runner,
        choose_device,
        load_experiment,
        process_group,
        set_mixed_precision,
        set_resume,
    )

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    cfg = load_experiment(arguments.config, arguments.cfg_options, arguments.work_dir)
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
    with process_group(arguments.launcher, device):
        runner = build_train_runner(
            cfg, body_model=arguments.body_model, device=arguments.device, summarise=keypoint_summaries
        )
        if arguments.check_config:
            # The loops and the optimiser are built by the runner when it starts: build them here.
            runner.build_train_loop(cfg.train_cfg)
            runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
            print(f'{arguments.config}: everything builds; {n_trained(runner.model):,} parameters to train')
            return 0
        runner.train()
        if runner.rank == 0:
            last = (Path(runner.work_dir) / 'last_checkpoint').read_text()
            print(f'checkpoint: {last}')
    return 0


def keypoint_summaries(xyz, seen) -> dict:
    """Give the baselines that an evaluation compares with, from the training set's 3D keypoints."""
    from smilfit.evaluation import mean_pose, trivial_baseline

    return {'baseline': trivial_baseline(xyz, seen), 'mean_pose': mean_pose(xyz, seen)}


def n_trained(model) -> int:
    """Count the parameters that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _scale_learning_rate(cfg) -> None:
    if cfg.get('auto_scale_lr') is None or 'base_batch_size' not in cfg.auto_scale_lr:
        raise KeyError(
            f'--auto-scale-lr: the config must say auto_scale_lr = dict(base_batch_size=...); {cfg.filename} '
            f'does not. Add it, or leave the option out.'
        )
    cfg.auto_scale_lr.enable = True
