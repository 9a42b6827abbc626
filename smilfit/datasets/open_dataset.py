"""One door to all dataset files."""

from pathlib import Path
from typing import Any

from smilfit.datasets.dataset_reader import DatasetReader
from smilfit.datasets.hdf5_handle import open_hdf5
from smilfit.datasets.smilify_store import SmilifyFile, is_smilify
from smilfit.datasets.store_reader import DatasetFile
from smilfit.files.hdf5 import check_hdf5


def open_dataset(path: str | Path, **options: Any) -> DatasetReader:
    """Open a dataset file of this project or of SMILify's multi-view preprocessor, distinguished by their attributes.

    Args:
        path: the file.
        options: arguments of `SmilifyFile` beside the path; a file of this project takes none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither, cut short, unfinished, of a newer version, or anything in it that breaks a rule; the
            message names the file.
    """
    with open_hdf5(path) as file:
        # Before anything is asked of the file: a link may lead to another one.
        check_hdf5(file, path, 'a dataset')
        foreign = is_smilify(file, path)
    if foreign:
        return SmilifyFile(path, **options)
    if options:
        raise ValueError(
            f'{path}: reader options are for SMILify files; this file states its own. Leave out {sorted(options)}.'
        )
    return DatasetFile(path)
