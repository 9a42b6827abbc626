"""One door to all dataset files."""

from pathlib import Path
from typing import Any

from smilfit.datasets.hdf5_handle import open_hdf5
from smilfit.datasets.smilify_store import SmilifyFile, is_smilify
from smilfit.datasets.store_reader import DatasetFile


def open_dataset(path: str | Path, **options: Any) -> DatasetFile | SmilifyFile:
    """Open a dataset file of this project or of SMILify's multi-view preprocessor, told apart by their attributes.

    Args:
        path: the file.
        options: arguments of `SmilifyFile` beside the path; a file of this project takes none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither, cut short, unfinished or of a newer version.
    """
    with open_hdf5(path) as file:
        foreign = is_smilify(file)
    if foreign:
        return SmilifyFile(path, **options)
    if options:
        raise ValueError(
            f'{path}: reader options are for SMILify files; this file states its own. Leave out {sorted(options)}.'
        )
    return DatasetFile(path)
