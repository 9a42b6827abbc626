"""`train`: a config and a dataset file become a trained regressor."""

import argparse
from collections.abc import Sequence
from typing import Any

from smilfit.cli.argument_types import KeyValues, float_from
from smilfit.cli.command import DefaultsFormatter, add_body_model, add_import, add_traceback, run_command
from smilfit.cli.run_console import command_of, run_console

# As in solvers/process_group.py, which would bring torch with it.
LAUNCHERS = ('none', 'pytorch', 'slurm')
FORMATTER = DefaultsFormatter


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    parser.add_argument('--work-dir', help='where to write; else the config’s, else work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config, such as train_dataloader.dataset.data_path=out.h5; unknown keys are errors',
    )
    add_body_model(parser, 'dataset')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto', help='where to compute')
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes of a distributed run',
    )
    add_traceback(parser)
    add_import(parser)
    # torch.distributed's older launcher passes it; the newer one sets the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def run_arguments_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Gather what `add_run_arguments` added, as `train` and `test` take it."""
    names = ('work_dir', 'cfg_options', 'body_model', 'device', 'launcher')
    return {name: getattr(arguments, name) for name in names}


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
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
        '--track',
        action='append',
        choices=('tensorboard', 'wandb'),
        help='keep the curves there too, beside the log; may be given twice',
    )
    made.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the total batch size over the config’s auto_scale_lr.base_batch_size',
    )
    made.add_argument(
        '--pseudo-labels',
        nargs='+',
        metavar='DIR|FILE',
        help='learn from bodies found in unlabelled frames too: folders of infer --refine or fit, of which frames '
        'judged good are taken, or files of make_pseudo_labels',
    )
    made.add_argument(
        '--pseudo-weight',
        type=float_from(1e-6, 1.0),
        default=0.3,
        metavar='W',
        help='how much a body of --pseudo-labels counts beside a known one',
    )
    made.add_argument(
        '--targets',
        metavar='DIR',
        help='a folder of smilfit fit of the dataset: the parameters that it found are what losses on parameters '
        'compare with, weighted by how well they are known; frames that are not believable are left out',
    )
    made.add_argument('--no-validate', action='store_true', help='do not validate while training')
    made.add_argument(
        '--check-config', action='store_true', help='build everything, say what was found, and stop'
    )
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(
        lambda arguments: _run(arguments, prog), build_parser, argv, prog, 'Stopped. Go on with --resume.'
    )


def _run(arguments: argparse.Namespace, prog: str | None) -> None:
    from smilfit.apis import check_training, train

    given = run_arguments_of(arguments) | {
        'resume': arguments.resume,
        'amp': arguments.amp,
        'track': arguments.track or (),
        'auto_scale_lr': arguments.auto_scale_lr,
        'validate': not arguments.no_validate,
        'pseudo_labels': arguments.pseudo_labels or (),
        'pseudo_weight': arguments.pseudo_weight,
        'targets': arguments.targets,
    }
    if arguments.check_config:
        count = check_training(arguments.config, **given)
        print(f'{arguments.config}: everything builds; {count:,} parameters to train')
        return
    with run_console() as console:
        done = train(arguments.config, **given, listener=console)
    if done is None or done.checkpoint is None:
        return
    print(f'checkpoint: {done.checkpoint}')
    if done.best is not None:
        print(f'best by validation: {done.best}')
    chosen = done.checkpoint if done.best is None else done.best
    print(
        f'next: {command_of(prog, "test")} {chosen}\n'
        f'      {command_of(prog, "infer")} {chosen} SESSION --out predicted/ --refine --video overlay'
    )
