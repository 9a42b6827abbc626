"""A trained regressor's network as an ONNX file, which is kept only if it gives the same numbers."""

import io
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import default_collate

from smilfit.apis.network_options import NetworkOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.datasets import MultiViewDataset
from smilfit.files import MadeOf, OutputFolder, shorten, write_text
from smilfit.networks.backbones.lora import merge_lora
from smilfit.networks.engine.trained_model import TrainedRegressor, load_trained_regressor
from smilfit.networks.exported_networks import ExportedNetwork, Port
from smilfit.networks.regressors.modal_regressor import ModalRegressor
from smilfit.networks.tasks.onnx_network import FORMAT, VERSION, OnnxNetwork, check_installed, sha256_of
from smilfit.version import __version__

RANDOM, REAL = 'random', 'real'


@dataclass(frozen=True)
class ParityRow:
    """How far one output is from torch's on one batch.

    Args:
        output: its name.
        data: 'random' or 'real' inputs.
        batch: lengths of the named axes of the inputs.
        difference: the largest absolute one.
        largest: the largest absolute value that torch gives.
        n_maps: heat maps compared; 0 for other outputs.
        n_equal: maps whose highest cell is the same one.
        lost: by how much torch's value in the file's highest cell is below its own highest, at most; 0 for other
            outputs. A tie costs nothing.
    """

    output: str
    data: str
    batch: Mapping[str, int]
    difference: float
    largest: float
    n_maps: int = 0
    n_equal: int = 0
    lost: float = 0.0

    def within(self, tolerance: float) -> bool:
        """Check whether it is near enough; what is not finite is not."""
        return self.difference <= tolerance and self.lost <= tolerance

    def described(self) -> dict[str, object]:
        """Return all of it, as JSON has it."""
        result: dict[str, object] = {'output': self.output, 'data': self.data, 'batch': dict(self.batch)}
        result |= {'max_abs_difference': self.difference, 'max_abs_value': self.largest}
        return result | ({'maps': self.n_maps, 'maps_of_equal_peak': self.n_equal} if self.n_maps else {})


def check_parity(
    network: ExportedNetwork, file: OnnxNetwork, batches: Iterable[tuple[str, tuple[Tensor, ...]]]
) -> list[ParityRow]:
    """Compare all outputs on batches of inputs, each with what kind of data it is."""
    rows = []
    for data, inputs in batches:
        lengths = {
            name: given.shape[axis]
            for port, given in zip(network.inputs, inputs)
            for axis, name in enumerate(port.axes)
            if isinstance(name, str)
        }
        with torch.no_grad():
            expected = network(*inputs)
        expected = (expected,) if isinstance(expected, Tensor) else expected
        for port, right, result in zip(network.outputs, expected, file(*inputs)):
            rows.append(compared(port, data, lengths, right, result))
    return rows


def compared(port: Port, data: str, lengths: Mapping[str, int], right: Tensor, result: Tensor) -> ParityRow:
    """Compare one output with torch's.

    Raises:
        ValueError: another shape.
    """
    if right.shape != result.shape:
        raise ValueError(
            f'export: output {port.name!r} must have the shape {tuple(right.shape)} as in torch; the file gives '
            f'{tuple(result.shape)} for inputs of {dict(lengths)}. Report it with the model’s config.'
        )
    row = ParityRow(
        port.name, data, dict(lengths), float((right - result).abs().max()), float(right.abs().max())
    )
    if not port.maps:
        return row
    right, result = right.flatten(0, 1).flatten(1), result.flatten(0, 1).flatten(1)
    cell = result.argmax(1)
    lost = right.amax(1) - right.gather(1, cell.unsqueeze(1)).squeeze(1)
    equal = int((right.argmax(1) == cell).sum())
    return replace(row, n_maps=len(cell), n_equal=equal, lost=float(lost.max()))


def random_batches(
    network: ExportedNetwork, sizes: Sequence[int], n_views: int
) -> Iterable[tuple[str, tuple[Tensor, ...]]]:
    """Draw a batch of each size; where the file takes any number of views, each has one view more than the last."""
    generator = torch.Generator().manual_seed(0)
    for more, size in enumerate(sizes):
        yield RANDOM, network.drawn({'batch': size, 'views': n_views + more}, generator)


def real_batches(
    network: ExportedNetwork, model: ModalRegressor, data: str | Path, sizes: Sequence[int]
) -> Iterable[tuple[str, tuple[Tensor, ...]]]:
    """Read a batch of each size from a dataset file, evenly spread.

    Raises:
        ValueError: images of another side than the network's, or other cameras than the model knows by name.
    """
    dataset = MultiViewDataset(data, split='all', test_mode=True)
    known = model.camera_names
    if known is not None and known != tuple(dataset.camera_names):
        raise ValueError(
            f'--data {data}: must have the cameras that the model knows by name, {", ".join(known)}; it has '
            f'{", ".join(dataset.camera_names)}. Leave --data out, or give a file of that rig.'
        )
    for size in sizes:
        places = torch.linspace(0, len(dataset) - 1, size).round().long().tolist()
        batch = model.data_preprocessor(default_collate([dataset[i]['inputs'] for i in places]))
        inputs = network.inputs_of(batch)
        for port, given in zip(network.inputs, inputs):
            fixed = [(n, m) for n, m in zip(port.axes, given.shape) if isinstance(n, int)]
            if any(n != m for n, m in fixed):
                raise ValueError(
                    f'--data {data}: {port.name} must be {" x ".join(map(str, port.axes))}; got '
                    f'{tuple(given.shape)}. Give a file that was preprocessed as the training’s, or --side.'
                )
        yield REAL, inputs


