"""`convert-checkpoint`: a trained network of SMILify or AniMer becomes a checkpoint of smilfit."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from smilfit.apis.network_options import AnimerOptions, CheckpointOptions
from smilfit.cli.command import command
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option

ANIMER = 'animer'


@dataclass(frozen=True, kw_only=True)
class Arguments(CheckpointOptions):
    """A command line of `convert_checkpoint`."""

    checkpoint: str = option(
        help='best_model.pth of a training by SMILify', positional=True, metavar='IN.pth'
    )
    out: str = option(help='the checkpoint to write', positional=True, metavar='OUT.pth')
    body_model: str = option(help='the body model of its training', metavar='FILE')


@dataclass(frozen=True, kw_only=True)
class AnimerArguments(AnimerOptions):
    """A command line of `convert_checkpoint animer`."""

    checkpoint: str = option(
        help='checkpoint.ckpt of AniMer, or a backbone of ViTPose', positional=True, metavar='IN.ckpt'
    )
    out: str = option(help='the checkpoint to write', positional=True, metavar='OUT.pth')


@command(
    Arguments,
    'convert_checkpoint',
    (
        'Convert a checkpoint of SMILify, single-view or multi-view. Writes OUT.pth, and OUT.py, the config to test '
        'it with. Nothing in the file is run. One of AniMer: convert-checkpoint animer IN.ckpt OUT.pth.'
    ),
)
def convert_smilify(options: Arguments) -> None:
    """Run the command on SMILify's file."""
    from smilfit.smilify.checkpoint import convert_smilify_checkpoint

    done = convert_smilify_checkpoint(**keywords_of(options))
    print(f'checkpoint: {done.checkpoint}')
    print(f'config: {done.config}')
    if done.camera_names:
        print(f'cameras: {", ".join(done.camera_names)}')
    if done.left_out:
        print(f'left out, as they take no part: {len(done.left_out)} ({", ".join(done.left_out)})')


@command(
    AnimerArguments,
    'convert_checkpoint animer',
    (
        "Convert AniMer's checkpoint, or a ViTPose file, of which its backbone is taken. Nothing in the file is run, "
        'and nothing but its weights is read.'
    ),
)
def convert_animer(options: AnimerArguments) -> None:
    """Run the command on AniMer's file."""
    from smilfit.networks.animer.checkpoint import convert_animer_checkpoint

    done = convert_animer_checkpoint(**keywords_of(options))
    print(f'checkpoint: {done.checkpoint} ({done.type})')
    print(f'tensors: {done.n_tensors}, {done.n_numbers / 1e6:.1f} million numbers; none missing')
    if done.left_out:
        parts = ', '.join(f'{name} {n}' for name, n in sorted(done.left_out.items()))
        print(f'left out, as they take no part: {sum(done.left_out.values())} ({parts})')
    if done.unknown:
        print(f'left over, of unknown names: {len(done.unknown)} ({", ".join(done.unknown)})')


def main(argv: Sequence[str] | None = None, prog: str = 'convert_checkpoint') -> int:
    """Run the command: `animer` first names whose file it is; without a name it is SMILify's."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == [ANIMER]:
        return convert_animer(argv[1:], prog=f'{prog} {ANIMER}')
    return convert_smilify(argv, prog=prog)
