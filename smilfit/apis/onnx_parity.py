"""Whether a network in an ONNX file gives the same numbers as the one that it was written from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from smilfit.apis.onnx_network import OnnxNetwork
from smilfit.datasets import MultiViewDataset
from smilfit.models.exported_network import ExportedNetwork, Port

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
        """Say whether it is near enough; what is not finite is not."""
        return self.difference <= tolerance and self.lost <= tolerance

    def described(self) -> dict[str, Any]:
        """Say all of it, as JSON has it."""
        found = {'output': self.output, 'data': self.data, 'batch': dict(self.batch)}
        found |= {'max_abs_difference': self.difference, 'max_abs_value': self.largest}
        return found | ({'maps': self.n_maps, 'maps_of_equal_peak': self.n_equal} if self.n_maps else {})


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
        for port, right, found in zip(network.outputs, expected, file(*inputs)):
            rows.append(compared(port, data, lengths, right, found))
    return rows


def compared(port: Port, data: str, lengths: Mapping[str, int], right: Tensor, found: Tensor) -> ParityRow:
    """Compare one output with torch's.

    Raises:
        ValueError: another shape.
    """
    if right.shape != found.shape:
        raise ValueError(
            f'export: output {port.name!r} must have the shape {tuple(right.shape)} as in torch; the file gives '
            f'{tuple(found.shape)} for inputs of {dict(lengths)}. Report it with the model’s config.'
        )
    row = ParityRow(
        port.name, data, dict(lengths), float((right - found).abs().max()), float(right.abs().max())
    )
    if not port.maps:
        return row
    right, found = right.flatten(0, 1).flatten(1), found.flatten(0, 1).flatten(1)
    cell = found.argmax(1)
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
    network: ExportedNetwork, model: torch.nn.Module, data: str | Path, sizes: Sequence[int]
) -> Iterable[tuple[str, tuple[Tensor, ...]]]:
    """Read a batch of each size from a dataset file, evenly spread.

    Raises:
        ValueError: images of another side than the network's, or other cameras than the model knows by name.
    """
    dataset = MultiViewDataset(data, split='all', test_mode=True)
    known = getattr(model, 'camera_names', None)
    if known is not None and tuple(known) != tuple(dataset.camera_names):
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
