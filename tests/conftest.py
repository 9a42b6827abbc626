"""Shared fixtures: where the real recordings are, one torch thread, a fixed seed."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def _real_data_folder() -> Path | None:
    named = os.environ.get('SMILFIT_REAL_DATA')
    for folder in ([Path(named)] if named else []) + [ROOT.parent / 'shared' / 'real']:
        if folder.is_dir():
            return folder
    return None


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real recordings and models; skips where it is absent."""
    folder = _real_data_folder()
    if folder is None:
        pytest.skip(
            'real recordings are not here: set SMILFIT_REAL_DATA or put shared/real beside the checkout'
        )
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
