"""Stored images of a SMILify file, each looked through before it is believed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smilfit.datasets.hdf5_handle import Hdf5Handle
from smilfit.datasets.stored_images import decode_stored, most_bytes


class ImageReader:
    """Read encoded images of a file: row i of the table of a slot.

    Args:
        path: the file.
        tables: the tables' names, slot by slot.
        side: px, of the square that every image must be.
    """

    def __init__(self, path: str | Path, tables: Sequence[str], side: int) -> None:
        self.path, self.side = Path(path), side
        self._tables, self._handle = tuple(tables), Hdf5Handle(path)

    def read(self, row: int, slot: int) -> tuple[UInt8[np.ndarray, ' n'], UInt8[np.ndarray, 'H W 3']]:
        """Give an image's bytes, and what they decode to (RGB).

        Raises:
            BadFileError: no image, one that is cut short, or of another size.
            OSError: bytes that are not there.
        """
        data = np.asarray(self._handle.read(self._tables[slot], row), np.uint8)
        image = decode_stored(data, self.path, f'the image of sample {row}, slot {slot}', self.side)
        return data[: most_bytes(self.side)], image

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._handle.close()
