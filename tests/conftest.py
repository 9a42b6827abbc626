"""Shared fixtures: where the real recordings are, one torch thread, a fixed seed; the longest files come first."""

import os
from pathlib import Path

import jaxtyping
import pytest
import torch

from tests.typechecking import once_a_look

ROOT = Path(__file__).resolve().parents[1]
# Files of half a minute and more, the longest first.
LONGEST = (
    *('test_main_job.py', 'test_bad_inputs.py', 'test_benchmarks.py'),
    *('test_going_on.py', 'test_addon.py', 'test_faults.py'),
    *('test_recovery.py', 'test_smalify.py', 'test_training_runs.py'),
    *('test_fit_launcher.py', 'test_levenberg_marquardt.py', 'test_tools.py'),
    *('test_dannce_mouse.py', 'test_hostile_stores.py', 'test_pickle_attacks.py'),
)
# What `make test` leaves to `make test-slow`, a line each: files and tests of more than 1.5 CPU seconds.
SLOW = frozenset((ROOT / 'tests' / 'slow.txt').read_text().split())


def pytest_configure(config: pytest.Config) -> None:
    """Wrap the checker of hints where hints are checked, before anything of smilfit is imported."""
    if config.getoption('--jaxtyping-packages'):
        # pytest's option decorates it by this name.
        jaxtyping.jaxtyped = once_a_look(jaxtyping.jaxtyped)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow; put the longest files first, as a file stays with one process."""
    for item in items:
        file = item.path.name
        if SLOW & {file, f'{file}::{item.name.split("[")[0]}', f'{file}::{item.name}'}:
            item.add_marker(pytest.mark.slow)
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


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
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return readers the time that looking at the types of all arguments takes, on a machine where other tests
    run."""
    monkeypatch.setattr('smilfit.files.account.BASE_SECONDS', 30.0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
