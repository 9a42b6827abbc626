"""One door to all dataset files."""

from pathlib import Path

from smilfit.datasets.store.hdf5_handle import open_hdf5
from smilfit.datasets.store.store_reader import DatasetFile
from smilfit.files import BadFileError
from smilfit.files.hdf5 import check_hdf5
from smilfit.registry.wings import wing_module


def open_dataset(path: str | Path) -> DatasetFile:
    """Open a dataset file of this project.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one of SMILify's (the message has the command that imports it), cut short, unfinished, of a newer
            version, or anything in it that breaks a rule; the message names the file.
    """
    with open_hdf5(path) as file:
        # Before anything is asked of the file: a link may lead to another one.
        check_hdf5(file, path, 'a dataset')
        schema = wing_module('smilfit.smilify.schema')
        foreign = schema is not None and schema.is_smilify(file, path)
    if foreign:
        raise BadFileError(
            f"{path}: a dataset must be a file of this project; it is one of SMILify's. Import it once: "
            f'tools/preprocess.py smilify {path} {Path(path).stem}_smilfit.h5 --body-model FILE (the model that it '
            'was made with).'
        )
    return DatasetFile(path)
