"""`export`: a trained regressor's network as an ONNX file, for other runtimes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.network_options import NetworkOptions
from smilfit.cli.command import command, exit_codes
from smilfit.cli.errors import BAD_INPUT
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.networks.tasks.onnx_export import ExportRun


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkOptions):
    """A command line of `export`."""

    checkpoint: Path = option(help='a checkpoint of a training', positional=True)
    out: Path = option(help='the file to write', positional=True, metavar='OUT.onnx')


@command(
    Arguments,
    'export',
    (
        'Write the network of a trained regressor as ONNX, in float32: of a KeypointRegressor images to heat maps, '
        'which `infer --network` takes in place of its own, of a MultiViewRegressor images and rays to a body in the '
        "scene's frame, for programs of your own. What it takes and gives stands in OUT.json. onnxruntime then runs "
        'the file, and its numbers are compared with those of torch.'
    ),
    exit_codes(
        'the file is written',
        failed='nothing is written: a bad input, or a file whose numbers are further than --tolerance from those of '
        'torch',
    ),
)
def main(options: Arguments) -> int:
    """Run the command."""
    from smilfit.networks.tasks.onnx_export import export

    done = export(**keywords_of(options))
    for kind, ports in (('input', done.network.inputs), ('output', done.network.outputs)):
        for port in ports:
            print(f'{kind:<6}  {port.name:<16}  {" x ".join(map(str, port.axes))}')
    show_parity(done)
    if done.file is None:
        print(
            f'too far from torch: nothing is written. The tolerance is {done.tolerance:g}; see --tolerance.'
        )
        return BAD_INPUT
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
