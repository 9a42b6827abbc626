"""Networks in ONNX files: run by onnxruntime, and in the place of a checkpoint's own."""

import hashlib
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smilfit.files import BadFileError, charge, read_in_child, read_json, reading, shorten
from smilfit.networks.engine.trained_model import TrainedRegressor

FORMAT, VERSION = 'smilfit-network', 1
_WHAT = 'a network in ONNX'
_WANTED = ('onnx', 'onnxscript', 'onnxruntime')


class OnnxNetwork:
    """A network in an ONNX file, run by onnxruntime on the CPU.

    Args:
        path: the file.
        threads: CPU threads; onnxruntime's choice if 0.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        self.names = [one.name for one in self.session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of inputs in the file's order."""
        given = {name: value.contiguous().cpu().numpy() for name, value in zip(self.names, inputs)}
        return tuple(map(torch.from_numpy, self.session.run(None, given)))


def use_exported(trained: TrainedRegressor, path: str | Path) -> None:
    """Let a keypoint regressor find heat maps by the file that `export` wrote of its checkpoint.

    Raises:
        ImportError: onnxruntime is not installed.
        BadFileError: no such file, or none with the description that was written beside it.
        ValueError: a file of another checkpoint, or a model whose network is not of heat maps.
    """
    path = Path(path)
    check_installed('--network', ('onnxruntime',))
    vision = getattr(trained.model, 'vision', None)
    if vision is None:
        raise ValueError(
            f'--network: the model must be a KeypointRegressor; {trained.path} holds a {trained.cfg["type"]}. Leave '
            '--network out.'
        )
    if not path.is_file():
        raise BadFileError(f'{path}: must be a file of smilfit export; there is none. Check the path.')
    about = read_json(path.with_suffix('.json'), 'what smilfit export wrote beside the network', dict)
    image = about.get('image')
    if about.get('format') != FORMAT or not isinstance(image, dict):
        raise BadFileError(
            f'{path.with_suffix(".json")}: must be of smilfit export. Export the network anew.'
        )
    checksums = [about.get(name, {}).get('sha256') for name in ('network', 'checkpoint')]
    if checksums != [sha256_of(path), sha256_of(trained.path)] or image.get('side_px') != vision.side:
        raise ValueError(
            f'--network {path}: must be as smilfit export wrote it, of {trained.path} and for images of '
            f'{vision.side} px. Export it anew, without --side.'
        )
    try_network(path)
    file = OnnxNetwork(path, torch.get_num_threads())
    vision.runtime = lambda crops: file(crops)[0].to(crops.device)


def try_network(path: Path) -> None:
    """Run a network where the system bounds it: whoever wrote the file chose what it computes.

    Raises:
        BadFileError: it takes more than its file may, or does not run.
    """
    with reading(path, _WHAT):
        import onnxruntime  # noqa: F401 - counted for nothing when it is there before

        read_in_child(path, _WHAT, _run_once, path)


def _run_once(path: Path) -> None:
    """Run a network once, on zeros; a length that the file leaves open is 1."""
    network = OnnxNetwork(path, 1)
    given = {}
    for port in network.session.get_inputs():
        shape = [length if isinstance(length, int) else 1 for length in port.shape]
        charge(f'the input {shorten(port.name)}', n_bytes=4 * math.prod(shape))
        given[port.name] = np.zeros(shape, np.float32)
    network.session.run(None, given)


def check_installed(where: str, wanted: tuple[str, ...] = _WANTED) -> None:
    """Check that packages of the extra `onnx` are there.

    Raises:
        ImportError: one is missing, with the command that installs it.
    """
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'{where}: {", ".join(wanted)} must be installed; missing: {", ".join(missing)}. '
            "Give: pip install 'smilfit[onnx]'"
        )


def sha256_of(path: Path) -> str:
    """Return a file's sha256.

    Raises:
        BadFileError: no such file.
    """
    if not path.is_file():
        raise BadFileError(f'{path}: must be a file; there is none. Check the path.')
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
