"""`convert-config`: a JSON config of SMILify's training becomes a config of smilfit."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from smilfit.apis.network_options import ConversionOptions
from smilfit.cli.command import run_command
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Command(ConversionOptions):
    """What a command line says."""

    source: str = option(help='the config', positional=True, metavar='FILE.json')
    out: str = option(help='the config to write', positional=True, metavar='OUT.py')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Convert a JSON config of SMILify ("mode": "singleview" or "multiview"): the same network, losses, '
        'curriculum and schedule. What has no meaning here is listed in the file, each with why.'
    )
    return make_parser(Command, prog, about)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    from smilfit import apis

    done = apis.convert_smilify_config(**given(arguments, Command))
    print(f'config: {done.path}')
    for line in done.told:
        print(f'  {line}')
