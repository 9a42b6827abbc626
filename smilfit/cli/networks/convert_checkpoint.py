"""`convert-checkpoint`: a trained regressor of SMILify becomes a checkpoint of smilfit."""

from dataclasses import dataclass

from smilfit.apis.network_options import CheckpointOptions
from smilfit.cli.command import command
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Arguments(CheckpointOptions):
    """A command line of `convert_checkpoint`."""

    checkpoint: str = option(
        help='best_model.pth of a training by SMILify', positional=True, metavar='IN.pth'
    )
    out: str = option(help='the checkpoint to write', positional=True, metavar='OUT.pth')
    body_model: str = option(help='the body model of its training', metavar='FILE')


@command(
    Arguments,
    'convert_checkpoint',
    (
        'Convert a checkpoint of SMILify, single-view or multi-view. Writes OUT.pth, and OUT.py, the config to test '
        'it with. Nothing in the file is run.'
    ),
)
def main(options: Arguments) -> None:
    """Run the command."""
    from smilfit.smilify.checkpoint import convert_smilify_checkpoint

    done = convert_smilify_checkpoint(**keywords_of(options))
    print(f'checkpoint: {done.checkpoint}')
    print(f'config: {done.config}')
    if done.camera_names:
        print(f'cameras: {", ".join(done.camera_names)}')
    if done.left_out:
        print(f'left out, as they take no part: {len(done.left_out)} ({", ".join(done.left_out)})')
