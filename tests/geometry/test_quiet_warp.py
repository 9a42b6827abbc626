"""Warp starts without a word where there is no CUDA; all else that is written then is kept."""

import os
import subprocess
import sys

import pytest
import torch

from smilfit.geometry.quiet_warp import _stderr_without


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA driver')
def test_a_machine_without_cuda_is_not_told_so():
    code = (
        'import warp\n'
        'from smilfit.geometry.quiet_warp import quietly\n'
        'with quietly():\n'
        '    assert warp.get_device("cpu").is_cpu\n'
    )
    ran = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ('', '')


def test_lines_that_start_otherwise_are_written_in_their_order(capfd):
    with _stderr_without(b'noise'):
        os.write(2, b'first\nnoise: no driver\n')
        os.write(2, b'second, of noise\n')
    assert capfd.readouterr().err == 'first\nsecond, of noise\n'


def test_what_was_written_before_a_failure_is_kept(capfd):
    with pytest.raises(ZeroDivisionError), _stderr_without(b'noise'):
        os.write(2, b'why\n')
        raise ZeroDivisionError
    assert capfd.readouterr().err == 'why\n'
