"""`export`: a trained regressor's network as an ONNX file, for other runtimes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.network_options import NetworkOptions
from smilfit.cli.command import run_command
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.networks.tasks.onnx_export import ExportRun

EXIT_CODES = (
    'Exit codes: 0 the file is written; 1 nothing is written: a bad input, or a file whose numbers are further than '
    '--tolerance from those of torch; 2 a bad command line.'
)
EXIT_TOO_FAR = 1


@dataclass(frozen=True, kw_only=True)
class Command(NetworkOptions):
    """What a command line says."""

    checkpoint: Path = option(help='a checkpoint of a training', positional=True)
    out: Path = option(help='the file to write', positional=True, metavar='OUT.onnx')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Write the network of a trained regressor as ONNX, in float32: of a KeypointRegressor images to heat maps, '
        'which `infer --network` takes in place of its own, of a MultiViewRegressor images and rays to a body in the '
        "scene's frame, for programs of your own. What it takes and gives stands in OUT.json. onnxruntime then runs "
        'the file, and its numbers are compared with those of torch.'
    )
    return make_parser(Command, prog, about, EXIT_CODES)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit import apis

    done = apis.export(**given(arguments, Command))
    for kind, ports in (('input', done.network.inputs), ('output', done.network.outputs)):
        for port in ports:
            print(f'{kind:<6}  {port.name:<16}  {" x ".join(map(str, port.axes))}')
    show_parity(done)
    if done.file is None:
        print(
            f'too far from torch: nothing is written. The tolerance is {done.tolerance:g}; see --tolerance.'
        )
        return EXIT_TOO_FAR
    print(f'network: {done.file}\ndescription: {done.description}')
    return 0


def show_parity(done: 'ExportRun') -> None:
    """Print how far each output is from torch's."""
    print(f'\n{"output":<16}  data    {"inputs":<18}  largest value  difference  highest cell')
    for row in done.rows:
        inputs = ', '.join(f'{name} {length}' for name, length in row.batch.items())
        cells = f'same in {row.n_equal} of {row.n_maps} maps' if row.n_maps else ''
        far = '' if row.within(done.tolerance) else '  TOO FAR'
        numbers = f'{row.largest:<13.4g}  {row.difference:<10.2g}'
        print(f'{row.output:<16}  {row.data:<6}  {inputs:<18}  {numbers}  {cells}{far}'.rstrip())
    print()
