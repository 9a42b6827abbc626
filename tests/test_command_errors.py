"""How a command ends: exit codes and the last words."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from smilfit.apis.output_paths import check_not_an_input, check_output_file, check_output_folder
from smilfit.cli.argument_types import device, existing_file, float_from, int_from, positive_int
from smilfit.cli.errors import run_reporting_errors
from smilfit.files import BadFileError, DiskFullError
from smilfit.registry import UnknownNameError, build_loss

ROOT = Path(__file__).resolve().parents[1]


def _run(action, **options) -> int:
    return run_reporting_errors(lambda _: action(), argparse.Namespace(**options), 'Go on.')


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ('action', 'message'),
    [
        (lambda: _raise(ValueError('a.h5: no\n good')), 'error: a.h5: no good\n'),
        (lambda: _raise(UnknownNameError('no stage')), 'error: no stage\n'),
        (lambda: _raise(DiskFullError('o.h5: full')), 'error: o.h5: full\n'),
        (lambda: _raise(FloatingPointError('loss = nan')), 'error: loss = nan\n'),
        (lambda: _raise(ImportError('no warp')), 'error: no warp\n'),
        (lambda: _raise(MemoryError('8 GiB')), 'error: not enough memory: 8 GiB. Use less data'),
        (lambda: Path('/nowhere/a').read_text(), 'error: /nowhere/a: no such file or directory. Check'),
        (lambda: torch.zeros(1).to('gpu'), 'error: --device: Expected one of cpu'),
        (lambda: torch.zeros(1 << 60), 'error: not enough memory: '),
        (lambda: build_loss({'type': 'SmoothJointLoss', 'wieght': 1}), 'error: SmoothJointLoss: unknown argument'),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(action, message, capsys):
    assert _run(action) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith(message)
    assert 'fault of smilfit' not in stderr
    assert 'Traceback' not in stderr


@pytest.mark.parametrize(
    'error', [KeyError('K'), TypeError('no'), AttributeError('x'), RuntimeError('y'), AssertionError()]
)
def test_a_fault_of_ours_says_so(error, capsys):
    assert _run(lambda: _raise(error)) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith(f'error: {type(error).__name__}: ')
    assert 'This is a fault of smilfit, not of your input; run again with --traceback' in stderr
    assert 'Traceback' not in stderr
    assert _run(lambda: _raise(error), traceback=True) == 1
    assert 'Traceback' in capsys.readouterr().err


class _Damaged(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise BadFileError('a.h5: the image must decode; it does not.')


def test_a_data_loader_s_worker_says_what_it_met(capsys):
    loader = torch.utils.data.DataLoader(_Damaged(), num_workers=1)
    assert _run(lambda: list(loader)) == 1
    assert capsys.readouterr().err == 'error: a.h5: the image must decode; it does not.\n'


@pytest.mark.skipif(os.geteuid() == 0, reason='root writes everywhere')
def test_a_folder_that_is_read_only_is_reported(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match='--out: the folder must be writable'):
        check_output_folder(tmp_path / 'new', '--out')
    tmp_path.chmod(0o755)


def test_codes_and_interruptions(capsys):
    assert _run(lambda: None) == 0
    assert _run(lambda: 3) == 3
    assert _run(lambda: _raise(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == 'Go on.\n'
    before = signal.getsignal(signal.SIGTERM)
    assert _run(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(5)) == 143
    assert capsys.readouterr().err == 'SIGTERM: Go on.\n'
    assert signal.getsignal(signal.SIGTERM) is before
    # Elsewhere than in the main thread signals cannot be had; the command runs all the same.
    codes = []
    thread = threading.Thread(target=lambda: codes.append(_run(lambda: 0)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_nobody_reads_what_is_printed():
    code = (
        'import argparse, sys\n'
        'from smilfit.cli.errors import run_reporting_errors\n'
        'def talk(_):\n    for _ in range(100000):\n        print("x" * 100)\n'
        'sys.exit(run_reporting_errors(talk, argparse.Namespace()))\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
    ) as process:  # fmt: skip
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b''
        assert process.wait(30) == 141


def test_arguments_that_cannot_work(tmp_path):
    assert positive_int('3') == 3
    assert float_from(0, 1)('0.5') == 0.5
    assert device('cuda:1') == 'cuda:1'
    assert existing_file(__file__) == Path(__file__)
    for kind, text in (
        (positive_int, '0'), (positive_int, '1.5'), (int_from(1, 9), '10'), (float_from(0, 1), 'nan'),
        (float_from(0, above=True), '0'), (float_from(0), 'inf'), (device, 'gpu'), (device, 'cuda:'),
        (existing_file, str(tmp_path)), (existing_file, 'none'), (positive_int, '9' * 9000),
    ):  # fmt: skip
        with pytest.raises(argparse.ArgumentTypeError, match='must be') as refused:
            kind(text)
        assert len(str(refused.value)) < 300


def test_outputs_are_looked_at_first(tmp_path):
    file = tmp_path / 'file'
    file.write_text('x')
    (tmp_path / 'link').symlink_to(file)
    assert check_output_file(tmp_path / 'new' / 'o.h5', 'OUT') == tmp_path / 'new' / 'o.h5'
    assert check_output_folder(tmp_path, '--out') == tmp_path
    for check, path in (
        (check_output_file, tmp_path), (check_output_file, file / 'o.h5'), (check_output_folder, file),
        (check_output_folder, file / 'deeper' / 'still'),
    ):  # fmt: skip
        with pytest.raises(OSError, match=r'OUT: '):
            check(path, 'OUT')
    check_not_an_input(tmp_path / 'o.h5', (file, None), 'OUT')
    for path, source in ((file, file), (tmp_path / 'link', file), (tmp_path / 'a' / 'o.h5', tmp_path)):
        with pytest.raises(ValueError, match='OUT: must not'):
            check_not_an_input(path, (source,), 'OUT')
