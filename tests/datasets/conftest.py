"""Fixtures: a small body, an in-memory session, and a dataset file made of two."""

from dataclasses import replace
from pathlib import Path

import pytest

from smilfit.body_models import BodyModelData
from smilfit.datasets import PreprocessOptions, preprocess
from smilfit.structures import BodyParams
from tests.datasets.blob_session import BlobSession, make_body, make_cameras


@pytest.fixture(scope='session')
def body() -> BodyModelData:
    return make_body()


@pytest.fixture
def session() -> BlobSession:
    return BlobSession()


@pytest.fixture(scope='session')
def dataset_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions of other cameras, one with true parameters; 48 + 12 samples of 64 px."""
    first = BlobSession('first', 48)
    second = BlobSession('second', 12, cameras=make_cameras(('left', 'lower')))
    rest = BodyParams.zeros(12, 4, 2)
    second.true_params = replace(rest, transl=second.points[:, 0].float(), scale=rest.scale * 2)
    path = tmp_path_factory.mktemp('data') / 'blobs.h5'
    options = PreprocessOptions(target_resolution=64)
    preprocess([first, second], path, make_body(), options, body_model_file='four.smil.json')
    return path
