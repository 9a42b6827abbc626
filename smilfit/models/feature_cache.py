"""Keep what a frozen network says of an image on disk, so that it says it once."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.files import BadFileError, read_json, write_bytes
from smilfit.models.backbones.timm_network import TimmNetwork
from smilfit.registry import MODELS

logger = logging.getLogger('smilfit')

_DTYPES = {'float16': np.float16, 'float32': np.float32}
_ABOUT = 'about.json'
_CHECKSUM_BYTES = 4


@MODELS.register_module()
class FeatureCache:
    """Store the feature maps of a frozen network, one file an image, in a folder that names weights and crops.

    What is stored belongs to one state of the weights and one way of cutting images: with others it is another
    folder, so a changed weight is never served old maps. A file that is cut short or damaged is computed again, and
    counted. Only crops that are the same in every epoch can be kept, so there is no augmentation of images with it.

    Args:
        folder: where; it may be shared by processes and runs.
        dtype: of the numbers on disk: 'float16', or 'float32' for networks with activations above 65504.

    Attributes:
        n_read: images that were read.
        n_computed: images that were computed.
        n_damaged: files that were found damaged, among those computed.
    """

    def __init__(self, folder: str | Path, dtype: str = 'float16') -> None:
        if dtype not in _DTYPES:
            raise ValueError(f'FeatureCache: dtype must be one of {tuple(_DTYPES)}; got {dtype!r}.')
        self.folder, self.dtype = Path(folder), dtype
        self.n_read = self.n_computed = self.n_damaged = 0
        self._state: tuple[Any, ...] | None = None
        self._place: Path | None = None
        self._shapes: list[tuple[int, ...]] | None = None

    def features(
        self,
        network: TimmNetwork,
        ids: Sequence[str],
        images: Tensor | Callable[[list[int]], Tensor],
        setup: Mapping[str, Any] | None = None,
    ) -> list[Tensor]:
        """Give the network's feature maps (N, D, h, w) of N images; those not kept yet are computed together.

        `network.decode` takes them on.

        Args:
            network: all of it frozen.
            ids: which image each is, such as its file, sample and view; the same image has the same id in every run.
            images: (N, 3, H, W) in [0, 1], or what gives them for a list of places in the batch.
            setup: how images were cut, such as the boxes' margin and the crops' side; JSON-able.

        Raises:
            ValueError: a network that is not frozen, or features that the dtype cannot hold.
        """
        place = self._folder_of(network, setup or {})
        paths = [place / digest[:2] / f'{digest[2:]}.bin' for digest in map(_digest, ids)]
        rows = [self._read(path) for path in paths]
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            with torch.no_grad():
                maps = network.feature_maps(
                    images[missing] if isinstance(images, Tensor) else images(missing)
                )
            self._note_shapes(place, [tuple(found.shape[1:]) for found in maps])
            for n, i in enumerate(missing):
                rows[i] = self._write(paths[i], torch.cat([found[n].float().flatten() for found in maps]))
            self.n_computed += len(missing)
        self.n_read += len(ids) - len(missing)
        device = next(network.parameters()).device
        stacked = torch.from_numpy(np.stack(rows).astype(np.float32)).to(device)
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        return [part.unflatten(1, shape) for part, shape in zip(stacked.split(sizes, 1), self._shapes)]

    def _folder_of(self, network: TimmNetwork, setup: Mapping[str, Any]) -> Path:
        if any(p.requires_grad for p in network.network.parameters()):
            raise ValueError(
                'FeatureCache: the network must be frozen, or what is kept would be of older weights; some of '
                f'{network.name!r} trains. Set frozen=True, or leave the cache out.'
            )
        # In-place changes of a tensor are counted by torch, so nothing is hashed while nothing has changed.
        tensors = network.network.state_dict(keep_vars=True)
        state = (
            id(network),
            json.dumps(setup, sort_keys=True),
            *((id(t), t._version) for t in tensors.values()),
        )
        if state != self._state:
            digest = hashlib.sha256(f'{network.name} {network.indices} {self.dtype} {state[1]}'.encode())
            for name, tensor in tensors.items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
            self._place, self._state = self.folder / digest.hexdigest()[:24], state
            self._place.mkdir(parents=True, exist_ok=True)
            self._shapes = _shapes_of(self._place / _ABOUT)
            logger.info('features of %s are kept in %s', network.name, self._place)
        return self._place

    def _note_shapes(self, place: Path, shapes: list[tuple[int, ...]]) -> None:
        if self._shapes is None:
            _write_whole(place / _ABOUT, json.dumps({'shapes': shapes}).encode())
            self._shapes = shapes
        if self._shapes != shapes:
            raise ValueError(
                f'{place}: feature maps must have the shapes of those that are kept, {self._shapes}; got {shapes}. '
                'Name the size of the crops in setup.'
            )

    def _read(self, path: Path) -> np.ndarray | None:
        if self._shapes is None or not path.is_file():
            return None
        data = path.read_bytes()
        numbers, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        wanted = sum(int(np.prod(shape)) for shape in self._shapes) * np.dtype(_DTYPES[self.dtype]).itemsize
        if len(numbers) != wanted or zlib.crc32(numbers).to_bytes(_CHECKSUM_BYTES, 'little') != checksum:
            self.n_damaged += 1
            logger.warning('%s: features that are damaged; they are computed again.', path)
            return None
        return np.frombuffer(numbers, _DTYPES[self.dtype])

    def _write(self, path: Path, values: Tensor) -> np.ndarray:
        with np.errstate(over='ignore'):
            row = values.cpu().numpy().astype(_DTYPES[self.dtype])
        if not np.isfinite(row).all():
            raise ValueError(
                f'FeatureCache: features must be finite in {self.dtype}; the largest is '
                f"{float(values.abs().max()):.3g}. Set dtype='float32', or check the weights."
            )
        path.parent.mkdir(exist_ok=True)
        numbers = row.tobytes()
        _write_whole(path, numbers + zlib.crc32(numbers).to_bytes(_CHECKSUM_BYTES, 'little'))
        return row


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that other processes may write too: each under a name of its own, and the last one stays."""
    own = path.with_name(f'{path.stem}.{os.getpid()}{path.suffix}')
    write_bytes(own, data).replace(path)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _shapes_of(path: Path) -> list[tuple[int, ...]] | None:
    if not path.is_file():
        return None
    shapes = read_json(path, 'shapes of features', dict).get('shapes')
    if not isinstance(shapes, list) or not all(
        isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)
        for shape in shapes
    ):
        raise BadFileError(
            f'{path}: it must hold the shapes of feature maps; delete the folder {path.parent}.'
        )
    return [tuple(shape) for shape in shapes]
