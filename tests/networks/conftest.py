"""A tiny regressor and a batch for it."""

import pytest

from smilfit.networks import MultiViewRegressor
from tests.toy_regressor import make_batch, make_regressor


@pytest.fixture
def model() -> MultiViewRegressor:
    return make_regressor()


@pytest.fixture
def batch() -> dict:
    return make_batch()
