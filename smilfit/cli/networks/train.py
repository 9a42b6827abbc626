"""`train`: a config and a dataset file become a trained regressor."""

import shlex
from dataclasses import dataclass

from smilfit.apis.run_options import TrainOptions
from smilfit.cli.command import command
from smilfit.cli.networks.run_console import command_of, run_console
from smilfit.cli.parser import IMPORT, keywords_of
from smilfit.options.fields import FieldValue, option, reported


def rank_of_process() -> FieldValue:
    """Make the option that torch.distributed's older launcher passes; the newer one sets the environment."""
    return option(0, 'number of the process', flag=('--local_rank', '--local-rank'), hidden=True)


@dataclass(frozen=True, kw_only=True)
class Arguments(TrainOptions):
    """A command line of `train`."""

    config: str = option(help='a config of configs/train/', positional=True)
    check_config: bool = option(False, 'build everything, say what was found, and stop')
    local_rank: int = rank_of_process()
    prog: str = reported('how the command was called', 'train')
    imports: tuple[str, ...] | None = reported("what of the user's own was imported")


@command(Arguments, 'train', 'Train a regressor from a config.', stopped='Stopped. Go on with --resume.')
def main(options: Arguments) -> None:
    """Run the command."""
    from smilfit.networks.tasks.training import check_training, train

    if options.check_config:
        count = check_training(options.config, **keywords_of(options, TrainOptions))
        print(f'{options.config}: everything builds; {count:,} parameters to train')
        return
    with run_console() as console:
        done = train(options.config, **keywords_of(options, TrainOptions, listener=console))
    if done is None or done.checkpoint is None:
        return
    print(f'checkpoint: {done.checkpoint}')
    if done.best is not None:
        print(f'best by validation: {done.best}')
    chosen = done.checkpoint if done.best is None else done.best
    own = ''.join(f' {IMPORT} {shlex.quote(name)}' for name in options.imports or ())
    print(
        f'next: {command_of(options.prog, "test")} {chosen}{own}\n'
        f'      {command_of(options.prog, "infer")} {chosen} SESSION --out predicted/ --refine --video overlay{own}'
    )
