"""The clip as a fixture."""

import pytest

from tests.registrants.clip import make_clip


@pytest.fixture
def clip():
    return make_clip()
