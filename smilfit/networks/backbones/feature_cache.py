"""Keep what a frozen network says of an image on disk, so that it says it once."""

import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from smilfit.files import BadFileError, free_space, read_json, write_bytes
from smilfit.registry import MODELS

if TYPE_CHECKING:
    from smilfit.networks.backbones.timm_network import TimmNetwork

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
    In a config it is the `cache` of a backbone out of timm.

    Args:
        folder: where; it may be shared by processes and runs.
        dtype: of the numbers on disk: 'float16', or 'float32' for networks with activations above 65504.
        most_gb: what one run's folder may take of the disk; images beyond are computed every time.

    Attributes:
        n_expected: how many images a training has, where that is known, to say what they will take.
        n_read: images that were read.
        n_computed: images that were computed.
        n_damaged: files that were found damaged, among those computed.
        n_not_kept: images that were computed and found no room.
    """

    def __init__(self, folder: str | Path, dtype: str = 'float16', most_gb: float = 50.0) -> None:
        if dtype not in _DTYPES:
            raise ValueError(f'FeatureCache: dtype must be one of {tuple(_DTYPES)}; got {dtype!r}.')
        if not most_gb > 0:
            raise ValueError(f'FeatureCache: most_gb must be positive; got {most_gb}.')
        self.folder, self.dtype, self.most_gb = Path(folder), dtype, most_gb
        self.n_read = self.n_computed = self.n_damaged = self.n_not_kept = 0
        self._state: tuple[object, ...] = ()
        self._place = self.folder
        self._shapes: list[tuple[int, ...]] | None = None
        self._n_kept = 0
        self.n_expected: int | None = None

    def features(
        self,
        network: 'TimmNetwork',
        ids: Sequence[str],
        images: Tensor | Callable[[list[int]], Tensor],
        setup: Mapping[str, object] | None = None,
    ) -> list[Tensor]:
        """Return the network's feature maps (N, D, h, w) of N images; those not kept yet are computed together.

        `network.decode` takes them on.

        Args:
            network: all of it frozen.
            ids: which image each is, such as its file, sample and view; the same image has the same id in every run.
            images: (N, 3, H, W) in [0, 1], or what gives them for a list of places in the batch.
            setup: how images were cut, such as the boxes' margin and the crops' side; JSON-able.

        Raises:
            ValueError: a network that is not frozen or not in evaluation mode, or features too large for the dtype.
        """
        place = self._folder_of(network, setup or {})
        paths = [place / digest[:2] / f'{digest[2:]}.bin' for digest in map(_digest, ids)]
        rows = {i: row for i, path in enumerate(paths) if (row := self._read(path)) is not None}
        missing = [i for i in range(len(paths)) if i not in rows]
        if missing:
            with torch.no_grad():
                maps = network.feature_maps(
                    images[missing] if isinstance(images, Tensor) else images(missing)
                )
            self._note_shapes(place, [tuple(result.shape[1:]) for result in maps])
            for n, i in enumerate(missing):
                rows[i] = self._row(torch.cat([result[n].float().flatten() for result in maps]))
                self._keep(paths[i], rows[i])
            self.n_computed += len(missing)
        self.n_read += len(ids) - len(missing)
        device = next(network.parameters()).device
        stacked = torch.from_numpy(np.stack([rows[i] for i in range(len(paths))])).to(device).float()
        shapes = self._shapes or []
        sizes = [math.prod(shape) for shape in shapes]
        return [part.unflatten(1, shape) for part, shape in zip(stacked.split(sizes, 1), shapes)]

    def _folder_of(self, network: 'TimmNetwork', setup: Mapping[str, object]) -> Path:
        if any(p.requires_grad for p in network.network.parameters()):
            raise ValueError(
                'FeatureCache: the network must be frozen, or what is kept would be of older weights; some of '
                f'{network.name!r} trains. Set frozen=True, or leave the cache out.'
            )
        if network.network.training:
            raise ValueError(
                'FeatureCache: the network must be in evaluation mode, or it says something else every time. Call '
                'network.train() of the backbone, which keeps what is frozen there.'
            )
        # In-place changes of a tensor are counted by torch, so nothing is hashed while nothing has changed.
        tensors = network.network.state_dict(keep_vars=True)
        state = (
            id(network),
            json.dumps(setup, sort_keys=True),
            *((id(t), t._version) for t in tensors.values()),
        )
        if state != self._state:
            padding = f' {network.patch_padding}' if network.patch_padding else ''
            about = f'{network.name} {network.indices} {self.dtype} {state[1]}{padding}'
            digest = hashlib.sha256(about.encode())
            for name, tensor in tensors.items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
            self._place, self._state = self.folder / digest.hexdigest()[:24], state
            self._place.mkdir(parents=True, exist_ok=True)
            self._shapes = _shapes_of(self._place / _ABOUT)
            self._n_kept = sum(1 for _ in self._place.glob('*/*.bin'))
            logger.info('features of %s are kept in %s (%d images)', network.name, self._place, self._n_kept)
        return self._place

    def _note_shapes(self, place: Path, shapes: list[tuple[int, ...]]) -> None:
        if self._shapes is None:
            _write_whole(place / _ABOUT, json.dumps({'shapes': shapes}).encode())
            self._shapes = shapes
            logger.info('%s', self._announcement(place))
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
        if len(data) != self._n_bytes or zlib.crc32(numbers).to_bytes(_CHECKSUM_BYTES, 'little') != checksum:
            self.n_damaged += 1
            logger.warning('%s: features that are damaged; they are computed again.', path)
            return None
        return np.frombuffer(numbers, _DTYPES[self.dtype])

    def _row(self, values: Tensor) -> np.ndarray:
        """Write an image's numbers in the type of the disk."""
        with np.errstate(over='ignore'):
            row = values.cpu().numpy().astype(_DTYPES[self.dtype])
        if not np.isfinite(row).all():
            raise ValueError(
                f'FeatureCache: features must be finite in {self.dtype}; the largest is '
                f"{float(values.abs().max()):.3g}. Set dtype='float32', or check the weights."
            )
        return row

    def _keep(self, path: Path, row: np.ndarray) -> None:
        valid = path.is_file()
        if not valid and self._n_kept >= self._most:
            if not self.n_not_kept:
                logger.warning(
                    'features: %d images fill the %g GB that they may take; others are computed every time. Set '
                    'most_gb, or train with fewer images.', self._n_kept, self.most_gb,
                )  # fmt: skip
            self.n_not_kept += 1
            return
        path.parent.mkdir(exist_ok=True)
        numbers = row.tobytes()
        _write_whole(path, numbers + zlib.crc32(numbers).to_bytes(_CHECKSUM_BYTES, 'little'))
        self._n_kept += not valid

    def _announcement(self, place: Path) -> str:
        """Describe in a sentence what the images of a training take."""
        each, may = f'features: {self._n_bytes / 1e3:.0f} kB an image', f'They may take {self.most_gb:g} GB'
        if self.n_expected is not None:
            each += f', {self.n_expected * self._n_bytes / 1e9:.2f} GB for {self.n_expected} images'
        return f'{each}. {may} ({self._most} images). {free_space(place)}'

    @property
    def _n_bytes(self) -> int:
        """How many bytes an image takes."""
        numbers = sum(math.prod(shape) for shape in self._shapes or ())
        return numbers * np.dtype(_DTYPES[self.dtype]).itemsize + _CHECKSUM_BYTES

    @property
    def _most(self) -> int:
        """How many images may be kept."""
        return int(self.most_gb * 1e9) // self._n_bytes


def names_of_images(images: Tensor) -> list[str]:
    """Name images by their content, so that no other image is ever taken for one of them."""
    return [hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest() for image in images.cpu()]


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