_EXPORTERS = ('onnxscript', 'onnx_ir', 'torch.onnx', 'torch.export')
# What torch traces with: lengths of 1 would be taken for fixed.
_TRACED = {'batch': 2, 'views': 3}
# Views of random inputs where the training's cameras are not known.
_USUAL_VIEWS = 3


@dataclass(frozen=True)
class ExportRun:
    """What came out. `file` and `description` are None where the file was not near enough, and so not kept."""

    network: ExportedNetwork
    rows: tuple[ParityRow, ...]
    tolerance: float
    file: Path | None
    description: Path | None


@with_options(NetworkOptions)
def export(checkpoint: str | Path, out: str | Path, options: NetworkOptions) -> ExportRun:
    """Write a regressor's network as an ONNX file, and beside it (.json) what it takes and gives.

    Of a `KeypointRegressor` that is images to heat maps, of a `MultiViewRegressor` images and rays to a body in the
    scene's frame; see docs/inference.md. It computes in float32. onnxruntime runs the file on random inputs, and on
    those of a dataset file; where it differs by more than `tolerance` from torch, nothing is written.

    Args:
        checkpoint: of a training.
        out: the .onnx file to write.

    Raises:
        ImportError: what the extra `onnx` brings is not installed.
        FileExistsError: an output is there already.
        ValueError: a model without a network in one piece, or one that torch cannot write.
    """
    out = check_output_file(out, 'OUT')
    if out.suffix != '.onnx':
        raise ValueError(f'OUT: must end in .onnx; got {out.name!r}. Call it {out.stem}.onnx.')
    check_not_an_input(out, (checkpoint, options.data, options.config, options.body_model), 'OUT')
    check_installed('export')
    description = out.with_suffix('.json')
    for path in (out, description):
        if path.exists() and not options.force:
            raise FileExistsError(f'{path}: is there already. Give --force to replace it, or another name.')
    trained = load_trained_regressor(checkpoint, options.config, options.body_model)
    network = merge_lora(trained.model.exported_network(options.side)).eval()
    tolerance = options.tolerance
    made_of = MadeOf(
        {'checkpoint': sha256_of(Path(checkpoint))}, {'side': options.side, 'tolerance': tolerance}
    )
    folder = OutputFolder(out.parent, f'{out.name}.done.json')
    rows: list[ParityRow] = []
    try:
        with folder.make(out.stem, made_of) as staging:
            write_network(network, staging / out.name)
            batches = random_batches(
                network, options.batch_sizes, len(trained.names.camera_names) or _USUAL_VIEWS
            )
            if options.data is not None:
                batches = chain(
                    batches, real_batches(network, trained.model, options.data, options.batch_sizes)
                )
            file = OnnxNetwork(staging / out.name, torch.get_num_threads())
            rows += check_parity(network, file, batches)
            if not all(row.within(tolerance) for row in rows):
                raise _TooFarError
            text = json.dumps(_described(trained, network, staging / out.name, rows, tolerance), indent=1)
            write_text(staging / description.name, text + '\n')
    except _TooFarError:
        return ExportRun(network, tuple(rows), tolerance, None, None)
    return ExportRun(network, tuple(rows), tolerance, out, description)


class _TooFarError(Exception):
    """Leaves the transaction without its files."""


def write_network(network: ExportedNetwork, path: Path) -> None:
    """Write a network; weights of more than 2 GB become a file `<name>.data` beside it.

    Raises:
        ValueError: torch has no ONNX form for a part of it.
    """
    import onnx

    example = network.drawn(_TRACED, torch.Generator().manual_seed(0))
    axes = tuple(
        {i: name for i, name in enumerate(port.axes) if isinstance(name, str)} for port in network.inputs
    )
    with _silent_exporter():
        try:
            program = torch.onnx.export(
                network,
                example,
                dynamo=True,
                dynamic_shapes=axes,
                input_names=[port.name for port in network.inputs],
                output_names=[port.name for port in network.outputs],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ValueError(
                f'export: torch {torch.__version__} must be able to write the network as ONNX; it cannot: '
                f'{shorten(str(error).strip().splitlines()[0])}. Try another backbone, or a newer torch.'
            ) from error
        assert program is not None
        program.save(str(path))
    onnx.checker.check_model(str(path))


@contextmanager
def _silent_exporter() -> Iterator[None]:
    """Keep back the exporter's steps, which it prints and logs, and its warnings of its own parts."""
    loggers = [logging.getLogger(name) for name in _EXPORTERS]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        try:
            for one in loggers:
                one.setLevel(logging.ERROR)
            yield
        finally:
            for one, level in zip(loggers, levels):
                one.setLevel(level)


def _described(
    trained: TrainedRegressor,
    network: ExportedNetwork,
    path: Path,
    rows: Sequence[ParityRow],
    tolerance: float,
) -> dict[str, object]:
    names = asdict(trained.names)
    kept = ('unit', 'crop_mode', 'target_resolution', 'undistorted', 'bbox_margin')
    return {
        'format': FORMAT,
        'version': VERSION,
        'smilfit': __version__,
        'network': {'file': path.name, 'sha256': sha256_of(path)},
        'checkpoint': {'file': trained.path.name, 'sha256': sha256_of(trained.path)},
        'model': trained.cfg['type'],
        'inputs': [port.described() for port in network.inputs],
        'outputs': [port.described() for port in network.outputs],
        **network.facts(),
        'body_model': {'name': trained.body.data.name, 'hash': trained.names.body_model_hash},
        'training_images': {name: names[name] for name in kept},
        'parity': {'tolerance': tolerance, 'rows': [row.described() for row in rows]},
    }
