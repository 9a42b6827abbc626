"""A dataset file can do what `RecordedData` asks, and its sessions what `SessionData` does."""

import inspect

import pytest

from smilfit.datasets import DatasetFile, open_dataset
from smilfit.datasets.store.stored_session import ImageData, PointData, RecordingData
from smilfit.structures import RecordedData, SessionData


def test_a_dataset_file_is_recorded_data(dataset_path):
    file = open_dataset(dataset_path)
    assert isinstance(file, RecordedData)
    assert isinstance(file.session(0), SessionData)
    assert not isinstance(object(), RecordedData)


@pytest.mark.parametrize(
    ('protocol', 'kind', 'least'),
    [
        (RecordedData, DatasetFile, 10),
        *((SessionData, kind, 4) for kind in (RecordingData, ImageData, PointData)),
    ],
)
def test_methods_take_the_same_arguments(protocol, kind, least):
    names = [n for n, value in vars(protocol).items() if inspect.isfunction(value) and not n.startswith('_')]
    assert len(names) >= least
    for name in names:
        wanted, result = (list(inspect.signature(getattr(c, name)).parameters) for c in (protocol, kind))
        assert result == wanted, name
