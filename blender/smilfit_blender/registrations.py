"""What `smilfit register` wrote of scans. Without Blender."""

import zipfile
from pathlib import Path

import numpy as np

from .errors import AddonError

FILE = 'registration.npz'
_MOST_VERTICES = 10_000_000


def find_registrations(path):
    """Give the files of a folder of specimens, of one specimen, or a file itself, in order of their names.

    Raises:
        AddonError: there is none.
    """
    path = Path(path)
    found = [path] if path.is_file() else sorted({*path.glob(FILE), *path.glob(f'*/{FILE}')})
    if not found:
        raise AddonError(
            f'{path}: must hold {FILE} or folders with one; it does not. `smilfit register` writes them.'
        )
    return found


def read_registration(path):
    """Give a specimen's name, its rest vertices (V, 3) in the model's unit, and its faces, if it says.

    Raises:
        AddonError: no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            unposed, name = np.asarray(arrays['unposed'], np.float64), str(arrays['name'])
            faces = np.asarray(arrays['faces'], np.int64) if 'faces' in arrays else None
        if (
            unposed.ndim != 2
            or unposed.shape[1] != 3
            or len(unposed) > _MOST_VERTICES
            or not np.isfinite(unposed).all()
        ):
            raise ValueError(f'unposed must be finite and (V, 3); got {unposed.shape}')
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AddonError(f'{path}: must be a registration of `smilfit register`; {error}') from None
    return name, unposed, faces
