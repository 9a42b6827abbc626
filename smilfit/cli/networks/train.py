"""`train`: a config and a dataset file become a trained regressor."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smilfit.apis.run_options import TrainOptions
from smilfit.cli.command import run_command
from smilfit.cli.networks.run_console import command_of, run_console
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option


def rank_of_process() -> Any:
    """Make the option that torch.distributed's older launcher passes; the newer one sets the environment."""
    return option(0, 'number of the process', flag=('--local_rank', '--local-rank'), hidden=True)


@dataclass(frozen=True, kw_only=True)
class Command(TrainOptions):
    """What a command line says."""

    config: str = option(help='a config of configs/train/', positional=True)
    check_config: bool = option(False, 'build everything, say what was found, and stop')
    local_rank: int = rank_of_process()


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    return make_parser(Command, prog, 'Train a regressor from a config.')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(
        lambda arguments: _run(arguments, prog), build_parser, argv, prog, 'Stopped. Go on with --resume.'
    )


def _run(arguments: argparse.Namespace, prog: str | None) -> None:
    from smilfit.apis import check_training, train

    options = given(arguments, TrainOptions)
    if arguments.check_config:
        count = check_training(arguments.config, **options)
        print(f'{arguments.config}: everything builds; {count:,} parameters to train')
        return
    with run_console() as console:
        done = train(arguments.config, **options, listener=console)
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
