"""What a dataset file holds of a session once: cameras, and what is known of its pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float

from smilfit.datasets.store_layout import CAMERA_ARRAYS, PictureTable, SessionHeader
from smilfit.structures import Cameras

# Pictures with cameras of their own are many: their tables are read in pieces of so many rows.
_ROWS = 1024


@dataclass(frozen=True)
class StoredSession:
    """A session as it is read; `rig` holds its cameras spread over the file's union, zeros where it has none.

    `rig` has a row a sample where the session's pictures have cameras of their own.
    """

    header: SessionHeader
    rig: dict[str, Float[np.ndarray, '...']]

    def rig_of(self, row: int) -> dict[str, Float[np.ndarray, 'C ...']]:
        """Give the cameras of the session's `row`-th sample."""
        if self.header.pictures is None:
            return self.rig
        return {name: value[row] for name, value in self.rig.items()}

    def labels(self, frames: Sequence[int]) -> tuple[str, ...]:
        """Name the pictures of its samples."""
        if self.header.pictures is None:
            return tuple(f'{self.header.name}, frame {frame}' for frame in frames)
        return self.header.pictures.labels

    def intrinsics_known(self, count: int) -> Bool[np.ndarray, 'n']:
        """Say of which samples the intrinsics were known."""
        known = self.header.pictures
        return np.ones(count, np.bool_) if known is None else known.intrinsics_known


def write_session(group: h5py.Group, session: SessionHeader) -> None:
    """Write what is stored of a session once."""
    group.attrs['name'] = session.name
    group.attrs['unit'] = session.unit or ''
    group.attrs['fps'] = float('nan') if session.fps is None else session.fps
    group.attrs['source'] = session.source
    cameras = session.cameras
    group.attrs['camera_names'] = json.dumps(list(cameras.names))
    dist = cameras.K.new_zeros(*cameras.K.shape[:-2], 5) if cameras.dist is None else cameras.dist
    tensors = {name: getattr(cameras, name) for name in CAMERA_ARRAYS} | {'dist': dist}
    for name, value in tensors.items():
        _write(group, name, value.detach().cpu().double().numpy(), session.pictures is not None)
    if session.betas is not None and len(session.betas):
        _write(group, 'betas', np.asarray(session.betas, np.float64))
    if session.pictures is not None:
        group.attrs['temporal'] = session.pictures.temporal
        _write(group, 'intrinsics_known', session.pictures.intrinsics_known, True)
        # Text as bytes end to end: a checksum does not reach strings of variable length.
        text = json.dumps(list(session.pictures.labels)).encode()
        _write(group, 'labels', np.frombuffer(text, np.uint8))


def _write(group: h5py.Group, name: str, array: np.ndarray, by_row: bool = False) -> None:
    chunks = (min(len(array), _ROWS), *array.shape[1:]) if by_row else array.shape
    group.create_dataset(name, data=array, chunks=chunks, fletcher32=True)


def read_session(group: h5py.Group, camera_names: Sequence[str]) -> StoredSession:
    """Read what `write_session` wrote; the session's own betas and pictures are None where it has none."""
    unit, fps = str(group.attrs['unit']) or None, float(group.attrs['fps'])
    cameras = Cameras(
        names=tuple(json.loads(group.attrs['camera_names'])),
        **{name: torch.from_numpy(group[name][()]) for name in CAMERA_ARRAYS},
        unit=unit,
    )
    pictures = None
    if 'labels' in group:
        pictures = PictureTable(
            labels=tuple(json.loads(group['labels'][()].tobytes())),
            intrinsics_known=group['intrinsics_known'][()],
            temporal=bool(group.attrs['temporal']),
        )
    header = SessionHeader(
        name=str(group.attrs['name']),
        cameras=cameras,
        unit=unit,
        fps=None if np.isnan(fps) else fps,
        source=str(group.attrs['source']),
        betas=group['betas'][()] if 'betas' in group else None,
        pictures=pictures,
    )
    return StoredSession(header, _spread(cameras, camera_names))


def _spread(cameras: Cameras, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Spread a session's cameras over the file's union; cameras it lacks are zeros."""
    lead, n = cameras.K.shape[:-3], len(names)
    columns = [names.index(name) for name in cameras.names]
    rig = {
        k: np.zeros((*lead, n, *s)) for k, s in (('K', (3, 3)), ('R', (3, 3)), ('t', (3,)), ('dist', (5,)))
    }
    at = (slice(None),) * len(lead) + (columns,)
    for key, value in rig.items():
        source = getattr(cameras, key)
        if source is not None:
            value[at] = source.numpy()
    return rig
