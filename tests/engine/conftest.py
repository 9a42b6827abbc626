"""Runs in one process share mmengine's loggers."""

import pytest


@pytest.fixture(autouse=True)
def _no_warnings_of_mmengine():
    """mmengine warns of names that several runners in one process share, and of what it skips."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module='mmengine.*')
        warnings.filterwarnings('ignore', message='.*lr_scheduler.step.*')
        yield
