"""`convert-checkpoint`: a trained regressor of SMILify becomes a checkpoint of smilfit."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from smilfit.apis.network_options import CheckpointOptions
from smilfit.cli.command import run_command
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Command(CheckpointOptions):
    """What a command line says."""

    checkpoint: str = option(
        help='best_model.pth of a training by SMILify', positional=True, metavar='IN.pth'
    )
    out: str = option(help='the checkpoint to write', positional=True, metavar='OUT.pth')
    body_model: str = option(help='the body model of its training', metavar='FILE')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Convert a checkpoint of SMILify, single-view or multi-view. Writes OUT.pth, and OUT.py, the config to test '
        'it with. Nothing in the file is run.'
    )
    return make_parser(Command, prog, about)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    from smilfit import apis

    done = apis.convert_smilify_checkpoint(**given(arguments, Command))
    print(f'checkpoint: {done.checkpoint}')
    print(f'config: {done.config}')
    if done.camera_names:
        print(f'cameras: {", ".join(done.camera_names)}')
    if done.left_out:
        print(f'left out, as they take no part: {len(done.left_out)} ({", ".join(done.left_out)})')
