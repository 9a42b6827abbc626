"""`convert-config`: a JSON config of SMILify's training becomes a config of smilfit."""

import argparse
from collections.abc import Sequence

from smilfit.cli.argument_types import positive_float
from smilfit.cli.command import add_import, add_traceback, run_command


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Convert a JSON config of SMILify ("mode": "singleview" or "multiview"): the same network, '
        'losses, curriculum and schedule. What has no meaning here is listed in the file, each with why.',
    )
    made.add_argument('source', metavar='FILE.json', help='the config')
    made.add_argument('out', metavar='OUT.py', help='the config to write')
    made.add_argument(
        '--unit',
        type=positive_float,
        default=1.0,
        metavar='FACTOR',
        help='the data’s units in one of the network’s: 1000 for data in mm, which SMILify brings to m (default: 1)',
    )
    made.add_argument('--force', action='store_true', help='replace OUT.py')
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    from smilfit import apis

    done = apis.convert_smilify_config(
        arguments.source, arguments.out, unit=arguments.unit, force=arguments.force
    )
    print(f'config: {done.path}')
    for line in done.told:
        print(f'  {line}')
