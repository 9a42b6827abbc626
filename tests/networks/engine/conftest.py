"""Runs in one process share mmengine's loggers, and lay out a config once."""

import functools
import json

import pytest
from mmengine.config import config as mmengine_config


@pytest.fixture(autouse=True, scope='session')
def _configs_are_laid_out_once():
    """Each checkpoint holds its config as yapf lays it out, which takes longer than an epoch of a toy."""
    lay_out = mmengine_config.FormatCode

    @functools.lru_cache(maxsize=64)
    def kept(code: str, options: str):
        return lay_out(code, **json.loads(options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine_config, 'FormatCode', lambda code, **options: kept(code, json.dumps(options)))
        yield


@pytest.fixture(autouse=True)
def _no_warnings_of_mmengine():
    """mmengine warns of names that several runners in one process share, and of what it skips."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module='mmengine.*')
        warnings.filterwarnings('ignore', message='.*lr_scheduler.step.*')
        yield
