"""A dataset file can do what `DatasetReader` says, with the same arguments."""

import inspect

import pytest

from smilfit.datasets import DatasetFile, DatasetReader, open_dataset
from smilfit.structures import RecordedData


def test_a_dataset_file_is_a_reader(dataset_path):
    file = open_dataset(dataset_path)
    assert isinstance(file, DatasetReader)
    assert isinstance(file, RecordedData)
    assert not isinstance(object(), RecordedData)


@pytest.mark.parametrize('kind', [DatasetFile])
def test_methods_take_the_same_arguments(kind):
    methods = {**vars(RecordedData), **vars(DatasetReader)}
    names = [n for n, value in methods.items() if inspect.isfunction(value) and not n.startswith('_')]
    assert len(names) >= 18
    for name in names:
        wanted, result = (list(inspect.signature(getattr(c, name)).parameters) for c in (DatasetReader, kind))
        assert result == wanted, name
