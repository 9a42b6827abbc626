"""Checkpoints are whole under their names, whatever stops a run; a run goes on from the newest whole one."""

import logging
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from smilfit.files import BadFileError
from smilfit.networks.engine import build_train_runner, read_checkpoint, set_resume
from smilfit.networks.engine.checkpoint_loader import latest_whole_checkpoint
from tests.toy_experiment import experiment


def _train(folder: Path, epochs: int, resume: str | None = None, **changes) -> Config:
    cfg = experiment(folder, **{'train_cfg.max_epochs': epochs, **changes})
    set_resume(cfg, resume)
    build_train_runner(cfg, device='cpu').train()
    return cfg


@contextmanager
def _largest_file(size: int):
    """Let no file of this process grow beyond a size, as on a disk that is full there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _names(work: Path) -> list[str]:
    return sorted(p.name for p in work.iterdir() if p.suffix == '.pth' or p.name.startswith('.'))


def test_a_write_that_fails_leaves_the_checkpoints_before_it(tmp_path):
    # With one to be kept: it must not be deleted before the next is there.
    keep = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    _train(tmp_path, 1, **keep)
    work = tmp_path / 'work'
    before = {name: (work / name).read_bytes() for name in _names(work)}
    assert 'epoch_1.pth' in before
    with _largest_file(30_000), pytest.raises(OSError, match='File too large|must be writable'):
        _train(tmp_path, 2, 'auto', **keep)
    assert {name: (work / name).read_bytes() for name in _names(work)} == before
    assert (work / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    # With room again the run goes on, and only then the old one goes.
    _train(tmp_path, 2, 'auto', **keep)
    assert [name for name in _names(work) if name.startswith('epoch')] == ['epoch_2.pth']


def test_the_best_checkpoint_of_an_epoch_that_is_run_again_stays(tmp_path):
    best = {'default_hooks.checkpoint.save_best': 'toy_error_mm', 'default_hooks.checkpoint.rule': 'less'}
    _train(tmp_path, 1, **best)
    first = {p.name for p in (tmp_path / 'work').glob('best_*')}
    _train(tmp_path, 1, **best)
    assert {p.name for p in (tmp_path / 'work').glob('best_*')} == first
    assert len(first) == 1


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty'])
def test_a_damaged_checkpoint_is_skipped_and_named(tmp_path, damage, caplog):
    _train(tmp_path, 2)
    work = tmp_path / 'work'
    data = bytearray((work / 'epoch_2.pth').read_bytes())
    data[len(data) // 2] ^= 1
    (work / 'epoch_2.pth').write_bytes({'cut': data[:-500], 'flipped': data, 'empty': b''}[damage])
    cfg = experiment(tmp_path)
    with caplog.at_level(logging.WARNING, logger='smilfit'):
        set_resume(cfg, 'auto')
    assert cfg.load_from == str(work / 'epoch_1.pth')
    log = ' '.join(record.getMessage() for record in caplog.records)
    assert 'epoch_2.pth' in log
    assert f'goes on from {work / "epoch_1.pth"}' in log
    with pytest.raises(BadFileError, match=r'epoch_2\.pth: a checkpoint must'):
        set_resume(cfg, str(work / 'epoch_2.pth'))
    (work / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(BadFileError, match=r'epoch_2\.pth: a checkpoint must'):
        set_resume(cfg, 'auto')


@pytest.mark.parametrize('note', ['', 'epoch_9.pth', '/etc/passwd', '\0\0', '..', '/old/place/epoch_2.pth'])
def test_a_note_that_misleads_is_not_followed(tmp_path, note, caplog):
    _train(tmp_path, 2)
    work = tmp_path / 'work'
    (work / 'last_checkpoint').write_text(note)
    with caplog.at_level(logging.WARNING, logger='smilfit'):
        assert latest_whole_checkpoint(work) == work / 'epoch_2.pth'
    # A work dir that was moved names a place that is no more: that is no fault.
    assert bool(caplog.records) == (not note.endswith('epoch_2.pth'))


def test_a_note_that_was_cut_is_written_again(tmp_path):
    _train(tmp_path, 2)
    note = tmp_path / 'work' / 'last_checkpoint'
    whole = note.read_text()
    note.write_text('')
    # All epochs are done: nothing else would write it.
    _train(tmp_path, 2, resume='auto')
    assert note.read_text() == whole


def test_a_config_that_resumes_by_itself_skips_a_cut_checkpoint_too(tmp_path):
    _train(tmp_path, 2)
    work = tmp_path / 'work'
    (work / 'epoch_2.pth').write_bytes((work / 'epoch_2.pth').read_bytes()[:1000])
    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 2})
    cfg.resume = True
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    assert runner.epoch == 2
    assert read_checkpoint(work / 'epoch_2.pth')['meta']['epoch'] == 2


def test_a_checkpoint_of_another_tool_is_refused(tmp_path):
    cfg = _train(tmp_path, 1)
    path = tmp_path / 'work' / 'epoch_1.pth'
    result = torch.load(path, weights_only=True)
    del result['smilfit']
    torch.save(result, tmp_path / 'other.pth')
    with pytest.raises(BadFileError, match=r"other\.pth: .*has no entry 'smilfit'"):
        set_resume(cfg, str(tmp_path / 'other.pth'))
    del result['meta']
    torch.save({**result, 'smilfit': {'body_model_hash': None}}, tmp_path / 'short.pth')
    set_resume(cfg, str(tmp_path / 'short.pth'))
    with pytest.raises(BadFileError, match=r'short\.pth: a checkpoint to go on from .*missing meta'):
        build_train_runner(cfg, device='cpu').train()
